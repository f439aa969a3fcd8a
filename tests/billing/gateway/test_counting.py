"""Every request to Stripe is counted once, under what was asked and what came of it."""

import asyncio
from typing import Any

import httpx
import pytest

from billing import GatewayError, GatewayMisuseError, StripeUnavailableError
from billing.errors import OK
from billing.gateway import Gateway
from tests.billing.gateway.calls import CALLS, IDS, Call, ask
from tests.billing.gateway.samples import JUNE, intent, invoice, page
from tests.billing.gateway.scripted import Answer, ScriptedStripe, gateway, refused, unreachable
from tests.billing.gateway.test_errors import INVALID, TABLE, table_id

# As Stripe's library names the calls, but for the rooms above them.
NAMES = {
    "create_customer": "customers.create",
    "customer": "customers.retrieve",
    "search_customers": "customers.search",
    "customers_created_between": "customers.list",
    "set_default_payment_method": "customers.update",
    "attach_payment_method": "payment_methods.attach",
    "create_hold": "payment_intents.create",
    "hold": "payment_intents.retrieve",
    "holds_of": "payment_intents.list",
    "cancel_hold": "payment_intents.cancel",
    "create_subscription": "subscriptions.create",
    "subscription": "subscriptions.retrieve",
    "subscriptions_of": "subscriptions.list",
    "cancel_subscription": "subscriptions.cancel",
    "set_automatic_tax": "subscriptions.update",
    "price": "prices.retrieve",
    "send_usage": "meter_events.create",
    "summary": "meter_event_summaries.list",
    "meter": "meters.retrieve",
    "invoice": "invoices.retrieve",
    "invoices_of": "invoices.list",
    "credit_note": "credit_notes.retrieve",
    "credit_notes_of": "credit_notes.list",
    "dispute": "disputes.retrieve",
    "events_since": "events.list",
}
KINDS = {
    "StripeMissingError": "missing",
    "StripeUnavailableError": "unavailable",
    "StripeTimeoutError": "timeout",
    "StripeConflictError": "conflict",
    "StripeCardError": "card",
    "StripeRefusedError": "refused",
    "StripeCredentialsError": "credentials",
    "StripeIdempotencyError": "idempotency",
    "StripeAnswerError": "answer",
}


def counted(side: ScriptedStripe, *, retries: int = 0) -> tuple[Gateway, list[tuple[str, str]]]:
    """A gateway, and what it counts."""
    counts: list[tuple[str, str]] = []
    opened = gateway(side, retries=retries)
    opened.count_by(lambda call, outcome: counts.append((call, outcome)))
    return opened, counts


class TestOne:
    @pytest.mark.parametrize("call", CALLS, ids=IDS)
    async def test_that_is_answered_is_counted_under_its_name(self, call: Call) -> None:
        opened, counts = counted(ScriptedStripe(Answer(call.answer)))
        await ask(opened, call.name, **call.arguments)
        assert [(NAMES[call.name], OK)] == counts

    @pytest.mark.parametrize("call", CALLS, ids=IDS)
    async def test_that_fails_is_counted_under_its_name(self, call: Call) -> None:
        opened, counts = counted(ScriptedStripe(refused(401, type=INVALID)))
        with pytest.raises(GatewayError):
            await ask(opened, call.name, **call.arguments)
        assert [(NAMES[call.name], "credentials")] == counts

    @pytest.mark.parametrize(("answer", "kind", "unknown"), TABLE, ids=table_id)
    async def test_that_fails_is_counted_by_the_kind_of_its_error(
        self, answer: Answer | Exception, kind: type[GatewayError], unknown: bool
    ) -> None:
        opened, counts = counted(ScriptedStripe(answer))
        with pytest.raises(kind):
            await opened.subscription("sub_1")
        assert [("subscriptions.retrieve", KINDS[kind.__name__])] == counts

    async def test_whose_answer_cannot_be_read_is_counted_so(self) -> None:
        opened, counts = counted(ScriptedStripe(Answer({"object": "subscription"})))
        with pytest.raises(GatewayError):
            await opened.subscription("sub_1")
        assert [("subscriptions.retrieve", "answer")] == counts

    async def test_that_is_tried_again_is_counted_once(self) -> None:
        side = ScriptedStripe(
            refused(500, type="api_error"), Answer(intent(status="requires_capture"))
        )
        opened, counts = counted(side, retries=1)
        await opened.hold("pi_1")
        assert (2, [("payment_intents.retrieve", OK)]) == (len(side.requests), counts)

    async def test_that_is_never_sent_is_not_counted(self) -> None:
        opened, counts = counted(ScriptedStripe())
        with pytest.raises(GatewayMisuseError):
            await opened.hold("")
        assert [] == counts

    async def test_that_is_refused_and_then_looked_at_is_two(self) -> None:
        side = ScriptedStripe(
            refused(400, type=INVALID, code="payment_intent_unexpected_state"),
            Answer(intent(status="canceled")),
        )
        opened, counts = counted(side)
        await opened.cancel_hold("pi_1")
        assert [("payment_intents.cancel", "refused"), ("payment_intents.retrieve", OK)] == counts

    async def test_that_nobody_counts_is_made_all_the_same(self) -> None:
        side = ScriptedStripe(Answer(intent(status="requires_capture")))
        assert (await gateway(side).hold("pi_1")).is_held

    def test_has_a_kind_of_its_own_for_each_error(self) -> None:
        kinds = {kind.__name__: kind.outcome for kind in GatewayError.__subclasses__()}
        assert KINDS == kinds
        assert len(set(KINDS.values()) | {OK}) == 1 + len(KINDS)


class TestAList:
    @staticmethod
    def pages(*endings: Answer | Exception) -> ScriptedStripe:
        first = page(invoice(id="in_1"), invoice(id="in_2"), url="/v1/invoices", has_more=True)
        return ScriptedStripe(Answer(first), *endings)

    async def test_is_one_however_many_pages_it_has(self) -> None:
        side = self.pages(Answer(page(invoice(id="in_3"), url="/v1/invoices")))
        opened, counts = counted(side)
        assert 3 == len(await ask(opened, "invoices_of", created_from=JUNE, customer_id="cus_1"))
        assert (2, [("invoices.list", OK)]) == (len(side.requests), counts)

    async def test_whose_second_page_fails_has_failed(self) -> None:
        opened, counts = counted(self.pages(unreachable(httpx.ConnectError("gone"))))
        with pytest.raises(StripeUnavailableError):
            await ask(opened, "invoices_of", created_from=JUNE, customer_id="cus_1")
        assert [("invoices.list", "unavailable")] == counts

    async def test_that_is_not_read_to_its_end_was_answered(self) -> None:
        opened = gateway(self.pages())
        counted: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
        opened.count_by(lambda call, outcome: counted.set_result((call, outcome)))
        listing: Any = opened.invoices_of(created_from=JUNE, customer_id="cus_1")
        await anext(listing)
        await listing.aclose()
        assert ("invoices.list", OK) == await counted


async def test_a_report_that_stripe_has_already_is_no_refusal() -> None:
    answer = refused(400, type=INVALID, message="An event already exists with identifier m:1.")
    opened, counts = counted(ScriptedStripe(answer))
    await opened.send_usage(
        event_name="credits", customer_id="cus_1", identifier="m:1", credits=1, timestamp=JUNE,
        key="k",
    )  # fmt: skip
    assert [("meter_events.create", OK)] == counts
