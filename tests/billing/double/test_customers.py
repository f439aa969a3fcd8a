"""Customers, their tax state, and search that lags behind."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.billing.double.scenes import GERMANY, Shop, code_of

ACME = "metadata['attributionId']:'team:1'"


class TestCustomers:
    def test_metadata_is_merged_and_an_empty_value_takes_a_key_away(self, shop: Shop) -> None:
        name = shop.customer(metadata={"a": "1", "b": "2"})
        shop.client.v1.customers.update(name, {"metadata": {"b": "", "c": "3"}})
        metadata = shop.client.v1.customers.retrieve(name).metadata
        assert metadata is not None
        assert {"a": "1", "c": "3"} == metadata.to_dict()

    @pytest.mark.parametrize(
        ("address", "state"),
        [
            (None, "unrecognized_location"),
            ({"city": "Kiel"}, "unrecognized_location"),
            (GERMANY, "supported"),
            ({"country": "US"}, "unrecognized_location"),
            ({"country": "US", "postal_code": "94103"}, "supported"),
            ({"country": "JP"}, "not_collecting"),
            (GERMANY | {"line1": "failed"}, "failed"),
        ],
    )
    def test_tax_state_follows_from_the_address(self, shop: Shop, address: Any, state: str) -> None:
        name = shop.customer(**({"address": address} if address else {}))
        tax = shop.client.v1.customers.retrieve(name, {"expand": ["tax"]}).tax
        assert tax is not None
        assert state == tax.automatic_tax

    def test_a_change_says_what_was_before(self, shop: Shop) -> None:
        name = shop.customer()
        shop.double.outside.set_address(name, GERMANY)
        event = shop.client.v1.events.list({"type": "customer.updated"}).data[0]
        assert {"address": None} == event.data.to_dict()["previous_attributes"]

    def test_writing_the_same_again_is_no_event(self, shop: Shop) -> None:
        name = shop.customer()
        shop.client.v1.customers.update(name, {"name": "Owner"})
        assert "customer.updated" not in shop.kinds()

    def test_the_default_card_must_be_the_customers(self, shop: Shop) -> None:
        other = shop.client.v1.customers.retrieve(shop.payer())
        assert other.invoice_settings is not None
        card = other.invoice_settings.default_payment_method
        name = shop.customer()
        given: Any = {"invoice_settings": {"default_payment_method": card}}
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.customers.update(name, given)
        assert (400, "resource_missing") == code_of(error)

    def test_a_deleted_one_is_told_as_deleted(self, shop: Shop) -> None:
        name = shop.payer()
        subscription = shop.subscribe(name)
        shop.double.outside.delete_customer(name)
        told = shop.client.v1.customers.retrieve(name, {"expand": ["tax", "subscriptions"]})
        assert {"id": name, "object": "customer", "deleted": True} == told.to_dict()
        assert "canceled" == shop.client.v1.subscriptions.retrieve(subscription.id).status
        assert ["customer.subscription.deleted", "customer.deleted"] == shop.kinds()[-2:]
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.customers.update(name, {"name": "x"})
        assert (404, "resource_missing") == code_of(error)

    def test_a_missing_one(self, shop: Shop) -> None:
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.client.v1.customers.retrieve("cus_nobody")
        assert (404, "resource_missing") == code_of(error)


class TestSearch:
    def find(self, shop: Shop, query: str) -> list[str]:
        found = shop.client.v1.customers.search({"query": query})
        return [one.id for one in found.auto_paging_iter()]

    def test_it_is_blind_for_what_is_new(self, shop: Shop) -> None:
        name = shop.customer(metadata={"attributionId": "team:1"})
        shop.double.advance(seconds=59)
        assert [] == self.find(shop, ACME)
        shop.double.advance(seconds=1)
        assert [name] == self.find(shop, ACME)

    def test_it_finds_by_what_was_and_tells_what_is(self, shop: Shop) -> None:
        name = shop.customer(metadata={"attributionId": "team:1"})
        shop.double.advance(minutes=5)
        shop.client.v1.customers.update(name, {"metadata": {"attributionId": "team:2"}})
        found = shop.client.v1.customers.search({"query": ACME}).data[0]
        assert found.metadata is not None
        assert "team:2" == found.metadata["attributionId"]
        shop.double.advance(minutes=5)
        assert [] == self.find(shop, ACME)

    def test_the_lag_can_be_longer(self, shop: Shop) -> None:
        shop.double.settings.search_lag_seconds = 3600
        name = shop.customer(metadata={"attributionId": "team:1"})
        shop.double.advance(minutes=59)
        assert [] == self.find(shop, ACME)
        shop.double.advance(minutes=1)
        assert [name] == self.find(shop, ACME)

    def test_several_are_found_over_pages(self, shop: Shop) -> None:
        names = [shop.customer(metadata={"attributionId": "team:1"}) for _ in range(7)]
        shop.double.advance(minutes=5)
        first = shop.client.v1.customers.search({"query": ACME})
        assert (3, True) == (len(first.data), first.has_more)
        assert names[::-1] == self.find(shop, ACME)

    def test_or_joins_up_to_ten(self, shop: Shop) -> None:
        names = [shop.customer(metadata={"attributionId": f"team:{n}"}) for n in range(12)]
        shop.double.advance(minutes=5)
        clauses = [f"metadata['attributionId']:'team:{n}'" for n in range(11)]
        assert names[9::-1] == self.find(shop, " OR ".join(clauses[:10]))
        with pytest.raises(stripe.InvalidRequestError):
            self.find(shop, " OR ".join(clauses))

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("email:'a@example.org'", "a"),
            ("name~'nn'", "a"),
            ("-name:'Anna'", "b"),
            ("email:'a@example.org' AND name:'Anna'", "a"),
            ("email:'a@example.org' AND name:'Otto'", ""),
            ("metadata['a']:null", "b"),
            ('email:"b@example.org"', "b"),
            ("name:'Anna' OR name:'Otto'", "ba"),
            (r"name:'O\'tto'", ""),
        ],
    )
    def test_its_language(self, shop: Shop, query: str, found: str) -> None:
        names = {
            shop.customer(email="a@example.org", name="Anna", metadata={"a": "1"}): "a",
            shop.customer(email="b@example.org", name="Otto"): "b",
        }
        shop.double.advance(minutes=5)
        assert found == "".join(names[name] for name in self.find(shop, query))

    @pytest.mark.parametrize(
        "query", ["", "colour:'x'", "name='x'", "name:'a' OR name:'b' AND name:'c'", "name:'a"]
    )
    def test_nonsense_is_refused(self, shop: Shop, query: str) -> None:
        with pytest.raises(stripe.InvalidRequestError) as error:
            self.find(shop, query)
        assert 400 == error.value.http_status

    def test_a_deleted_customer_is_found_no_more(self, shop: Shop) -> None:
        name = shop.customer(email="owner@example.org")
        shop.double.advance(minutes=5)
        shop.client.v1.customers.delete(name)
        assert [name] == self.find(shop, "email:'owner@example.org'")
        shop.double.advance(minutes=5)
        assert [] == self.find(shop, "email:'owner@example.org'")
