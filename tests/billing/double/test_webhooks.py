"""Webhooks and events: signed, tried again, doubled, swapped, late, lost."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

import pytest
import stripe

from tests.billing.double.scenes import Shop, opened
from tests.stripe_double import WEBHOOK_SECRET, Behaviour, StripeDouble


class Receiver:
    """Answers as told; remembers what it was sent."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.received: list[tuple[bytes, str]] = []

    def __call__(self, body: bytes, signature: str) -> int:
        self.received.append((body, signature))
        return self.statuses.pop(0) if self.statuses else 200

    def kinds(self, client: stripe.StripeClient) -> list[str]:
        """Verify the signatures, and give the kinds."""
        return [
            client.construct_event(body, signature, WEBHOOK_SECRET).type
            for body, signature in self.received
        ]


def received(behaviour: Behaviour, *, seed: int = 0, events: int = 40) -> list[str]:
    """Make customers, and give the names in the order in which they were told."""
    receiver = Receiver()
    double = StripeDouble(seed=seed, on_webhook=receiver)
    double.webhooks.behaviour = behaviour
    client = double.client()
    for number in range(events):
        client.v1.customers.create({"name": f"{number}"})
        double.advance(seconds=10)
    double.advance(hours=2)
    names = []
    for body, _ in receiver.received:
        names.append(json.loads(body)["data"]["object"]["name"])
    return names


class TestDelivery:
    def test_a_callback_is_told_after_the_effect(self) -> None:
        receiver = Receiver()
        double = StripeDouble(on_webhook=receiver)
        double.webhooks.signs_by = "wall"
        client = double.client()
        client.v1.customers.create({})
        assert ["customer.created"] == receiver.kinds(client)

    def test_a_receiver_may_ask_the_double(self) -> None:
        seen: list[Any] = []

        def receive(body: bytes, _: str) -> int:
            event = json.loads(body)
            seen.append(client.v1.customers.retrieve(event["data"]["object"]["id"]).name)
            return 200

        client = StripeDouble(on_webhook=receive).client()
        client.v1.customers.create({"name": "A"})
        assert ["A"] == seen

    def test_what_a_receiver_causes_is_told_when_it_is_done(self) -> None:
        told: list[str] = []

        def receive(body: bytes, _: str) -> int:
            event = json.loads(body)
            if event["type"] == "customer.created":
                client.v1.customers.update(event["data"]["object"]["id"], {"name": "B"})
            told.append(event["type"])
            return 200

        client = StripeDouble(on_webhook=receive).client()
        client.v1.customers.create({})
        assert ["customer.created", "customer.updated"] == told

    def test_without_a_callback_the_test_delivers(self, shop: Shop) -> None:
        shop.double.outbox.clear()
        name = shop.customer()
        shop.client.v1.customers.update(name, {"name": "B"})
        created, updated = shop.double.outbox
        shop.double.webhooks.signs_by = "wall"
        for delivery in (updated, created):
            event = shop.client.construct_event(delivery.body, delivery.signature, WEBHOOK_SECRET)
            assert (delivery.kind, name) == (event.type, event.data.to_dict()["object"]["id"])

    def test_a_snapshot_keeps_the_state_of_its_time(self, shop: Shop) -> None:
        name = shop.customer(name="A")
        shop.client.v1.customers.update(name, {"name": "B"})
        created = shop.client.v1.events.list({"type": "customer.created"}).data[0]
        assert "A" == created.data.to_dict()["object"]["name"]

    def test_a_wrong_secret_and_an_old_signature_are_found_out(self, shop: Shop) -> None:
        delivery = shop.double.outbox[0]
        shop.double.webhooks.signs_by = "wall"
        with pytest.raises(stripe.SignatureVerificationError):
            shop.client.construct_event(delivery.body, delivery.signature, "whsec_other")
        shop.double.webhooks.signs_by = "double"
        old = StripeDouble(start="2020-01-01T00:00:00Z")
        with pytest.raises(stripe.SignatureVerificationError):
            shop.client.construct_event(
                delivery.body, old.webhooks.sign(delivery.body), WEBHOOK_SECRET
            )

    def test_what_is_refused_comes_again_later(self) -> None:
        receiver = Receiver(500, 302)
        double = StripeDouble(on_webhook=receiver)
        double.client().v1.customers.create({})
        double.advance(seconds=59)
        assert 1 == len(receiver.received)
        double.advance(seconds=1)
        assert 2 == len(receiver.received)
        double.advance(minutes=5)
        assert 3 == len(receiver.received)
        double.advance(days=5)
        assert 3 == len(receiver.received)

    def test_after_three_days_it_is_given_up(self) -> None:
        receiver = Receiver(*[500] * 100)
        double = StripeDouble(on_webhook=receiver)
        client = double.client()
        client.v1.customers.create({})
        double.advance(days=10)
        assert 11 == len(receiver.received)
        undelivered = client.v1.events.list({"delivery_success": False}).data
        assert ["customer.created"] == [one.type for one in undelivered]

    def test_what_was_taken_is_delivered(self) -> None:
        double = StripeDouble(on_webhook=Receiver(500))
        client = double.client()
        client.v1.customers.create({})
        assert [] == client.v1.events.list({"delivery_success": True}).data
        double.advance(minutes=1)
        (event,) = client.v1.events.list({"delivery_success": True}).data
        assert 0 == event.pending_webhooks

    def test_only_kinds_that_were_asked_for_are_sent(self) -> None:
        receiver = Receiver()
        double = StripeDouble(on_webhook=receiver)
        double.webhooks.signs_by = "wall"
        double.webhooks.behaviour.kinds = frozenset({"customer.updated"})
        client = double.client()
        client.v1.customers.update(client.v1.customers.create({}).id, {"name": "B"})
        assert ["customer.updated"] == receiver.kinds(client)


class TestBehaviour:
    ORDER: ClassVar = [f"{number}" for number in range(40)]

    def test_without_any_each_comes_once_and_in_order(self) -> None:
        assert self.ORDER == received(Behaviour())

    def test_doubled(self) -> None:
        names = received(Behaviour(duplicate=1.0))
        assert sorted(self.ORDER * 2) == sorted(names)

    def test_swapped(self) -> None:
        names = received(Behaviour(reorder=0.5))
        assert sorted(self.ORDER) == sorted(names)
        assert self.ORDER != names

    def test_lost(self) -> None:
        names = received(Behaviour(drop=0.5))
        assert set(names) < set(self.ORDER)
        assert sorted(names, key=int) == names

    def test_late(self) -> None:
        receiver = Receiver()
        double = StripeDouble(on_webhook=receiver)
        double.webhooks.behaviour = Behaviour(delay_seconds=100)
        double.client().v1.customers.create({})
        double.advance(seconds=99)
        assert [] == receiver.received
        double.advance(seconds=1)
        assert 1 == len(receiver.received)

    def test_a_seed_gives_the_same_every_time(self) -> None:
        wild = Behaviour(duplicate=0.3, reorder=0.3, drop=0.3)
        assert received(wild, seed=1) == received(wild, seed=1)
        assert received(wild, seed=1) != received(wild, seed=2)

    def test_a_lost_one_is_found_in_the_list(self, shop: Shop) -> None:
        shop.double.webhooks.behaviour = Behaviour(drop=1.0)
        waiting = len(shop.double.outbox)
        shop.customer()
        assert waiting == len(shop.double.outbox)
        event = shop.client.v1.events.list({"types": ["customer.created"]}).data[0]
        assert 1 == event.pending_webhooks
        assert event.id == shop.client.v1.events.retrieve(event.id).id


class TestEvents:
    def test_they_say_which_request_made_them(self, shop: Shop) -> None:
        shop.client.v1.customers.create({}, {"idempotency_key": "mine"})
        event = shop.client.v1.events.list().data[0]
        assert event.request is not None
        assert ("mine", shop.double.journal[-2].request_id) == (
            event.request.idempotency_key,
            event.request.id,
        )

    def test_what_time_does_has_no_request(self, shop: Shop) -> None:
        shop.subscribe(shop.payer())
        shop.double.advance(days=31)
        event = shop.client.v1.events.list().data[0]
        assert event.request is not None
        assert event.request.id is None

    def test_they_are_listed_newest_first_and_kept_for_thirty_days(self, shop: Shop) -> None:
        shop.customer()
        shop.double.advance(days=29)
        shop.customer()
        kinds = [one.type for one in shop.client.v1.events.list().auto_paging_iter()]
        # In three pages, the last one first made.
        assert shop.kinds()[::-1] == kinds
        shop.double.advance(days=1)
        assert ["customer.created"] == [one.type for one in shop.client.v1.events.list().data]

    def test_they_have_the_api_version(self, shop: Shop) -> None:
        event = shop.client.v1.events.list().data[0]
        assert stripe.api_version == event.api_version


def test_the_same_calls_give_the_same_account() -> None:
    """Everything is deterministic: IDs, times, bodies and order of webhooks."""

    def run() -> list[bytes]:
        shop = opened(StripeDouble(seed=7))
        shop.double.webhooks.behaviour = Behaviour(duplicate=0.5, reorder=0.5)
        name = shop.payer()
        shop.subscribe(name)
        shop.report(name, 1031, "one")
        shop.double.advance(days=70)
        # The SDK makes the keys up, and each run makes up others.
        return [re.sub(rb'"idempotency_key":"[^"]*"', b"", one.body) for one in shop.double.outbox]

    first = run()
    assert len(first) > 20
    assert first == run()
