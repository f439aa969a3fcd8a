"""CreateStripeCustomer: section 4.2 of the billing contract."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from persistence.sqlite import FILE_NAME
from tests.billing.calls.failing import (
    ALREADY_EXISTS,
    INVALID,
    PRECONDITION,
    UNAVAILABLE,
    Failure,
    each_failure,
)
from tests.billing.scene import PAYER, BillingScene
from tests.contract.calls.asking import BAD_ATTRIBUTIONS, USER, log_of, refused
from tests.oracle.events import payer_of
from tests.stripe_double import Fault

PATH = "/v1/customers"
# Whether Stripe says of a 500 that its key would only repeat it; then the library does not ask.
says_final = pytest.mark.parametrize("is_final", [False, True])


def customers(scene: BillingScene) -> list[Any]:
    """All customers at Stripe, the newest first."""
    return list(scene.shop.client.v1.customers.list().auto_paging_iter())


class TestInput:
    @pytest.mark.parametrize("text", BAD_ATTRIBUTIONS)
    def test_a_malformed_attribution_id_is_refused_first(
        self, scene: BillingScene, text: str
    ) -> None:
        with refused(INVALID, f"Invalid attribution ID {text}"):
            scene.customer(text, currency="", email="", name="")

    @pytest.mark.parametrize("currency", ["", "gbp", "eu", "dollar", "€"])
    def test_then_a_currency_that_is_not_ours(self, scene: BillingScene, currency: str) -> None:
        """D10: the original takes any, and bills in dollars what is held in another."""
        with refused(INVALID, "Invalid currency specified"):
            scene.customer(currency=currency, email="", name="")

    @pytest.mark.parametrize("email", ["", " "])
    def test_then_no_e_mail_address(self, scene: BillingScene, email: str) -> None:
        with refused(INVALID, "Invalid email specified"):
            scene.customer(email=email, name="")

    @pytest.mark.parametrize("name", ["", "\t"])
    def test_then_no_name(self, scene: BillingScene, name: str) -> None:
        with refused(INVALID, "Invalid name specified"):
            scene.customer(name=name, billing_creator_user_id=" ")

    @pytest.mark.parametrize("creator", [" ", "\0", "a\nb", "\u2028", "u" * 256])
    def test_then_a_creator_whom_nobody_could_read(self, scene: BillingScene, creator: str) -> None:
        with refused(INVALID, "billing_creator_user_id ", "1 to 255 visible characters"):
            scene.customer(billing_creator_user_id=creator)

    def test_refused_leaves_nothing(self, scene: BillingScene) -> None:
        with refused(INVALID):
            scene.customer(name="")
        assert [] == customers(scene)
        assert [] == log_of(scene.calls, "stripe-customer-requested")


class TestACustomer:
    def test_is_made_with_what_the_original_writes(self, scene: BillingScene) -> None:
        made = scene.customer(billing_creator_user_id=USER)
        (told,) = customers(scene)
        assert (made.id, "Owner", "owner@example.org") == (told.id, told.name, told.email)
        assert {
            "attributionId": PAYER,
            "preferredCurrency": "eur",
            "billingCreatorUserId": USER,
        } == told.metadata.to_dict()

    @pytest.mark.parametrize("creator", ["auth0|123", "user 1", "\u00c5sa", "u" * 255])
    def test_has_whatever_creator_it_is_told(self, scene: BillingScene, creator: str) -> None:
        scene.customer(billing_creator_user_id=creator)
        (told,) = customers(scene)
        assert creator == told.metadata["billingCreatorUserId"]

    @pytest.mark.parametrize("odd", [".", "..", " . ", "a\0b", "\U0001f4b3"])
    @pytest.mark.parametrize("field", ["name", "email"])
    def test_may_be_named_as_people_are(self, scene: BillingScene, field: str, odd: str) -> None:
        """A name of dots is no way up in an address, for it is in none."""
        made = scene.customer(**{field: odd})
        (told,) = customers(scene)
        assert (made.id, odd) == (told.id, told[field])

    def test_without_a_creator_is_made_without_one(self, scene: BillingScene) -> None:
        scene.customer()
        (told,) = customers(scene)
        assert {"attributionId", "preferredCurrency"} == set(told.metadata.to_dict())

    def test_of_whom_no_address_is_known_is_told_so(self, scene: BillingScene) -> None:
        """The original answers that it is good and stores that it is not."""
        assert scene.customer().invalid_billing_address

    @pytest.mark.parametrize("currency", ["EUR", "eur", "Eur", " usd ", "USD"])
    def test_keeps_its_currency_in_lower_case(self, scene: BillingScene, currency: str) -> None:
        """D10."""
        assert currency.strip().lower() == scene.customer(currency=currency).currency

    def test_asked_for_again_is_the_same(self, scene: BillingScene) -> None:
        """C1: the original makes another each time."""
        first = scene.customer()
        assert first == scene.customer(name="Somebody", email="else@example.org", currency="eur")
        assert 1 == len(customers(scene))

    def test_asked_for_in_another_currency_is_refused(self, scene: BillingScene) -> None:
        """C1."""
        scene.customer()
        with refused(ALREADY_EXISTS, PAYER, "currency eur, not usd"):
            scene.customer(currency="USD")
        assert 1 == len(customers(scene))

    def test_of_another_payer_is_another(self, scene: BillingScene) -> None:
        assert scene.customer().id != scene.customer(payer_of("other payer")).id

    def test_is_found_while_the_search_lags(self, scene: BillingScene) -> None:
        """C2: the original asks the search, which does not know it yet, and makes another."""
        scene.double.settings.search_lag_seconds = 3_600
        first = scene.customer()
        assert first == scene.customer()
        assert 0 == len(scene.double.journal.of("GET", "/v1/customers/search"))


class TestStripe:
    @each_failure
    def test_failing_is_told_and_the_next_try_makes_one(
        self, scene: BillingScene, failure: Failure
    ) -> None:
        """C5: the key of the first try is known to the second, also where the answer was lost."""
        with failure.of(scene), refused(failure.code, "Failed to create stripe customer: "):
            scene.customer()
        scene.double.advance(seconds=1)
        made = scene.customer_once_possible()
        assert [made.id] == [one.id for one in customers(scene)]

    @each_failure
    def test_failing_leads_to_one_even_after_its_memory_of_keys(
        self, scene: BillingScene, failure: Failure
    ) -> None:
        """C5: after a day Stripe knows a key no more; what was made under it is found by a list."""
        with failure.of(scene, method="POST"), refused(failure.code):
            scene.customer()
        scene.double.advance(days=3)
        made = scene.customer_once_possible()
        assert [made.id] == [one.id for one in customers(scene)]

    @says_final
    def test_answering_with_a_stored_500_is_asked_under_another_key(
        self, scene: BillingScene, is_final: bool
    ) -> None:
        """C5: a key whose answer is a stored 500 gives nothing else for a day."""
        scene.double.settings.server_errors_are_final = is_final
        scene.double.faults.add(Fault.SERVER_ERROR, method="POST", path=PATH, times=1)
        if is_final:  # nobody has asked again, so it is not known that it is stored
            with refused(UNAVAILABLE, "Failed to create stripe customer: "):
                scene.customer()
        made = scene.customer()
        keys = [one.idempotency_key for one in scene.double.journal.of("POST", PATH)]
        assert 2 == len(set(keys))
        assert [made.id] == [one.id for one in customers(scene)]

    @says_final
    def test_that_has_done_it_and_says_500_is_not_asked_to_do_it_again(
        self, scene: BillingScene, is_final: bool
    ) -> None:
        scene.double.settings.server_errors_are_final = is_final
        scene.double.faults.add(Fault.SERVER_ERROR_AFTER, method="POST", path=PATH, times=1)
        if is_final:
            with refused(UNAVAILABLE):
                scene.customer()
        made = scene.customer()
        assert [made.id] == [one.id for one in customers(scene)]

    def test_that_is_broken_is_asked_under_two_keys_a_call(self, scene: BillingScene) -> None:
        scene.double.faults.add(Fault.SERVER_ERROR, method="POST", path=PATH)
        for count in (2, 4):
            with refused(UNAVAILABLE, "Failed to create stripe customer: "):
                scene.customer()
            keys = [one.idempotency_key for one in scene.double.journal.of("POST", PATH)]
            assert count == len(set(keys))

    def test_that_is_still_at_it_is_not_asked_under_another_key(self, scene: BillingScene) -> None:
        """C1: a failure that is not stored may have an effect yet."""
        scene.double.faults.add(Fault.STILL_RUNNING, method="POST", path=PATH, times=1)
        for _ in range(2):
            with refused(UNAVAILABLE, "Failed to create stripe customer: "):
                scene.customer()
        assert [] == customers(scene)
        scene.double.advance(minutes=1)
        made = scene.customer()
        assert [made.id] == [one.id for one in customers(scene)]
        assert 1 == len(log_of(scene.calls, "stripe-customer-requested"))

    def test_failing_keeps_the_body_of_the_first_request(self, scene: BillingScene) -> None:
        """Stripe refuses a key that comes back with another body."""
        scene.double.faults.add(Fault.ANSWER_LOST, method="POST", path=PATH, times=3)
        with refused(UNAVAILABLE):
            scene.customer(name="First")
        scene.double.faults.clear()
        scene.customer(name="Second", email="second@example.org")
        (told,) = customers(scene)
        assert ("First", "owner@example.org") == (told.name, told.email)

    def test_refusing_is_told_and_forgotten(self, scene: BillingScene) -> None:
        with refused(PRECONDITION, "Failed to create stripe customer: "):
            scene.customer(name="n" * 100_000)
        scene.customer(name="Short")


class TestOneThatWasDeleted:
    """D15: the original fails for ever."""

    def test_is_made_anew_although_nobody_told(self, scene: BillingScene) -> None:
        first = scene.customer()
        scene.double.outside.delete_customer(first.id)
        second = scene.customer()
        assert first.id != second.id
        assert [second.id] == [one.id for one in customers(scene)]
        requested = log_of(scene.calls, "stripe-customer-requested")
        assert [1, 2] == [json.loads(one.json)["generation"] for one in requested]

    def test_may_be_made_anew_in_another_currency(self, scene: BillingScene) -> None:
        first = scene.customer()
        scene.double.outside.delete_customer(first.id)
        assert "usd" == scene.customer(currency="USD").currency

    @each_failure
    def test_is_told_as_it_is_stored_while_stripe_cannot_be_asked(
        self, scene: BillingScene, failure: Failure
    ) -> None:
        """D5: it is not made anew because a request failed."""
        first = scene.customer()
        with failure.of(scene):
            assert first == scene.customer()
        assert [first.id] == [one.id for one in customers(scene)]

    def test_before_it_was_bound_is_made_anew(self, scene: BillingScene) -> None:
        """Stripe repeats under the key what it made, as it was then."""
        scene.double.faults.add(Fault.ANSWER_LOST, method="POST", path=PATH, times=3)
        with refused(UNAVAILABLE):
            scene.customer()
        scene.double.faults.clear()
        (first,) = customers(scene)
        scene.double.outside.delete_customer(first.id)
        scene.double.advance(seconds=1)
        second = scene.customer()
        assert first.id != second.id
        assert [second.id] == [one.id for one in customers(scene)]


class TestTheLedger:
    def test_that_cannot_note_the_intent_asks_nothing_of_stripe(self, tmp_path: Path) -> None:
        """C3: trouble of the database is UNAVAILABLE, and makes nothing."""
        with BillingScene(data_dir=tmp_path / "data") as scene:
            scene.calls.balance_cents(PAYER)
            asked = len(scene.double.journal)
            lock = sqlite3.connect(tmp_path / "data" / FILE_NAME)
            with contextlib.closing(lock):
                lock.execute("BEGIN IMMEDIATE")
                with refused(UNAVAILABLE):
                    scene.customer()
                lock.rollback()
            assert asked == len(scene.double.journal)
            made = scene.customer()
            assert [made.id] == [one.id for one in customers(scene)]
