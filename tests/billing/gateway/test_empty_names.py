"""What must not be sent is found before it is."""

from typing import Any

import pytest

from billing import GatewayMisuseError
from tests.billing.gateway.calls import CALLS, Call, ask
from tests.billing.gateway.samples import JUNE
from tests.billing.gateway.scripted import ScriptedStripe, gateway

TEXTS = [(call, text) for call in CALLS for text in call.texts]
NAMED = [(call, name) for call in CALLS for name in call.names]


async def assert_nothing_is_sent(call: str, match: str, /, **arguments: Any) -> None:
    side = ScriptedStripe()
    with pytest.raises(GatewayMisuseError, match=match):
        await ask(gateway(side), call, **arguments)
    assert [] == side.requests


class TestNames:
    @pytest.mark.parametrize("empty", ["", " ", "\t\n", ".", "..", None])
    @pytest.mark.parametrize(
        ("call", "name"), NAMED, ids=[f"{call.name}-{name}" for call, name in NAMED]
    )
    async def test_an_empty_one_never_reaches_the_library(
        self, call: Call, name: str, empty: str | None
    ) -> None:
        arguments = {**call.arguments, name: empty}
        # Without its only name `invoices_of` is asked for invoices of nobody.
        match = "name one" if call.name == "invoices_of" and empty is None else f"{name} is empty"
        await assert_nothing_is_sent(call.name, match, **arguments)

    @pytest.mark.parametrize("empty", ["", " ", "\t\n", None])
    @pytest.mark.parametrize(
        ("call", "text"), TEXTS, ids=[f"{call.name}-{text}" for call, text in TEXTS]
    )
    async def test_nor_does_an_empty_text(self, call: Call, text: str, empty: str | None) -> None:
        arguments = {**call.arguments, text: empty}
        await assert_nothing_is_sent(call.name, f"{text} is empty", **arguments)

    async def test_a_type_of_event_is_not_empty(self) -> None:
        await assert_nothing_is_sent(
            "events_since", "type is empty", types=["invoice.voided", ""], created_from=JUNE
        )

    async def test_invoices_of_two_at_once_are_not_asked_for(self) -> None:
        await assert_nothing_is_sent(
            "invoices_of",
            "name one",
            subscription_id="sub_1",
            customer_id="cus_1",
            created_from=JUNE,
        )

    @pytest.mark.parametrize("count", [0, 21])
    async def test_events_are_asked_for_by_one_to_twenty_types(self, count: int) -> None:
        await assert_nothing_is_sent(
            "events_since", f"{count} types", types=["invoice.voided"] * count, created_from=JUNE
        )

    @pytest.mark.parametrize("odd", ["team:x' OR email:'a", "team:\\", "team x"])
    async def test_a_search_cannot_be_widened(self, odd: str) -> None:
        await assert_nothing_is_sent("search_customers", "cannot be searched", attribution_id=odd)


class TestKeys:
    @pytest.mark.parametrize(
        "call", [call for call in CALLS if call.key], ids=lambda call: call.name
    )
    async def test_one_longer_than_stripe_takes_is_not_sent(self, call: Call) -> None:
        arguments = {**call.arguments, "key": "k" * 256}
        await assert_nothing_is_sent(call.name, "256 signs", **arguments)


USAGE = {
    "event_name": "credits",
    "customer_id": "cus_1",
    "identifier": "mtr_1:sub_1:7",
    "credits": 12,
    "timestamp": JUNE,
    "key": "k",
}


class TestNumbers:
    @pytest.mark.parametrize("odd", [0, 1.0, 0.1 + 0.2, True, 10**15, -(10**15)])
    async def test_only_whole_credits_of_fifteen_digits_are_reported(self, odd: Any) -> None:
        await assert_nothing_is_sent("send_usage", "credits", **{**USAGE, "credits": odd})

    @pytest.mark.parametrize("odd", [JUNE * 1000, JUNE + 0.5, -1, True])
    async def test_times_are_whole_seconds_and_no_milliseconds(self, odd: Any) -> None:
        await assert_nothing_is_sent("send_usage", "timestamp", **{**USAGE, "timestamp": odd})
        await assert_nothing_is_sent("customers_created_between", "start", start=odd, end=JUNE)
        await assert_nothing_is_sent("customers_created_between", "end", start=JUNE, end=odd)
        await assert_nothing_is_sent(
            "invoices_of", "created_from", subscription_id="sub_1", created_from=odd
        )
        await assert_nothing_is_sent(
            "events_since", "created_from", types=["invoice.voided"], created_from=odd
        )

    async def test_an_identifier_longer_than_stripe_takes_is_not_sent(self) -> None:
        await assert_nothing_is_sent(
            "send_usage", "101 signs", **{**USAGE, "identifier": "i" * 101}
        )

    @pytest.mark.parametrize(
        ("start", "end"), [(JUNE + 1, JUNE + 60), (JUNE, JUNE + 59), (JUNE, JUNE), (JUNE, 0)]
    )
    async def test_a_summary_is_of_full_minutes(self, start: int, end: int) -> None:
        await assert_nothing_is_sent(
            "summary", "full minutes", meter_id="mtr_1", customer_id="cus_1", start=start, end=end
        )
