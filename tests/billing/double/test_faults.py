"""Faults at named points, and the journal that shows them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import stripe

from tests.billing.double.scenes import Shop, opened
from tests.stripe_double import Fault, StripeDouble

PATH = "/v1/customers"
BEFORE = [Fault.UNREACHABLE, Fault.TIMEOUT]
AFTER = [Fault.ANSWER_LOST, Fault.TIMEOUT_AFTER]


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "made"), [(one, 0) for one in BEFORE] + [(one, 1) for one in AFTER]
    )
    def test_no_answer_before_and_after_the_effect(
        self, shop: Shop, fault: Fault, made: int
    ) -> None:
        shop.double.faults.add(fault, path="/v1/customers")
        with pytest.raises(stripe.APIConnectionError):
            shop.customer()
        assert made == len(shop.double.world.customers)
        entry = shop.double.journal[-1]
        assert (fault, None, bool(made)) == (entry.fault, entry.status, entry.executed)

    @pytest.mark.parametrize("fault", [*BEFORE, *AFTER])
    async def test_the_same_for_asynchronous_calls(self, shop: Shop, fault: Fault) -> None:
        shop.double.faults.add(fault, path="/v1/customers")
        with pytest.raises(stripe.APIConnectionError):
            await shop.client.v1.customers.create_async({})
        assert int(fault in AFTER) == len(shop.double.world.customers)

    def test_a_lost_answer_is_had_again_by_the_key(self, shop: Shop) -> None:
        shop.double.faults.add(Fault.ANSWER_LOST, method="POST", path="/v1/customers", nth=1)
        key: Any = {"idempotency_key": "same"}
        with pytest.raises(stripe.APIConnectionError):
            shop.client.v1.customers.create({}, key)
        assert shop.client.v1.customers.create({}, key).id in shop.double.world.customers
        assert 1 == len(shop.double.world.customers)

    def test_a_server_error_may_hide_an_effect(self, shop: Shop) -> None:
        shop.double.faults.add(Fault.SERVER_ERROR_AFTER, path="/v1/customers", nth=1)
        for _ in range(2):
            with pytest.raises(stripe.APIError):
                shop.client.v1.customers.create({}, {"idempotency_key": "same"})
        assert 1 == len(shop.double.world.customers)

    @pytest.mark.parametrize(
        ("fault", "tries"),
        [
            (Fault.UNREACHABLE, 3),
            (Fault.ANSWER_LOST, 3),
            (Fault.TIMEOUT, 3),
            (Fault.CONFLICT, 3),
            (Fault.SERVER_ERROR, 3),
            (Fault.RATE_LIMITED, 1),
            (Fault.RATE_LIMITED_RETRY, 3),
        ],
    )
    def test_the_sdk_tries_again_as_at_stripe(self, shop: Shop, fault: Fault, tries: int) -> None:
        shop.double.faults.add(fault, path="/v1/customers")
        client = shop.double.client(max_network_retries=2)
        with pytest.raises(stripe.StripeError):
            client.v1.customers.create({})
        entries = shop.double.journal.of("POST", "/v1/customers")
        assert tries == len(entries)
        assert 1 == len({one.idempotency_key for one in entries})

    async def test_retries_do_not_wait(self, shop: Shop) -> None:
        shop.double.faults.add(Fault.UNREACHABLE, path="/v1/customers", times=12)
        client = shop.double.client(max_network_retries=12)
        # Each of the SDK's pauses is half a second at least, and later ones are two and more.
        async with asyncio.timeout(10):
            assert (await client.v1.customers.create_async({})).id

    def test_the_sdk_asks_for_pauses(self, double: StripeDouble) -> None:
        http = double.http_client()
        client = stripe.StripeClient(double.secret_key, http_client=http, max_network_retries=3)
        double.faults.add(Fault.UNREACHABLE, times=3)
        client.v1.customers.create({})
        assert 3 == len(http.waits)
        assert min(http.waits) >= 0.5

    def test_a_server_error_may_say_that_another_try_is_no_use(self, shop: Shop) -> None:
        shop.double.settings.server_errors_are_final = True
        shop.double.faults.add(Fault.SERVER_ERROR, path="/v1/customers", times=1)
        client = shop.double.client(max_network_retries=2)
        for _ in range(2):  # the second is a replay, which says so too
            with pytest.raises(stripe.APIError):
                client.v1.customers.create({}, {"idempotency_key": "same"})
        assert [False, True] == [one.replayed for one in shop.double.journal.of("POST", PATH)]

    def test_a_request_may_go_on_after_its_caller_was_told_504(self, shop: Shop) -> None:
        shop.double.faults.add(Fault.STILL_RUNNING, path="/v1/customers", nth=1)
        key: Any = {"idempotency_key": "same"}
        for status in (504, 409):
            with pytest.raises(stripe.StripeError) as error:
                shop.client.v1.customers.create({}, key)
            assert status == error.value.http_status
        assert not shop.double.world.customers
        shop.double.advance(seconds=shop.double.settings.running_seconds)
        (made,) = shop.double.world.customers
        assert made == shop.client.v1.customers.create({}, key).id

    def test_a_refusal_of_what_goes_on_is_stored_too(self, shop: Shop) -> None:
        intent = shop.client.v1.payment_intents.create({"amount": 100, "currency": "usd"}).id
        shop.double.faults.add(Fault.STILL_RUNNING, path="*/capture", nth=1)
        key: Any = {"idempotency_key": "same"}
        with pytest.raises(stripe.APIError):
            shop.client.v1.payment_intents.capture(intent, {}, key)
        shop.double.advance(minutes=1)
        with pytest.raises(stripe.InvalidRequestError):
            shop.client.v1.payment_intents.capture(intent, {}, key)
        assert shop.double.journal[-1].replayed

    def test_the_nth_that_matches(self, shop: Shop) -> None:
        shop.double.faults.add(Fault.CONFLICT, method="POST", path="/v1/customers/*", nth=2)
        name = shop.customer()
        shop.client.v1.customers.update(name, {"name": "1"})
        shop.client.v1.customers.retrieve(name)
        with pytest.raises(stripe.APIError):
            shop.client.v1.customers.update(name, {"name": "2"})
        shop.client.v1.customers.update(name, {"name": "3"})

    def test_chance_comes_from_the_seed(self) -> None:
        def run(seed: int) -> list[str | None]:
            shop = opened(StripeDouble(seed=seed))
            shop.double.faults.add(Fault.UNREACHABLE, path="/v1/customers", probability=0.3)
            for _ in range(60):
                try:
                    shop.customer()
                except stripe.APIConnectionError:
                    continue
            return [one.fault for one in shop.double.journal]

        assert run(1) == run(1)
        assert run(1) != run(2)
        assert 5 < run(1).count("unreachable") < 35

    def test_they_can_be_switched_off(self, shop: Shop) -> None:
        rule = shop.double.faults.add(Fault.UNREACHABLE)
        shop.double.faults.remove(rule)
        shop.customer()
        shop.double.faults.add(Fault.UNREACHABLE)
        shop.double.faults.clear()
        shop.customer()

    async def test_a_call_that_nobody_waits_for_takes_effect(self, shop: Shop) -> None:
        task = asyncio.create_task(shop.client.v1.customers.create_async({}))
        await asyncio.sleep(0)  # it is sent, and has had no turn yet
        assert not shop.double.world.customers
        assert 1 == len(shop.double.journal.of("POST", "/v1/customers"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert 1 == len(shop.double.world.customers)


class TestClient:
    def test_streams_are_refused_clearly(self, double: StripeDouble) -> None:
        with pytest.raises(NotImplementedError, match="streams nothing"):
            double.http_client().request_stream("get", "https://api.stripe.com/v1/files", {})

    async def test_asynchronous_streams_too(self, double: StripeDouble) -> None:
        with pytest.raises(NotImplementedError, match="streams nothing"):
            await double.http_client().request_stream_async("get", "https://x.invalid/v1", {})

    async def test_it_is_closed(self, double: StripeDouble) -> None:
        http = double.http_client()
        await http.close_async()
        assert http.is_closed

    def test_headers_have_no_case(self, shop: Shop) -> None:
        answer = shop.client.v1.customers.create({}).last_response
        assert answer is not None
        assert answer.headers["Request-Id"] == answer.headers["request-id"]
        assert answer.request_id == shop.double.journal[-1].request_id


class TestJournal:
    def test_it_keeps_what_was_sent(self, shop: Shop) -> None:
        shop.client.v1.customers.create(
            {"name": "A", "metadata": {"a": "1"}}, {"idempotency_key": "mine"}
        )
        entry = shop.double.journal[-1]
        assert {"name": "A", "metadata": {"a": "1"}} == entry.parameters
        assert ("mine", stripe.api_version, 200) == (
            entry.idempotency_key,
            entry.stripe_version,
            entry.status,
        )

    def test_another_version_of_the_api_is_noted(self, shop: Shop) -> None:
        shop.client.v1.customers.list({}, {"stripe_version": "2020-08-27"})
        assert "2020-08-27" == shop.double.journal[-1].stripe_version


class TestMoney:
    def test_it_sums_by_customer_subscription_and_cycle(self, shop: Shop) -> None:
        name, other = shop.payer(), shop.payer()
        subscription = shop.subscribe(name).id
        shop.subscribe(other)
        for month in range(3):
            shop.report(name, 100 + month, f"{month}")
            shop.report(other, 7, f"other {month}")
            shop.double.advance(days=31)
        rows = shop.double.money(name)
        assert [(1, 100, 100), (2, 101, 101), (3, 102, 102), (4, 0, 0)] == [
            (one.cycle, one.reported, one.invoiced) for one in rows
        ]
        assert {subscription} == {one.subscription for one in rows}
        assert (303, 21) == (
            shop.double.invoiced_credits(name),
            shop.double.invoiced_credits(other),
        )

    def test_a_draft_is_not_invoiced_yet(self, shop: Shop) -> None:
        name = shop.payer()
        shop.subscribe(name)
        shop.report(name, 5, "one")
        shop.double.advance(days=30)
        first = shop.double.money(name)[0]
        assert (5, 0, "draft") == (first.reported, first.invoiced, first.status)
