"""Form encoding, unknown parameters, `expand` and pages."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.billing.double.scenes import Shop, code_of
from tests.stripe_double import Settings, StripeDouble
from tests.stripe_double.errors import StripeError
from tests.stripe_double.forms import decode_form


class TestForms:
    def test_nested_names_become_objects_and_lists(self) -> None:
        encoded = "items[0][price]=p&items[0][metadata][a]=1&items[1][price]=q&expand[]=x&b=%26"
        items = [{"price": "p", "metadata": {"a": "1"}}, {"price": "q"}]
        assert {"items": items, "expand": ["x"], "b": "&"} == decode_form(encoded)

    def test_an_empty_value_is_kept(self) -> None:
        assert {"address": ""} == decode_form("address=")

    @pytest.mark.parametrize("encoded", ["a=1&a[b]=2", "a=1&a=2", "a]b=1", "a" + "[b]" * 9 + "=1"])
    def test_what_cannot_be_read_is_refused(self, encoded: str) -> None:
        with pytest.raises(StripeError) as refusal:
            decode_form(encoded)
        assert 400 == refusal.value.status


class TestParameters:
    @pytest.mark.parametrize(
        ("given", "param"),
        [
            ({"nickname": "x"}, "nickname"),
            ({"address": {"planet": "x"}}, "address[planet]"),
            ({"invoice_settings": {"colour": "x"}}, "invoice_settings[colour]"),
        ],
    )
    def test_an_unknown_one_is_refused(self, shop: Shop, given: Any, param: str) -> None:
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.customers.create(given)
        assert (400, "parameter_unknown") == code_of(error)
        assert param == error.value.param
        assert not shop.double.world.customers

    def test_a_missing_one_is_refused(self, shop: Shop) -> None:
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.payment_intents.create({"amount": 100})  # type: ignore[typeddict-item]  # the mistake
        assert (400, "parameter_missing") == code_of(error)

    @pytest.mark.parametrize("amount", ["ten", "1.5", True])
    def test_a_wrong_kind_is_refused(self, shop: Shop, amount: Any) -> None:
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.payment_intents.create({"amount": amount, "currency": "usd"})
        assert (400, "amount") == (error.value.http_status, error.value.param)

    def test_a_path_that_stripe_does_not_have_is_not_found(self, shop: Shop) -> None:
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.raw_request("get", "/v1/usage_records")
        assert 404 == error.value.http_status

    def test_an_empty_id_reads_the_list(self, shop: Shop) -> None:
        shop.customer()
        found: Any = shop.client.v1.customers.retrieve("")
        assert "list" == found.object

    def test_an_id_with_signs_of_a_path_is_one_id(self, shop: Shop) -> None:
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.customers.retrieve("../meters")
        assert (404, "resource_missing") == code_of(error)


class TestExpansion:
    def test_what_is_not_asked_for_is_absent_or_an_id(self, shop: Shop) -> None:
        customer = shop.client.v1.customers.retrieve(shop.payer())
        assert [False, False] == ["tax" in customer, "subscriptions" in customer]
        subscription = shop.subscribe(customer.id)
        assert customer.id == subscription.customer

    def test_one_level(self, shop: Shop) -> None:
        name = shop.payer()
        subscription = shop.subscribe(name)
        customer = shop.client.v1.customers.retrieve(name, {"expand": ["tax", "subscriptions"]})
        assert customer.tax is not None
        assert customer.subscriptions is not None
        assert "supported" == customer.tax.automatic_tax
        assert [subscription.id] == [one.id for one in customer.subscriptions.data]

    def test_two_levels_and_below_lists(self, shop: Shop) -> None:
        name = shop.payer()
        shop.subscribe(name)
        found = shop.client.v1.subscriptions.list({"expand": ["data.customer.tax"]}).data[0]
        assert isinstance(found.customer, stripe.Customer)
        assert found.customer.tax is not None
        assert "supported" == found.customer.tax.automatic_tax

    def test_a_field_inside_of_an_object(self, shop: Shop) -> None:
        name = shop.payer()
        subscription = shop.subscribe(name)
        shop.report(name, 5, "one")
        shop.double.advance(days=31)
        invoice = shop.client.v1.invoices.retrieve(
            shop.invoices(name)[0].id,
            {"expand": ["parent.subscription_details.subscription", "customer", "payments"]},
        )
        assert invoice.parent is not None
        assert invoice.parent.subscription_details is not None
        expanded = invoice.parent.subscription_details.subscription
        assert isinstance(expanded, stripe.Subscription)
        assert subscription.id == expanded.id
        assert isinstance(invoice.customer, stripe.Customer)
        assert invoice.payments is not None
        assert 1 == len(invoice.payments.data)

    def test_currencies_and_tiers_of_a_price(self, shop: Shop) -> None:
        plain = shop.client.v1.prices.retrieve(shop.price)
        assert [False, False] == ["tiers" in plain, "currency_options" in plain]
        price = shop.client.v1.prices.retrieve(
            shop.price, {"expand": ["tiers", "currency_options.eur.tiers"]}
        )
        assert price.tiers is not None
        assert [1000, None] == [tier.up_to for tier in price.tiers]
        assert price.currency_options is not None
        assert {"eur", "usd"} == set(price.currency_options.to_dict())

    @pytest.mark.parametrize("path", ["name", "colour", "tax.location.country.a.b"])
    def test_what_cannot_be_expanded_is_refused(self, shop: Shop, path: str) -> None:
        name = shop.customer()
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.customers.retrieve(name, {"expand": [path]})
        assert (400, "expand") == (error.value.http_status, error.value.param)


class TestPages:
    def test_a_page_is_small_unless_more_is_asked_for(self, shop: Shop) -> None:
        names = [shop.customer() for _ in range(7)]
        first = shop.client.v1.customers.list()
        assert (names[:-4:-1], True) == ([one.id for one in first.data], first.has_more)
        assert names[::-1] == [one.id for one in first.auto_paging_iter()]
        full = shop.client.v1.customers.list({"limit": 100})
        assert (7, False) == (len(full.data), full.has_more)

    def test_pages_go_backwards_too(self, shop: Shop) -> None:
        names = [shop.customer() for _ in range(5)][::-1]
        page = shop.client.v1.customers.list({"ending_before": names[4], "limit": 2})
        assert (names[2:4], True) == ([one.id for one in page.data], page.has_more)

    @pytest.mark.parametrize("given", [{"limit": 0}, {"limit": 101}, {"starting_after": "cus_x"}])
    def test_what_makes_no_page_is_refused(self, shop: Shop, given: Any) -> None:
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.customers.list(given)
        assert 400 == error.value.http_status

    def test_the_size_can_be_set(self) -> None:
        client = StripeDouble(settings=Settings(page_size=1)).client()
        for _ in range(2):
            client.v1.customers.create({})
        assert 1 == len(client.v1.customers.list().data)

    def test_lists_are_filtered_by_creation(self, shop: Shop) -> None:
        old = shop.customer()
        shop.double.advance(seconds=10)
        new = shop.customer()
        second = shop.double.clock.now
        pages = [{"gte": second}, {"gt": second - 1}, second, {"lt": second}, {"lte": second - 1}]
        found: list[list[str]] = []
        for bounds in pages:
            given: Any = {"created": bounds}
            found.append([one.id for one in shop.client.v1.customers.list(given).data])
        assert [[new], [new], [new], [old], [old]] == found
