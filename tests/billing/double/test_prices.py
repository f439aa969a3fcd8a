"""Prices: what a quantity costs, by tiers or per unit, in each currency; and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.billing.double.scenes import TIERS, Shop, code_of

INF: dict[str, Any] = {"up_to": "inf", "unit_amount": 1}
EURO: Any = {"eur": {"tiers": [{"up_to": "inf", "unit_amount_decimal": "1.8"}]}}


def price(shop: Shop, **more: Any) -> str:
    """Make a metered price in dollars."""
    given: Any = {
        "currency": "usd",
        "recurring": {"interval": "month", "usage_type": "metered", "meter": shop.meter},
        "product_data": {"name": "Credits"},
    }
    return shop.client.v1.prices.create(given | more).id


def tiered(shop: Shop, mode: str = "graduated", tiers: Any = TIERS, **more: Any) -> str:
    """Make a metered price with tiers."""
    return price(shop, billing_scheme="tiered", tiers_mode=mode, tiers=tiers, **more)


def billed(shop: Shop, name: str, quantity: int, currency: str = "usd") -> list[tuple[int, int]]:
    """Use a quantity in a cycle at a price; give quantity and amount of its invoice's lines."""
    customer = shop.payer()
    items: Any = [{"price": name}]
    given: Any = {"customer": customer, "items": items, "currency": currency}
    shop.client.v1.subscriptions.create(given)
    shop.report(customer, quantity, f"{name} {quantity}")
    shop.double.advance(days=32)
    (invoice,) = shop.invoices(customer)
    assert currency == invoice.currency
    lines = shop.client.v1.invoices.line_items.list(invoice.id).auto_paging_iter()
    return [(int(line.quantity_decimal or 0), line.amount) for line in lines]


def refused(shop: Shop, **given: Any) -> tuple[int | None, str | None]:
    """Try to make a price; give the status and the parameter that the refusal names."""
    made = len(shop.double.world.prices)
    with pytest.raises(stripe.InvalidRequestError) as error:
        price(shop, **given)
    assert made == len(shop.double.world.prices)
    return error.value.http_status, error.value.param


class TestGraduatedTiers:
    @pytest.mark.parametrize(
        ("quantity", "lines"),
        [
            (1, [(1, 0), (0, 900)]),
            (1000, [(1000, 0), (0, 900)]),
            (1001, [(1000, 0), (0, 900), (1, 4), (0, 0)]),
            (1031, [(1000, 0), (0, 900), (31, 112), (0, 0)]),
        ],
    )
    def test_cost_each_what_reaches_it_with_its_flat_fee(
        self, shop: Shop, quantity: int, lines: list[tuple[int, int]]
    ) -> None:
        assert lines == billed(shop, tiered(shop), quantity)

    def test_without_a_flat_fee_have_one_line_each(self, shop: Shop) -> None:
        tiers = [{"up_to": 10, "unit_amount": 5}, {"up_to": 20, "unit_amount": 3}, INF]
        assert [(10, 50), (10, 30), (5, 5)] == billed(shop, tiered(shop, tiers=tiers), 25)


class TestVolumeTiers:
    @pytest.mark.parametrize(
        ("quantity", "lines"),
        [(1000, [(1000, 0), (0, 900)]), (1001, [(1001, 3_604), (0, 0)])],
    )
    def test_cost_all_of_it_what_the_last_one_reached_costs(
        self, shop: Shop, quantity: int, lines: list[tuple[int, int]]
    ) -> None:
        assert lines == billed(shop, tiered(shop, "volume"), quantity)


class TestPerUnit:
    @pytest.mark.parametrize(
        ("given", "lines"),
        [
            ({"unit_amount": 25}, [(7, 175)]),
            ({"unit_amount": 0}, [(7, 0)]),
            ({"unit_amount_decimal": "0.5"}, [(7, 4)]),  # 3.5 cents: halves go up
            ({"unit_amount_decimal": "0.07"}, [(7, 0)]),  # 0.49
        ],
    )
    def test_costs_the_quantity_times_the_amount_in_whole_cents(
        self, shop: Shop, given: dict[str, Any], lines: list[tuple[int, int]]
    ) -> None:
        assert lines == billed(shop, price(shop, **given), 7)

    def test_is_told_as_a_decimal_and_as_cents_where_it_is_some(self, shop: Shop) -> None:
        told = [
            shop.client.v1.prices.retrieve(price(shop, unit_amount_decimal=amount))
            for amount in ("12.5", "25.0")
        ]
        assert [None, 25] == [one.unit_amount for one in told]
        assert ["12.5", "25"] == [str(one.unit_amount_decimal) for one in told]


class TestCurrencies:
    def test_have_amounts_of_their_own(self, shop: Shop) -> None:
        name = tiered(shop, currency_options=EURO)
        assert [(1031, 1856)] == billed(shop, name, 1031, "eur")
        assert [(1000, 0), (0, 900), (31, 112), (0, 0)] == billed(shop, name, 1031, "usd")

    def test_of_a_price_per_unit_too(self, shop: Shop) -> None:
        name = price(shop, unit_amount=25, currency_options={"EUR": {"unit_amount": 20}})
        assert [(7, 140)] == billed(shop, name, 7, "eur")

    def test_are_told_where_they_are_asked_for(self, shop: Shop) -> None:
        name = tiered(shop, currency_options=EURO)
        told = shop.client.v1.prices.retrieve(name, {"expand": ["currency_options"]})
        assert told.currency_options is not None
        assert ("usd", {"usd", "eur"}) == (told.currency, set(told.currency_options.to_dict()))

    def test_that_it_has_not_are_refused(self, shop: Shop) -> None:
        with pytest.raises(stripe.InvalidRequestError, match="no gbp amounts"):
            billed(shop, tiered(shop), 1, "gbp")

    @pytest.mark.parametrize("option", [{"unit_amount": 20}, {"tiers": [{"up_to": 5}]}])
    def test_whose_amounts_are_of_another_scheme_are_refused(
        self, shop: Shop, option: dict[str, Any]
    ) -> None:
        tiers: Any = {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": TIERS}
        status, param = refused(shop, currency_options={"eur": option}, **tiers)
        assert (400, "currency_options[eur]tiers") == (status, param)


class TestMeters:
    def test_a_metered_price_tells_its_meter(self, shop: Shop) -> None:
        recurring = shop.client.v1.prices.retrieve(tiered(shop)).recurring
        assert recurring is not None
        assert ("metered", shop.meter) == (recurring.usage_type, recurring.meter)

    def test_a_price_bills_the_usage_of_its_meter_only(self, shop: Shop) -> None:
        other = shop.client.v1.billing.meters.create(
            {
                "display_name": "Other",
                "event_name": "other",
                "default_aggregation": {"formula": "sum"},
            }
        ).id
        recurring = {"interval": "month", "usage_type": "metered", "meter": other}
        name = price(shop, unit_amount=25, recurring=recurring)
        customer = shop.payer()
        shop.subscribe(customer, {"price": name})
        shop.report(customer, 7, "one")
        shop.double.advance(days=32)
        (invoice,) = shop.invoices(customer)
        assert [7, 0] == shop.quantities(invoice.id)  # the tier and its flat fee, and nothing else

    @pytest.mark.parametrize(
        "recurring",
        [
            {"usage_type": "metered"},
            {"usage_type": "metered", "meter": "mtr_none"},
            {"usage_type": "licensed", "meter": "mtr_none"},
            {"meter": "mtr_none"},
        ],
    )
    def test_one_without_or_of_none_is_refused(self, shop: Shop, recurring: dict[str, Any]) -> None:
        given = {"interval": "month", **recurring}
        assert (400, "recurring[meter]") == refused(shop, unit_amount=1, recurring=given)


class TestMetadata:
    def test_comes_back_with_the_price(self, shop: Shop) -> None:
        description = {"human_readable_description": "1000 credits for 9 dollars"}
        name = tiered(shop, metadata=description)
        assert description == shop.client.v1.prices.retrieve(name).metadata.to_dict()

    def test_beyond_its_limits_is_refused(self, shop: Shop) -> None:
        status, param = refused(shop, unit_amount=1, metadata={"k" * 41: "x"})
        assert (400, "metadata") == (status, param)


class TestLists:
    def test_are_by_product_and_by_lookup_key_newest_first(self, shop: Shop) -> None:
        product = shop.client.v1.products.create({"name": "Seats"}).id
        names = [
            shop.client.v1.prices.create(
                {
                    "currency": "usd",
                    "unit_amount": amount,
                    "product": product,
                    "lookup_key": f"of {amount}",
                    "recurring": {"interval": "month"},
                }
            ).id
            for amount in (1, 2)
        ]
        listed = shop.client.v1.prices.list({"product": product})
        assert names[::-1] == [one.id for one in listed.data]
        listed = shop.client.v1.prices.list({"lookup_keys": ["of 2"]})
        assert names[1:] == [one.id for one in listed.data]


class TestRefusals:
    @pytest.mark.parametrize(
        ("tiers", "param"),
        [
            ([], "tiers"),
            ([{"up_to": 10, "unit_amount": 1}], "tiers"),
            ([INF, INF], "tiers"),
            ([{"up_to": 20, "unit_amount": 1}, {"up_to": 10, "unit_amount": 1}, INF], "tiers"),
            ([{"up_to": 10, "unit_amount": 1}, {"up_to": 10, "unit_amount": 1}, INF], "tiers"),
            ([{"unit_amount": 1}], "tiers[0][up_to]"),
            ([{"up_to": "many", "unit_amount": 1}], "tiers[0][up_to]"),
        ],
    )
    def test_tiers_end_with_infinity_and_grow(
        self, shop: Shop, tiers: list[dict[str, Any]], param: str
    ) -> None:
        given: Any = {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": tiers}
        assert (400, param) == refused(shop, **given)

    @pytest.mark.parametrize(
        ("given", "param"),
        [
            ({}, "unit_amount"),
            ({"unit_amount": 1, "tiers": [INF]}, "unit_amount"),
            ({"unit_amount": 1, "tiers_mode": "graduated"}, "tiers_mode"),
            ({"billing_scheme": "tiered", "tiers": [INF]}, "tiers_mode"),
            ({"unit_amount": "x"}, "unit_amount"),
            ({"unit_amount_decimal": "0.1234567890123"}, "unit_amount_decimal"),
            ({"unit_amount": 1, "recurring": {"interval": "fortnight"}}, "recurring[interval]"),
            ({"unit_amount": 1, "aggregate_usage": "sum"}, "aggregate_usage"),
            ({"unit_amount": 1, "product": "prod_none"}, "product"),
            ({"unit_amount": 1, "product_data": {"metadata": {"a": "b"}}}, "product_data[name]"),
        ],
    )
    def test_amounts_scheme_and_product_fit_together(
        self, shop: Shop, given: dict[str, Any], param: str
    ) -> None:
        assert (400, param) == refused(shop, **given)

    def test_a_product_that_is_not_there_is_missing(self, shop: Shop) -> None:
        given: Any = {"currency": "usd", "unit_amount": 1, "product": "prod_none"}
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.prices.create(given)
        assert (400, "resource_missing") == code_of(error)

    def test_a_price_that_is_not_there_is_missing(self, shop: Shop) -> None:
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.prices.retrieve("price_none")
        assert (404, "resource_missing") == code_of(error)

    def test_a_price_that_is_switched_off_takes_no_subscription(self, shop: Shop) -> None:
        name = tiered(shop)
        shop.double.world.prices[name].active = False
        with pytest.raises(stripe.InvalidRequestError, match="inactive"):
            billed(shop, name, 1)
