"""Keys: those to the API, and those of idempotency."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import stripe

from tests.billing.double.scenes import Shop, code_of
from tests.stripe_double import Fault, StripeDouble

SAME: Any = {"idempotency_key": "same"}


class TestSecretKey:
    def test_a_wrong_one_is_refused_and_not_repeated(self, double: StripeDouble) -> None:
        with pytest.raises(stripe.AuthenticationError) as error:
            double.client(key="sk_test_wrong").v1.customers.create({})
        assert 401 == error.value.http_status
        assert "wrong" not in str(error.value)
        assert "sk_test" not in repr(double.journal[0])

    def test_the_refusal_is_not_stored(self, double: StripeDouble) -> None:
        with pytest.raises(stripe.AuthenticationError):
            double.client(key="sk_test_wrong").v1.customers.create({}, SAME)
        assert double.client().v1.customers.create({}, SAME).id in double.world.customers


class TestIdempotency:
    def test_a_repeat_is_told_the_same_and_does_nothing(self, shop: Shop) -> None:
        first = shop.client.v1.customers.create({"name": "A"}, SAME)
        shop.client.v1.customers.update(first.id, {"name": "B"})
        again = shop.client.v1.customers.create({"name": "A"}, SAME)
        assert (first.id, "A") == (again.id, again.name)
        assert 1 == len(shop.double.world.customers)
        assert shop.double.journal[-1].replayed

    def test_other_parameters_are_refused(self, shop: Shop) -> None:
        shop.client.v1.customers.create({"name": "A"}, SAME)
        with pytest.raises(stripe.IdempotencyError) as error:
            shop.client.v1.customers.create({"name": "B"}, SAME)
        assert 400 == error.value.http_status

    def test_another_call_is_refused(self, shop: Shop) -> None:
        shop.client.v1.customers.create({"name": "A"}, SAME)
        with pytest.raises(stripe.IdempotencyError):
            shop.client.v1.products.create({"name": "A"}, SAME)

    def test_a_key_is_forgotten_after_a_day(self, shop: Shop) -> None:
        first = shop.client.v1.customers.create({"name": "A"}, SAME)
        shop.double.advance(hours=23, minutes=59)
        assert first.id == shop.client.v1.customers.create({"name": "A"}, SAME).id
        shop.double.advance(minutes=1)
        assert first.id != shop.client.v1.customers.create({"name": "A"}, SAME).id

    def test_a_server_error_is_stored(self, shop: Shop) -> None:
        shop.double.faults.add(Fault.SERVER_ERROR, path="/v1/customers", nth=1)
        for _ in range(2):
            with pytest.raises(stripe.APIError) as error:
                shop.client.v1.customers.create({}, SAME)
            assert 500 == error.value.http_status
        assert not shop.double.world.customers
        assert shop.client.v1.customers.create({}, {"idempotency_key": "new"}).id

    def test_a_stored_answer_says_that_it_is_one(self, shop: Shop) -> None:
        shop.double.faults.add(Fault.SERVER_ERROR, path="/v1/customers", nth=1)
        told = []
        for _ in range(2):
            with pytest.raises(stripe.APIError) as error:
                shop.client.v1.customers.create({}, SAME)
            assert error.value.headers is not None
            told.append(error.value.headers.get("Idempotent-Replayed"))
        assert [None, "true"] == told

    def test_a_refusal_of_parameters_is_not_stored(self, shop: Shop) -> None:
        wrong: Any = {"amount": "x", "currency": "usd"}
        with pytest.raises(stripe.InvalidRequestError):
            shop.client.v1.payment_intents.create(wrong, SAME)
        assert shop.client.v1.payment_intents.create({"amount": 100, "currency": "usd"}, SAME).id

    def test_nor_is_a_parameter_out_of_its_bounds(self, shop: Shop) -> None:
        little: Any = {"amount": 49, "currency": "usd"}
        with pytest.raises(stripe.InvalidRequestError):
            shop.client.v1.payment_intents.create(little, SAME)
        assert shop.client.v1.payment_intents.create(little | {"amount": 50}, SAME).id

    def test_a_refusal_by_what_is_there_is_stored(self, shop: Shop) -> None:
        intent = shop.client.v1.payment_intents.create({"amount": 100, "currency": "usd"}).id
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.payment_intents.capture(intent, {}, SAME)
        assert (400, "payment_intent_unexpected_state") == code_of(error)
        with pytest.raises(stripe.InvalidRequestError):
            shop.client.v1.payment_intents.capture(intent, {}, SAME)
        assert shop.double.journal[-1].replayed

    @pytest.mark.parametrize("fault", [Fault.CONFLICT, Fault.RATE_LIMITED])
    def test_a_conflict_and_a_rate_limit_are_not_stored(self, shop: Shop, fault: Fault) -> None:
        shop.double.faults.add(fault, path="/v1/customers", nth=1)
        with pytest.raises(stripe.StripeError):
            shop.client.v1.customers.create({}, SAME)
        assert shop.client.v1.customers.create({}, SAME).id

    async def test_a_key_in_use_is_a_conflict(self, shop: Shop) -> None:
        create = shop.client.v1.customers.create_async
        results = await asyncio.gather(create({}, SAME), create({}, SAME), return_exceptions=True)
        made, refused = results
        assert isinstance(made, stripe.Customer)
        assert isinstance(refused, stripe.APIError)
        assert 409 == refused.http_status
        assert "idempotency_key_in_use" == shop.double.journal[-1].code
        assert made.id == (await create({}, SAME)).id

    def test_a_long_key_is_refused(self, shop: Shop) -> None:
        with pytest.raises(stripe.InvalidRequestError):
            shop.client.v1.customers.create({}, {"idempotency_key": "k" * 256})
        assert shop.client.v1.customers.create({}, {"idempotency_key": "k" * 255}).id

    def test_v2_executes_again_what_failed(self, shop: Shop) -> None:
        given: Any = {"event_name": "nobody", "payload": {}}
        for _ in range(2):
            with pytest.raises(stripe.StripeError):
                shop.client.v2.billing.meter_events.create(given, SAME)
        assert not shop.double.journal[-1].replayed
