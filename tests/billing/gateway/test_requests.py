"""What is sent, sign by sign."""

import inspect

import pytest
import stripe

from billing.gateway import STRIPE_VERSION, Gateway
from tests.billing.gateway.calls import CALLS, IDS, Call, ask
from tests.billing.gateway.samples import PAYER, customer, subscription
from tests.billing.gateway.scripted import SECRET_KEY, Answer, ScriptedStripe, gateway


class TestRequests:
    @pytest.mark.parametrize("call", CALLS, ids=IDS)
    async def test_each_call_makes_exactly_this_request(self, call: Call) -> None:
        side = ScriptedStripe(Answer(call.answer))
        await ask(gateway(side), call.name, **call.arguments)
        request = side.only_request
        assert (call.verb, call.path, call.form) == (request.method, request.path, request.form)

    @pytest.mark.parametrize("call", CALLS, ids=IDS)
    async def test_each_call_names_version_key_and_caller(self, call: Call) -> None:
        side = ScriptedStripe(Answer(call.answer))
        await ask(gateway(side), call.name, **call.arguments)
        headers = side.only_request.headers
        assert "2026-10-28.endive" == headers["Stripe-Version"] == STRIPE_VERSION
        assert f"Bearer {SECRET_KEY}" == headers["Authorization"]
        if call.key is not None:
            assert call.key == side.only_request.key

    async def test_a_cancellation_has_no_idempotency_key(self) -> None:
        """Stripe takes none of a DELETE: no failure is stored that would keep it from its end."""
        side = ScriptedStripe(Answer(subscription(status="canceled")))
        await gateway(side).cancel_subscription("sub_1")
        assert side.only_request.key is None

    async def test_a_cancellation_may_leave_open_usage_unbilled(self) -> None:
        side = ScriptedStripe(Answer(subscription(status="canceled")))
        await gateway(side).cancel_subscription("sub_1", bills_open_usage=False)
        assert "false" == side.only_request.form["invoice_now"]

    def test_every_call_of_the_gateway_is_in_the_table(self) -> None:
        calls = {
            name
            for name, _ in inspect.getmembers(Gateway, inspect.isfunction)
            if not name.startswith("_")
        }
        assert calls - {"close", "count_by"} == {call.name for call in CALLS}

    async def test_no_telemetry_goes_along(self) -> None:
        side = ScriptedStripe(
            *[Answer(customer(), headers={"Request-Id": f"req_{n}"}) for n in range(2)]
        )
        both = gateway(side)
        await both.customer("cus_1")
        await both.customer("cus_1")
        assert stripe.enable_telemetry is False
        assert [] == [
            name
            for request in side.requests
            for name in request.headers
            if "telemetry" in name.lower()
        ]

    async def test_a_creator_who_is_not_known_is_left_out(self) -> None:
        side = ScriptedStripe(Answer(customer()))
        await gateway(side).create_customer(
            key="k", attribution_id=PAYER, name="Ada", email="a@example.org", currency="usd"
        )
        assert "metadata[billingCreatorUserId]" not in side.only_request.form

    async def test_parts_of_an_address_that_are_empty_are_left_out(self) -> None:
        side = ScriptedStripe(Answer(customer()))
        await gateway(side).set_default_payment_method(
            customer_id="cus_1", payment_method_id="pm_1", address={"city": "Kiel", "line2": ""}
        )
        assert ["address[city]"] == [name for name in side.only_request.form if "address" in name]

    async def test_an_address_without_any_part_changes_none(self) -> None:
        side = ScriptedStripe(Answer(customer()))
        await gateway(side).set_default_payment_method(
            customer_id="cus_1", payment_method_id="pm_1", address={}
        )
        assert [] == [name for name in side.only_request.form if "address" in name]

    async def test_an_id_is_one_part_of_the_path(self) -> None:
        side = ScriptedStripe(Answer(customer()))
        await gateway(side).customer("cus_1/../../v1/charges?x=1")
        assert "/v1/customers/cus_1%2F..%2F..%2Fv1%2Fcharges%3Fx%3D1" == side.only_request.path

    async def test_closing_closes_the_client_of_http(self) -> None:
        side = ScriptedStripe()
        async with gateway(side):
            assert not side.is_closed
        assert side.is_closed
