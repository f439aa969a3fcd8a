"""Cycles of subscriptions: when they end, what they bill, how they are cancelled."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import stripe

from tests.billing.double.scenes import Shop, code_of, metered_price
from tests.stripe_double.clock import months_after

MOVED: Any = {"billing_cycle_anchor": "now"}


def day(second: int | None) -> str:
    """Write a second as a date."""
    assert second is not None
    return dt.datetime.fromtimestamp(second, dt.UTC).strftime("%Y-%m-%d")


def period(shop: Shop, subscription: str) -> tuple[str, str]:
    """Give the dates of the open cycle."""
    item = shop.client.v1.subscriptions.retrieve(subscription).items.data[0]
    return day(item.current_period_start), day(item.current_period_end)


class TestPeriods:
    def test_the_31st_comes_back_after_february(self, shop: Shop) -> None:
        shop.double.advance_to("2027-01-31T12:00:00Z")
        subscription = shop.subscribe(shop.payer()).id
        found = [period(shop, subscription)]
        for _ in range(3):
            shop.double.advance(days=31)
            found.append(period(shop, subscription))
        assert [
            ("2027-01-31", "2027-02-28"),
            ("2027-02-28", "2027-03-31"),
            ("2027-03-31", "2027-04-30"),
            ("2027-04-30", "2027-05-31"),
        ] == found

    @pytest.mark.parametrize(
        ("anchor", "months", "end"),
        [
            ("2028-01-31", 1, "2028-02-29"),
            ("2027-01-31", 1, "2027-02-28"),
            ("2027-12-15", 1, "2028-01-15"),
            ("2028-02-29", 12, "2029-02-28"),
        ],
    )
    def test_months_are_clamped(self, anchor: str, months: int, end: str) -> None:
        start = int(dt.datetime.fromisoformat(f"{anchor}T00:00:00Z").timestamp())
        assert end == day(months_after(start, months))

    def test_a_new_cycle_is_told(self, shop: Shop) -> None:
        shop.subscribe(shop.payer())
        shop.double.advance(days=30)
        event = shop.client.v1.events.list({"type": "customer.subscription.updated"}).data[0]
        assert "items" in event.data.to_dict()["previous_attributes"]


class TestUsage:
    def test_the_draft_is_made_at_the_end_and_finalized_after_its_grace(self, shop: Shop) -> None:
        name = shop.payer()
        shop.subscribe(name)
        shop.report(name, 1031, "one")
        assert [] == shop.invoices(name)
        shop.double.advance(days=30)
        (draft,) = shop.invoices(name)
        assert ("draft", None) == (draft.status, draft.status_transitions.finalized_at)
        assert shop.double.clock.now + 3600 == draft.automatically_finalizes_at
        shop.double.advance(hours=1)
        (paid,) = shop.invoices(name)
        assert ("paid", shop.double.clock.now, 1012) == (
            paid.status,
            paid.status_transitions.finalized_at,
            paid.total,
        )
        assert ("2026-11-01", "2026-12-01") == (day(paid.period_start), day(paid.period_end))

    def test_a_cycle_with_tiers_has_a_line_for_each_and_for_each_flat_fee(self, shop: Shop) -> None:
        name = shop.payer()
        shop.subscribe(name)
        shop.report(name, 1031, "one")
        shop.double.advance(days=31)
        invoice = shop.invoices(name)[0].id
        lines = list(shop.client.v1.invoices.line_items.list(invoice).auto_paging_iter())
        amounts = [(int(one.quantity_decimal or 0), one.amount) for one in lines]
        assert [(1000, 0), (0, 900), (31, 112), (0, 0)] == amounts

    def test_within_the_first_tier_there_is_no_second(self, shop: Shop) -> None:
        name = shop.payer()
        shop.subscribe(name)
        shop.report(name, 1000, "one")
        shop.double.advance(days=31)
        assert [1000, 0] == shop.quantities(shop.invoices(name)[0].id)

    def test_an_empty_cycle_has_no_invoice(self, shop: Shop) -> None:
        name = shop.payer()
        shop.subscribe(name)
        shop.double.advance(days=70)
        assert [] == shop.invoices(name)
        assert "invoice.created" not in shop.kinds()

    def test_usage_counts_in_the_cycle_of_its_timestamp(self, shop: Shop) -> None:
        name = shop.payer()
        shop.subscribe(name)
        end = int(dt.datetime(2026, 12, 1, tzinfo=dt.UTC).timestamp())
        shop.double.advance(days=29, hours=23, minutes=57)
        shop.report(name, 1, "last second", timestamp=end - 1)
        shop.report(name, 2, "first second", timestamp=end)
        shop.double.advance(days=40)
        first, second = shop.invoices(name)
        assert [[1, 0], [2, 0]] == [shop.quantities(first.id), shop.quantities(second.id)]

    def test_what_comes_within_the_grace_lands_on_the_draft(self, shop: Shop) -> None:
        name = shop.payer()
        shop.subscribe(name)
        shop.report(name, 1, "one")
        shop.double.advance(days=30, minutes=30)
        shop.report(name, 2, "two", timestamp=shop.double.clock.now - 3600)
        shop.double.advance(hours=1)
        assert [3, 0] == shop.quantities(shop.invoices(name)[0].id)

    def test_what_comes_after_the_invoice_is_billed_never(self, shop: Shop) -> None:
        name = shop.payer()
        shop.subscribe(name)
        shop.report(name, 1, "one")
        shop.double.advance(days=30, hours=1)
        shop.report(name, 2, "two", timestamp=shop.double.clock.now - 7200)
        shop.double.advance(days=40)
        assert 1 == len(shop.invoices(name))
        first, *_ = shop.double.money(name)
        assert (3, 1) == (first.reported, first.invoiced)

    def test_what_is_not_aggregated_when_it_is_finalized_is_not_billed(self, shop: Shop) -> None:
        name = shop.payer()
        shop.subscribe(name)
        shop.report(name, 1, "one")
        shop.double.advance(days=30, minutes=59, seconds=45)
        shop.report(name, 2, "two", timestamp=shop.double.clock.now - 7200)
        shop.double.advance(days=1)
        assert [1, 0] == shop.quantities(shop.invoices(name)[0].id)

    def test_a_cancelled_event_never_leaves_a_finalized_invoice(self, shop: Shop) -> None:
        name = shop.payer()
        shop.subscribe(name)
        shop.double.advance(days=29, hours=23)
        shop.report(name, 5, "one")
        shop.double.advance(hours=3)
        shop.client.v1.billing.meter_event_adjustments.create(
            {"event_name": "credits", "type": "cancel", "cancel": {"identifier": "one"}}
        )
        shop.double.advance(hours=1)
        assert [5, 0] == shop.quantities(shop.invoices(name)[0].id)

    def test_a_negative_cycle_bills_nothing_and_the_rest_is_lost(self, shop: Shop) -> None:
        name = shop.payer()
        shop.subscribe(name)
        shop.report(name, -5, "one")
        shop.double.advance(days=31)
        shop.report(name, 7, "two")
        shop.double.advance(days=31)
        assert [7] == [shop.quantities(one.id)[0] for one in shop.invoices(name)]

    @pytest.mark.parametrize("correction", [-5, -8])
    def test_a_draft_that_comes_to_nothing_is_final_without_lines(
        self, shop: Shop, correction: int
    ) -> None:
        name = shop.payer()
        shop.subscribe(name)
        shop.report(name, 5, "one")
        shop.double.advance(days=30, minutes=1)
        shop.report(name, correction, "two", timestamp=shop.double.clock.now - 3600)
        shop.double.advance(days=1)
        (invoice,) = shop.invoices(name)
        assert ("paid", 0, []) == (invoice.status, invoice.total, shop.quantities(invoice.id))

    def test_the_grace_can_be_set(self, shop: Shop) -> None:
        shop.double.settings.grace_seconds = 72 * 3600
        name = shop.payer()
        shop.subscribe(name)
        shop.report(name, 5, "one")
        shop.double.advance(days=32, hours=23)
        assert "draft" == shop.invoices(name)[0].status
        shop.double.advance(hours=1)
        assert "paid" == shop.invoices(name)[0].status

    def test_a_customer_with_euros_is_billed_in_euros(self, shop: Shop) -> None:
        name = shop.payer()
        shop.client.v1.subscriptions.create(
            {"customer": name, "currency": "eur", "items": [{"price": shop.price}]}
        )
        shop.report(name, 100, "one")
        shop.double.advance(days=31)
        invoice = shop.invoices(name)[0]
        assert ("eur", 180) == (invoice.currency, invoice.total)
        assert "eur" == shop.client.v1.customers.retrieve(name).currency


class TestCancellation:
    def cancel(self, shop: Shop, subscription: str, **more: Any) -> stripe.Subscription:
        given: Any = more
        return shop.client.v1.subscriptions.cancel(subscription, given)

    def test_without_invoice_now_open_usage_is_discarded(self, shop: Shop) -> None:
        name = shop.payer()
        subscription = shop.subscribe(name).id
        shop.report(name, 5, "one")
        shop.double.advance(days=1)
        assert "canceled" == self.cancel(shop, subscription).status
        shop.double.advance(days=70)
        assert [] == shop.invoices(name)
        (cycle,) = shop.double.money(name)
        assert (5, 0, True) == (cycle.reported, cycle.invoiced, cycle.discarded)

    def test_with_invoice_now_it_is_billed(self, shop: Shop) -> None:
        name = shop.payer()
        subscription = shop.subscribe(name).id
        shop.double.advance(days=1)
        shop.report(name, 5, "in the second of the cancellation")
        self.cancel(shop, subscription, invoice_now=True, prorate=False)
        shop.double.advance(hours=1)
        (invoice,) = shop.invoices(name)
        assert ("paid", [5, 0]) == (invoice.status, shop.quantities(invoice.id))
        assert ("2026-11-01", "2026-11-02") == (day(invoice.period_start), day(invoice.period_end))

    def test_the_last_invoice_may_come_at_once(self, shop: Shop) -> None:
        shop.double.settings.final_grace_seconds = 0
        name = shop.payer()
        subscription = shop.subscribe(name).id
        shop.report(name, 5, "one")
        shop.double.advance(minutes=1)
        shop.report(name, 2, "not aggregated yet")
        self.cancel(shop, subscription, invoice_now=True)
        (invoice,) = shop.invoices(name)
        assert ("paid", [5, 0]) == (invoice.status, shop.quantities(invoice.id))

    def test_with_nothing_open_there_is_no_last_invoice(self, shop: Shop) -> None:
        name = shop.payer()
        self.cancel(shop, shop.subscribe(name).id, invoice_now=True)
        shop.double.advance(days=1)
        assert [] == shop.invoices(name)

    def test_usage_of_its_last_second_is_not_billed_again_by_the_next(self, shop: Shop) -> None:
        name = shop.payer()
        first = shop.subscribe(name).id
        shop.double.advance(days=1)
        shop.report(name, 5, "one")
        self.cancel(shop, first, invoice_now=True)
        shop.subscribe(name)
        shop.double.advance(days=40)
        assert 5 == shop.double.invoiced_credits(name)

    def test_it_is_told_and_cannot_be_done_twice(self, shop: Shop) -> None:
        subscription = shop.subscribe(shop.payer()).id
        ended = self.cancel(shop, subscription, cancellation_details={"comment": "bye"})
        assert (shop.double.clock.now, shop.double.clock.now) == (ended.ended_at, ended.canceled_at)
        assert "customer.subscription.deleted" == shop.kinds()[-1]
        with pytest.raises(stripe.InvalidRequestError) as error:
            self.cancel(shop, subscription)
        assert (404, "resource_missing") == code_of(error)
        assert "canceled" == shop.client.v1.subscriptions.retrieve(subscription).status

    def test_at_the_end_of_the_period_the_last_cycle_is_billed(self, shop: Shop) -> None:
        name = shop.payer()
        subscription = shop.subscribe(name).id
        shop.report(name, 5, "one")
        shop.client.v1.subscriptions.update(subscription, {"cancel_at_period_end": True})
        shop.double.advance(days=29)
        assert "active" == shop.client.v1.subscriptions.retrieve(subscription).status
        shop.double.advance(days=70)
        assert "canceled" == shop.client.v1.subscriptions.retrieve(subscription).status
        assert [5] == [shop.quantities(one.id)[0] for one in shop.invoices(name)]

    def test_a_draft_of_the_cycle_before_is_finalized_all_the_same(self, shop: Shop) -> None:
        name = shop.payer()
        subscription = shop.subscribe(name).id
        shop.report(name, 5, "one")
        shop.double.advance(days=30, minutes=1)
        self.cancel(shop, subscription)
        shop.double.advance(hours=1)
        assert ["paid"] == [one.status for one in shop.invoices(name)]


class TestSubscriptions:
    def test_a_list_without_a_status_leaves_canceled_ones_out(self, shop: Shop) -> None:
        name = shop.payer()
        first, second = shop.subscribe(name).id, shop.subscribe(name).id
        shop.client.v1.subscriptions.cancel(first)
        listed = shop.client.v1.subscriptions.list
        assert [second] == [one.id for one in listed({"customer": name}).data]
        everything = listed({"customer": name, "status": "all"})
        assert [second, first] == [one.id for one in everything.data]
        customer = shop.client.v1.customers.retrieve(name, {"expand": ["subscriptions"]})
        assert customer.subscriptions is not None
        assert [second] == [one.id for one in customer.subscriptions.data]

    def test_without_a_customer_the_whole_account_is_listed(self, shop: Shop) -> None:
        for _ in range(2):
            shop.subscribe(shop.payer())
        nobody: Any = {"customer": None}
        assert 2 == len(shop.client.v1.subscriptions.list(nobody).data)

    def test_automatic_tax_needs_a_place(self, shop: Shop) -> None:
        name = shop.customer()
        given: Any = {"customer": name, "items": [{"price": shop.price}]}
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.subscriptions.create(given | {"automatic_tax": {"enabled": True}})
        assert (400, "customer_tax_location_invalid") == code_of(error)
        subscription = shop.client.v1.subscriptions.create(given).id
        assert not shop.client.v1.subscriptions.retrieve(subscription).automatic_tax.enabled
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.subscriptions.update(subscription, {"automatic_tax": {"enabled": True}})
        assert (400, "customer_tax_location_invalid") == code_of(error)
        shop.double.outside.set_address(name, {"country": "DE"})
        shop.client.v1.subscriptions.update(subscription, {"automatic_tax": {"enabled": True}})
        assert shop.client.v1.subscriptions.retrieve(subscription).automatic_tax.enabled
        shop.double.outside.set_address(name, None)
        shop.client.v1.subscriptions.update(subscription, {"description": "as it was"})

    def test_it_is_flexible_and_has_its_period_on_the_item(self, shop: Shop) -> None:
        subscription = shop.subscribe(shop.payer())
        assert "flexible" == subscription.billing_mode.type
        assert "current_period_end" not in subscription
        assert "quantity" not in subscription.items.data[0]
        assert ("2026-11-01", "2026-12-01") == period(shop, subscription.id)
        assert "plan" not in subscription

    @pytest.mark.parametrize(
        ("item", "param"),
        [
            ({"price": "price_none"}, "items[0][price]"),
            ({"quantity": 2}, "items[0][quantity]"),
        ],
    )
    def test_items_that_cannot_be_are_refused(self, shop: Shop, item: Any, param: str) -> None:
        given: Any = {"customer": shop.payer(), "items": [{"price": shop.price} | item]}
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.subscriptions.create(given)
        assert (400, param) == (error.value.http_status, error.value.param)

    def test_a_first_payment_that_fails_leaves_it_incomplete_and_ends_it(self, shop: Shop) -> None:
        name = shop.customer()
        shop.double.outside.set_card(name, "declines_later")
        seat = shop.licensed_price()
        subscription = shop.subscribe(name, {"price": seat}).id
        read = shop.client.v1.subscriptions.retrieve
        assert "incomplete" == read(subscription).status
        shop.double.advance(hours=22, minutes=59)
        assert "incomplete" == read(subscription).status
        shop.double.advance(minutes=1)
        ended = read(subscription)
        assert ("incomplete_expired", shop.double.clock.now) == (ended.status, ended.ended_at)
        assert ["void"] == [one.status for one in shop.invoices(name)]
        listed = shop.client.v1.subscriptions.list({"customer": name}).data
        assert [subscription] == [one.id for one in listed]
        with pytest.raises(stripe.InvalidRequestError):
            shop.client.v1.subscriptions.cancel(subscription)

    def test_paying_the_first_invoice_completes_it(self, shop: Shop) -> None:
        name = shop.customer()
        shop.double.outside.set_card(name, "declines_later")
        subscription = shop.subscribe(name, {"price": shop.licensed_price()}).id
        shop.double.outside.set_card(name, "good")
        shop.double.outside.pay_invoice(shop.invoices(name)[0].id)
        shop.double.advance(days=2)
        assert "active" == shop.client.v1.subscriptions.retrieve(subscription).status

    def test_money_in_advance_needs_a_card(self, shop: Shop) -> None:
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.subscribe(shop.customer(), {"price": shop.licensed_price()})
        assert (400, "resource_missing") == code_of(error)

    def test_a_payment_that_fails_later_makes_it_past_due(self, shop: Shop) -> None:
        name = shop.customer()
        shop.double.outside.set_card(name, "declines_later")
        subscription = shop.subscribe(name).id
        shop.report(name, 50, "one")
        shop.double.advance(days=31)
        assert ["open"] == [one.status for one in shop.invoices(name)]
        assert "past_due" == shop.client.v1.subscriptions.retrieve(subscription).status
        shop.double.outside.set_card(name, "good")
        shop.double.outside.pay_invoice(shop.invoices(name)[0].id)
        assert "active" == shop.client.v1.subscriptions.retrieve(subscription).status

    def test_seats_and_one_off_items_are_lines_of_other_kinds(self, shop: Shop) -> None:
        name = shop.payer()
        seat = shop.licensed_price()
        shop.subscribe(name, {"price": seat, "quantity": 3})
        shop.report(name, 5, "one")
        shop.client.v1.invoice_items.create(
            {"customer": name, "amount": 700, "currency": "usd", "description": "Setup"}
        )
        shop.double.advance(days=31)
        first, second = shop.invoices(name)
        assert [("subscription_create", 1500), ("subscription_cycle", 1500 + 900 + 700)] == [
            (first.billing_reason, first.total),
            (second.billing_reason, second.total),
        ]
        kinds = []
        for line in shop.client.v1.invoices.line_items.list(second.id).auto_paging_iter():
            assert line.parent is not None
            price = line.pricing and line.pricing.price_details and line.pricing.price_details.price
            kinds.append((line.parent.type, price, int(line.quantity_decimal or 0)))
        assert [
            ("subscription_item_details", shop.price, 5),
            ("subscription_item_details", shop.price, 0),
            ("subscription_item_details", seat, 3),
            ("invoice_item_details", None, 1),
        ] == kinds
        assert 5 == shop.double.invoiced_credits(name)

    def test_a_one_off_item_is_billed_once_and_in_its_currency(self, shop: Shop) -> None:
        name = shop.payer()
        shop.subscribe(name)
        for currency in ("usd", "eur"):
            shop.client.v1.invoice_items.create(
                {"customer": name, "amount": 700, "currency": currency}
            )
        shop.double.advance(days=70)
        assert [700] == [one.total for one in shop.invoices(name)]

    def test_an_invoice_may_have_more_than_ten_lines(self, shop: Shop) -> None:
        tiers: list[dict[str, Any]] = [
            {"up_to": 10 * (n + 1), "unit_amount": 10 - n, "flat_amount": 1} for n in range(8)
        ]
        last = {"up_to": "inf", "unit_amount": 1, "flat_amount": 1}
        shop.price = metered_price(shop.client, shop.meter, [*tiers, last])
        name = shop.payer()
        shop.subscribe(name)
        shop.report(name, 85, "one")
        shop.double.advance(days=31)
        (invoice,) = shop.invoices(name)
        quantities = shop.quantities(invoice.id)
        assert (18, 85) == (len(quantities), sum(quantities))
        assert (3, True) == (len(invoice.lines.data), invoice.lines.has_more)


class TestAMovedAnchor:
    def moved(self, shop: Shop) -> tuple[str, str]:
        """Report 7 in a cycle, move its anchor ten days in; give customer and subscription."""
        payer = shop.payer()
        subscription = shop.subscribe(payer).id
        shop.double.advance(days=10)
        shop.report(payer, 7, "a")
        shop.double.advance(hours=1)
        shop.client.v1.subscriptions.update(subscription, MOVED)
        return payer, subscription

    def test_ends_the_cycle_and_bills_it(self, shop: Shop) -> None:
        payer, _ = self.moved(shop)
        shop.double.advance(hours=2)
        (invoice,) = shop.invoices(payer)
        line = invoice.lines.data[0]
        assert invoice.status in {"open", "paid"}
        assert 7 == line.quantity
        assert line.period.end == shop.double.clock.now - 2 * 3_600

    def test_is_where_months_are_counted_from(self, shop: Shop) -> None:
        _, subscription = self.moved(shop)
        begun = shop.double.clock.now
        found = shop.client.v1.subscriptions.retrieve(subscription)
        assert begun == found.billing_cycle_anchor
        ends = []
        for _ in range(2):
            (item,) = shop.client.v1.subscriptions.retrieve(subscription).items.data
            ends.append(item.current_period_end)
            shop.double.advance(days=31)
        assert [months_after(begun, 1), months_after(begun, 2)] == ends

    def test_leaves_what_comes_in_its_second_to_the_new_cycle(self, shop: Shop) -> None:
        payer, _ = self.moved(shop)
        shop.report(payer, 3, "b")
        shop.double.advance(days=32)
        assert [7, 3] == [sum(shop.quantities(invoice.id)) for invoice in shop.invoices(payer)]

    def test_of_an_empty_cycle_makes_no_invoice(self, shop: Shop) -> None:
        payer = shop.payer()
        subscription = shop.subscribe(payer).id
        shop.double.advance(days=10)
        shop.client.v1.subscriptions.update(subscription, MOVED)
        shop.double.advance(days=2)
        assert [] == shop.invoices(payer)


class TestABillOfSomethingElse:
    def test_has_no_usage(self, shop: Shop) -> None:
        payer = shop.payer()
        subscription = shop.subscribe(payer).id
        shop.double.advance(days=3)
        shop.report(payer, 7, "a")
        made = shop.double.outside.bill_once(subscription, 500)
        assert ("manual", 500) == (made["billing_reason"], made["total"])
        assert [1] == shop.quantities(made["id"])

    def test_may_be_a_draft_for_ever(self, shop: Shop) -> None:
        subscription = shop.subscribe(shop.payer()).id
        made = shop.double.outside.bill_once(subscription, 500, is_draft=True)
        shop.double.advance(days=100)
        assert "draft" == shop.client.v1.invoices.retrieve(made["id"]).status
