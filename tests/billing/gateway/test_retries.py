"""What the library tries again within one call, and under which key."""

import httpx
import pytest

from billing import GatewayError, StripeRefusedError, StripeUnavailableError
from billing.gateway import Gateway
from billing.records import Delivery
from tests.billing.gateway.samples import JUNE, METER_EVENT
from tests.billing.gateway.scripted import Answer, ScriptedStripe, gateway, refused, unreachable

IDENTIFIER = "mtr_1:sub_1:7"
DELIVERED = Answer(METER_EVENT)
BROKEN = refused(500, type="api_error")


async def send(calls: Gateway) -> Delivery:
    return await calls.send_usage(
        event_name="credits",
        customer_id="cus_1",
        identifier=IDENTIFIER,
        credits=12,
        timestamp=JUNE,
        key=f"{IDENTIFIER}:1",
    )


class TestRetries:
    @pytest.mark.parametrize(
        "trouble",
        [BROKEN, refused(409), unreachable(httpx.ConnectError("")), Answer(b"<html>", 502)],
        ids=["500", "409", "unreachable", "proxy"],
    )
    async def test_trouble_is_tried_again_with_the_same_key_and_body(
        self, trouble: Answer | Exception
    ) -> None:
        side = ScriptedStripe(trouble, trouble, DELIVERED)
        assert Delivery.DELIVERED == await send(gateway(side, retries=2))
        assert [f"{IDENTIFIER}:1"] * 3 == [request.key for request in side.requests]
        assert [side.requests[0].form] * 3 == [request.form for request in side.requests]
        assert 2 == side.sleeps

    async def test_it_is_tried_as_often_as_was_set_and_no_more(self) -> None:
        side = ScriptedStripe(BROKEN, BROKEN, BROKEN)
        with pytest.raises(StripeUnavailableError):
            await send(gateway(side, retries=2))
        assert 3 == len(side.requests)

    async def test_without_retries_it_is_tried_once(self) -> None:
        side = ScriptedStripe(BROKEN)
        with pytest.raises(StripeUnavailableError):
            await send(gateway(side))
        assert 1 == len(side.requests)

    @pytest.mark.parametrize(
        "answer",
        [
            refused(429),
            refused(400, type="invalid_request_error"),
            refused(402, type="card_error"),
            refused(401),
            refused(500, {"Stripe-Should-Retry": "false"}),
        ],
        ids=["429", "400", "402", "401", "500 and told not to"],
    )
    async def test_what_would_be_refused_again_is_not_tried_again(self, answer: Answer) -> None:
        side = ScriptedStripe(answer)
        with pytest.raises(GatewayError):
            await send(gateway(side, retries=2))
        assert 1 == len(side.requests)

    async def test_too_many_requests_are_tried_again_when_stripe_says_so(self) -> None:
        side = ScriptedStripe(refused(429, {"Stripe-Should-Retry": "true"}), DELIVERED)
        assert Delivery.DELIVERED == await send(gateway(side, retries=2))
        assert 2 == len(side.requests)


class TestDuplicateIdentifier:
    @pytest.mark.parametrize(
        "answer",
        [
            refused(
                400,
                {"Stripe-Should-Retry": "false"},
                type="invalid_request_error",
                message=f"An event already exists with identifier {IDENTIFIER}.",
            ),
            refused(
                400,
                type="invalid_request_error",
                code="duplicate_meter_event",
                message="Duplicate.",
            ),
        ],
        ids=["by its sentence", "by its code"],
    )
    async def test_it_counts_as_delivered(self, answer: Answer) -> None:
        assert Delivery.REPEATED == await send(gateway(ScriptedStripe(answer)))

    async def test_after_a_lost_answer_too(self) -> None:
        lost = unreachable(httpx.ReadTimeout(""))
        repeated = refused(
            400,
            type="invalid_request_error",
            message=f"An event already exists with identifier {IDENTIFIER}.",
        )
        side = ScriptedStripe(lost, repeated)
        assert Delivery.REPEATED == await send(gateway(side, retries=1))

    @pytest.mark.parametrize(
        "answer",
        [
            refused(
                400,
                type="invalid_request_error",
                message="An event already exists with identifier mtr_1:sub_9:1.",
            ),
            refused(
                400,
                type="invalid_request_error",
                message=f"The identifier {IDENTIFIER} is not allowed.",
            ),
            refused(
                404,
                type="invalid_request_error",
                message=f"An event already exists with identifier {IDENTIFIER}.",
            ),
            refused(404, type="invalid_request_error", code="duplicate_meter_event"),
        ],
        ids=["of another", "not allowed", "another status", "code of another status"],
    )
    async def test_another_refusal_is_one(self, answer: Answer) -> None:
        with pytest.raises(StripeRefusedError):
            await send(gateway(ScriptedStripe(answer)))
