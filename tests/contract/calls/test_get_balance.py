"""GetBalance, as section 4 of the contract says. Its cost is measured in benchmarks, not here."""

import pytest

from tests.contract.calls.asking import (
    BAD_ATTRIBUTIONS,
    INVALID,
    PAYER,
    RIVAL,
    STRIPE,
    add_note,
    get_cost_center,
    owe,
    refused,
    run,
    set_cost_center,
)
from tests.harness import Calls
from usage.v1 import usage_pb2 as pb

pytestmark = pytest.mark.sharded


class TestGetBalance:
    @pytest.mark.parametrize("attribution", BAD_ATTRIBUTIONS)
    def test_a_malformed_or_empty_id_is_invalid_argument(
        self, calls: Calls, attribution: str
    ) -> None:
        with refused(INVALID, "attribution_id", repr(attribution), "team:<uuid>"):
            calls.balance_cents(attribution)

    def test_no_entries_are_0(self, calls: Calls) -> None:
        answer = calls.usage.GetBalance(pb.GetBalanceRequest(attribution_id=PAYER))
        assert 0.0 == answer.credits

    def test_is_0_for_a_cost_center_without_entries(self, calls: Calls) -> None:
        get_cost_center(calls)
        assert 0 == calls.balance_cents(PAYER)

    def test_is_the_sum_of_all_entries_drafts_included(self, calls: Calls) -> None:
        get_cost_center(calls)
        run(calls, "stopped", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")
        run(calls, "stopping", "2026-11-01T07:00:00Z", stopping="2026-11-01T07:12:00Z")
        run(calls, "running", "2026-11-01T07:00:00Z")
        calls.reconcile()
        set_cost_center(calls, strategy=STRIPE)
        add_note(calls, 2)
        owe(calls, 7)
        run(calls, "late", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:00:09Z")
        balance = calls.balance_cents(PAYER)
        assert 503 == balance
        assert balance == sum(entry.credit_cents for entry in calls.entries(PAYER))

    def test_is_positive_when_the_payer_owes_and_negative_when_it_has_a_credit(
        self, calls: Calls
    ) -> None:
        owe(calls, 3)
        add_note(calls, 3, payer=RIVAL)
        assert (300, -300) == (calls.balance_cents(PAYER), calls.balance_cents(RIVAL))

    def test_is_cents_by_100_on_the_wire(self, calls: Calls) -> None:
        run(calls, "a", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:01:44Z")  # 28.9 cents
        answer = calls.usage.GetBalance(pb.GetBalanceRequest(attribution_id=PAYER))
        assert 0.29 == answer.credits
