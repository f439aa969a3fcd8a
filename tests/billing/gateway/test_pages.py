"""Lists are read to their end, each page when it is come to."""

from typing import Any

import pytest

from billing import StripeUnavailableError
from tests.billing.gateway.calls import ask
from tests.billing.gateway.samples import (
    JULY,
    JUNE,
    PAYER,
    credit_note,
    customer,
    event,
    invoice,
    invoice_line,
    page,
    subscription,
)
from tests.billing.gateway.scripted import Answer, Request, ScriptedStripe, gateway, refused


def three_pages(url: str, objects: list[dict[str, Any]]) -> list[Answer]:
    """Two on the first, two on the second, one on the last."""
    parts = objects[:2], objects[2:4], objects[4:]
    return [Answer(page(*part, url=url, has_more=number < 2)) for number, part in enumerate(parts)]


def assert_each_goes_on_after(ids: list[str], requests: list[Request]) -> None:
    """All pages are asked for alike, but for where they begin."""
    first = requests[0]
    assert [first.path] * 3 == [request.path for request in requests]
    assert [
        first.form,
        {**first.form, "starting_after": ids[1]},
        {**first.form, "starting_after": ids[3]},
    ] == [request.form for request in requests]


class TestLists:
    @pytest.mark.parametrize(
        ("name", "arguments", "url", "make", "record_id"),
        [
            (
                "customers_created_between",
                {"start": JUNE, "end": JULY},
                "/v1/customers",
                customer,
                "customer_id",
            ),
            (
                "subscriptions_of",
                {"customer_id": "cus_1"},
                "/v1/subscriptions",
                subscription,
                "subscription_id",
            ),
            (
                "invoices_of",
                {"customer_id": "cus_1", "created_from": JUNE},
                "/v1/invoices",
                invoice,
                "invoice_id",
            ),
            (
                "credit_notes_of",
                {"invoice_id": "in_1"},
                "/v1/credit_notes",
                credit_note,
                "credit_note_id",
            ),
            (
                "events_since",
                {"types": ["invoice.voided"], "created_from": JUNE},
                "/v1/events",
                event,
                "event_id",
            ),
        ],
        ids=lambda value: value if isinstance(value, str) and "/" not in value else "",
    )
    async def test_all_pages_are_read(
        self, name: str, arguments: dict[str, Any], url: str, make: Any, record_id: str
    ) -> None:
        ids = [f"one_{number}" for number in range(5)]
        side = ScriptedStripe(*three_pages(url, [make(one) for one in ids]))
        found = await ask(gateway(side), name, **arguments)
        assert ids == [getattr(one, record_id) for one in found]
        assert_each_goes_on_after(ids, side.requests)

    async def test_all_pages_of_a_search_are_read(self) -> None:
        def result(*customers: dict[str, Any], next_page: str | None) -> Answer:
            return Answer(
                {
                    "object": "search_result",
                    "url": "/v1/customers/search",
                    "has_more": next_page is not None,
                    "next_page": next_page,
                    "data": list(customers),
                }
            )

        side = ScriptedStripe(
            result(customer("cus_1"), next_page="p2"), result(customer("cus_2"), next_page=None)
        )
        found = await gateway(side).search_customers(PAYER)
        assert ["cus_1", "cus_2"] == [one.customer_id for one in found]
        first, second = side.requests
        assert {**first.form, "page": "p2"} == second.form

    async def test_a_summary_of_several_pages_adds_up(self) -> None:
        parts = [
            {"id": f"s{n}", "object": "billing.meter_event_summary", "aggregated_value": 10.0}
            for n in range(5)
        ]
        side = ScriptedStripe(*three_pages("/v1/billing/meters/mtr_1/event_summaries", parts))
        summary = await gateway(side).summary(
            meter_id="mtr_1", customer_id="cus_1", start=JUNE, end=JULY
        )
        assert 50 == summary.credits

    async def test_a_page_is_fetched_when_it_is_come_to(self) -> None:
        side = ScriptedStripe(*three_pages("/v1/events", [event(f"evt_{n}") for n in range(5)]))
        notices = gateway(side).events_since(["invoice.voided"], created_from=JUNE)
        assert "evt_0" == (await anext(notices)).event_id
        assert 1 == len(side.requests)

    async def test_an_empty_list_is_one_page(self) -> None:
        side = ScriptedStripe(Answer(page(url="/v1/subscriptions")))
        assert () == await gateway(side).subscriptions_of("cus_1")

    async def test_a_page_that_fails_fails_the_whole_list(self) -> None:
        pages = three_pages("/v1/subscriptions", [subscription(f"sub_{n}") for n in range(5)])
        side = ScriptedStripe(pages[0], refused(500))
        with pytest.raises(StripeUnavailableError):
            await gateway(side).subscriptions_of("cus_1")


class TestListsInsideObjects:
    async def test_lines_that_come_with_an_invoice_are_not_asked_for_again(self) -> None:
        side = ScriptedStripe(Answer(invoice()))
        await gateway(side).invoice("in_1")
        assert 1 == len(side.requests)

    async def test_an_invoice_has_the_lines_of_all_pages(self) -> None:
        ids = [f"il_{number}" for number in range(5)]
        lines = [invoice_line(one) for one in ids]
        side = ScriptedStripe(
            Answer(invoice(lines=lines[:1], has_more=True)),
            *three_pages("/v1/invoices/in_1/lines", lines),
        )
        found = await gateway(side).invoice("in_1")
        assert ids == [line.line_id for line in found.lines]
        assert ("/v1/invoices/in_1/lines", {"limit": "100"}) == (
            side.requests[1].path,
            side.requests[1].form,
        )
        assert_each_goes_on_after(ids, side.requests[1:])

    async def test_so_has_each_invoice_of_a_list(self) -> None:
        lines = [invoice_line(f"il_{number}") for number in range(5)]
        side = ScriptedStripe(
            Answer(
                page(invoice(lines=lines[:1], has_more=True), invoice("in_2"), url="/v1/invoices")
            ),
            *three_pages("/v1/invoices/in_1/lines", lines),
        )
        calls = gateway(side)
        found = await ask(calls, "invoices_of", customer_id="cus_1", created_from=JUNE)
        assert [5, 1] == [len(one.lines) for one in found]

    async def test_a_credit_note_has_the_lines_of_all_pages(self) -> None:
        lines = [
            {"id": f"cnli_{n}", "object": "credit_note_line_item", "amount": n} for n in range(5)
        ]
        side = ScriptedStripe(
            Answer(credit_note(lines=page(lines[0], url="/v1/credit_notes", has_more=True))),
            *three_pages("/v1/credit_notes/cn_1/lines", lines),
        )
        found = await gateway(side).credit_note("cn_1")
        assert [0, 1, 2, 3, 4] == [line.amount for line in found.lines]

    async def test_a_customer_has_the_subscriptions_of_all_pages(self) -> None:
        first = page(subscription("sub_0"), url="/v1/customers/cus_1/subscriptions", has_more=True)
        every = [
            subscription(f"sub_{n}", status="canceled" if n == 3 else "active") for n in range(5)
        ]
        side = ScriptedStripe(
            Answer(customer(subscriptions=first)), *three_pages("/v1/subscriptions", every)
        )
        found = await gateway(side).customer("cus_1")
        assert found.subscriptions is not None
        assert ["sub_0", "sub_1", "sub_2", "sub_4"] == [
            one.subscription_id for one in found.subscriptions
        ]
        assert {"customer": "cus_1", "status": "all", "limit": "100"} == side.requests[1].form
