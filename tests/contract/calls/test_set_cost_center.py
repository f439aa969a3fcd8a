"""SetCostCenter, as section 4 of the contract says."""

from pathlib import Path

import pytest

from tests.contract.calls.asking import (
    BAD_ATTRIBUTIONS,
    INVALID,
    OTHER,
    PAYER,
    STRIPE,
    add_note,
    cost_centers,
    get_cost_center,
    head,
    invoices,
    log_of,
    owe,
    refused,
    set_cost_center,
    stamp,
    text,
    together,
)
from tests.harness import Calls, InProcessService, ManualClock, settings_for
from usage.v1 import usage_pb2 as pb
from usage_ledger.v1 import queries_pb2

pytestmark = pytest.mark.sharded


class TestSetCostCenter:
    def test_no_cost_center_is_invalid_argument(self, calls: Calls) -> None:
        with refused(INVALID, "cost_center"):
            calls.usage.SetCostCenter(pb.SetCostCenterRequest())
        assert [] == cost_centers(calls)

    @pytest.mark.parametrize("attribution", BAD_ATTRIBUTIONS)
    def test_a_malformed_id_is_invalid_argument_and_nothing_is_created(
        self, calls: Calls, attribution: str
    ) -> None:
        with refused(INVALID, "cost_center.attribution_id", repr(attribution), "team:<uuid>"):
            set_cost_center(calls, attribution, limit=5)
        assert [] == cost_centers(calls)

    @pytest.mark.parametrize("limit", [-1, -(2**31)])
    def test_a_negative_limit_is_invalid_argument_and_nothing_is_created(
        self, calls: Calls, limit: int
    ) -> None:
        before = head(calls)
        with refused(INVALID, "spending_limit", str(limit)):
            set_cost_center(calls, limit=limit)
        assert [] == cost_centers(calls)
        assert before == head(calls)

    def test_a_negative_limit_leaves_the_old_one(self, calls: Calls) -> None:
        set_cost_center(calls, limit=8)
        with refused(INVALID, "spending_limit"):
            set_cost_center(calls, limit=-8)
        assert 8 == get_cost_center(calls).spending_limit

    def test_it_opens_the_cost_center_if_there_is_none(self, calls: Calls) -> None:
        answer = set_cost_center(calls, limit=100)
        assert (100, OTHER) == (answer.spending_limit, answer.billing_strategy)
        assert "2026-11-01T08:00:00Z" == text(answer.billing_cycle_start)
        assert "2026-12-01T08:00:00Z" == text(answer.next_billing_time)
        assert answer == get_cost_center(calls)

    def test_the_largest_limit_is_accepted(self, calls: Calls) -> None:
        assert 2**31 - 1 == set_cost_center(calls, limit=2**31 - 1).spending_limit

    def test_times_sent_by_the_client_are_ignored(self, calls: Calls) -> None:
        opened = get_cost_center(calls)
        wanted = pb.CostCenter(
            attribution_id=PAYER,
            billing_strategy=OTHER,
            next_billing_time=stamp("2031-01-01T00:00:00Z"),
            billing_cycle_start=stamp("2030-12-01T00:00:00Z"),
        )
        request = pb.SetCostCenterRequest(cost_center=wanted)
        assert opened == calls.usage.SetCostCenter(request).cost_center
        assert opened == get_cost_center(calls)

    def test_a_request_without_a_strategy_means_stripe(self, calls: Calls) -> None:
        wanted = pb.CostCenter(attribution_id=PAYER, spending_limit=3)
        request = pb.SetCostCenterRequest(cost_center=wanted)
        assert STRIPE == calls.usage.SetCostCenter(request).cost_center.billing_strategy

    @pytest.mark.parametrize("number", [2, 77, -1, 2**31 - 1])
    def test_an_unknown_strategy_number_means_other(self, calls: Calls, number: int) -> None:
        set_cost_center(calls, strategy=STRIPE)
        unknown = pb.CostCenter.BillingStrategy.ValueType(number)
        assert OTHER == set_cost_center(calls, strategy=unknown).billing_strategy

    def test_it_answers_with_the_spelling_asked_and_sets_the_same_account(
        self, calls: Calls
    ) -> None:
        spelling = "team:{" + PAYER.removeprefix("team:").upper() + "}"
        assert spelling == set_cost_center(calls, spelling, limit=9).attribution_id
        assert 9 == get_cost_center(calls).spending_limit
        assert [PAYER] == cost_centers(calls)

    def test_an_expired_cycle_is_reset_first_with_the_old_limit(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        set_cost_center(calls, limit=10)
        owe(calls, 25)
        clock.set("2026-12-01T08:00:00Z")
        answer = set_cost_center(calls, limit=1000)
        assert [-1000] == invoices(calls)
        assert 1500 == calls.balance_cents(PAYER)
        assert "2026-12-01T08:00:00Z" == text(answer.billing_cycle_start)
        assert 1000 == answer.spending_limit

    def test_an_expired_cycle_is_reset_before_an_upgrade_too(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        set_cost_center(calls, limit=10)
        owe(calls, 25)
        clock.set("2026-11-20T08:00:00Z")
        calls.reconcile()
        clock.set("2026-12-05T08:00:00Z")
        answer = set_cost_center(calls, limit=7, strategy=STRIPE)
        assert [-1000, -1500] == invoices(calls)
        assert "2026-12-05T08:00:00Z" == text(answer.billing_cycle_start)
        assert [] == calls.breaches()


class TestTheSameStrategy:
    def test_changes_only_the_limit_not_cycle_and_balance(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        opened = set_cost_center(calls, limit=10)
        owe(calls, 25)
        clock.advance(days=5)
        answer = set_cost_center(calls, limit=20)
        assert 20 == answer.spending_limit
        assert opened.billing_cycle_start == answer.billing_cycle_start
        assert opened.next_billing_time == answer.next_billing_time
        assert 2500 == calls.balance_cents(PAYER)
        assert [] == invoices(calls)

    def test_under_stripe_changes_only_the_limit_too(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        upgraded = set_cost_center(calls, limit=10, strategy=STRIPE)
        owe(calls, 25)
        clock.advance(days=45)
        answer = set_cost_center(calls, limit=20, strategy=STRIPE)
        assert 20 == answer.spending_limit
        assert upgraded.billing_cycle_start == answer.billing_cycle_start
        assert upgraded.next_billing_time == answer.next_billing_time
        assert 2500 == calls.balance_cents(PAYER)

    def test_with_the_same_limit_records_nothing(self, calls: Calls) -> None:
        set_cost_center(calls, limit=10)
        before = head(calls)
        set_cost_center(calls, limit=10)
        assert before == head(calls)


class TestUpgrade:
    def test_writes_an_invoice_entry_of_minus_the_balance(self, calls: Calls) -> None:
        get_cost_center(calls)
        owe(calls, 25)
        set_cost_center(calls, limit=10, strategy=STRIPE)
        assert [-2500] == invoices(calls)
        assert 0 == calls.balance_cents(PAYER)

    def test_writes_no_entry_when_nothing_is_owed(self, calls: Calls) -> None:
        set_cost_center(calls, limit=10, strategy=STRIPE)
        assert [] == calls.entries(PAYER)

    def test_leaves_a_credit(self, calls: Calls) -> None:
        get_cost_center(calls)
        add_note(calls, 25)
        set_cost_center(calls, limit=10, strategy=STRIPE)
        assert [] == invoices(calls)
        assert -2500 == calls.balance_cents(PAYER)

    def test_starts_a_new_cycle_now_with_the_requests_limit(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        set_cost_center(calls, limit=10)
        clock.set("2026-11-11T11:11:11.011Z")
        answer = set_cost_center(calls, limit=33, strategy=STRIPE)
        assert (33, STRIPE) == (answer.spending_limit, answer.billing_strategy)
        assert "2026-11-11T11:11:11.011Z" == text(answer.billing_cycle_start)
        assert "2026-12-11T11:11:11.011Z" == text(answer.next_billing_time)

    def test_eight_concurrent_upgrades_write_it_once(self, calls: Calls) -> None:
        get_cost_center(calls)
        owe(calls, 25)
        together(8, lambda _: set_cost_center(calls, limit=10, strategy=STRIPE))
        assert [-2500] == invoices(calls)
        assert 0 == calls.balance_cents(PAYER)
        assert 1 == len(log_of(calls, "billing-cycle-closed"))

    def test_of_a_payer_without_cost_center_writes_off_what_it_owes(self, calls: Calls) -> None:
        owe(calls, 25)
        assert STRIPE == set_cost_center(calls, limit=10, strategy=STRIPE).billing_strategy
        assert [-2500] == invoices(calls)
        assert 0 == calls.balance_cents(PAYER)

    def test_the_write_off_belongs_to_the_cycle_it_ends(self, calls: Calls) -> None:
        get_cost_center(calls)
        owe(calls, 25)
        set_cost_center(calls, limit=10, strategy=STRIPE)
        draft = calls.draft(PAYER)
        assert (0, 0, 0) == (draft.carried_balance_cents, draft.invoice_count, draft.total_cents)


class TestDowngrade:
    def test_restores_the_latest_limit_under_other_whatever_the_request_says(
        self, calls: Calls
    ) -> None:
        set_cost_center(calls, limit=10)
        set_cost_center(calls, limit=40)
        set_cost_center(calls, limit=500, strategy=STRIPE)
        set_cost_center(calls, limit=600, strategy=STRIPE)
        assert 40 == set_cost_center(calls, limit=7).spending_limit

    def test_restores_the_limit_restored_before(self, calls: Calls) -> None:
        set_cost_center(calls, limit=40)
        for _ in range(2):
            set_cost_center(calls, limit=500, strategy=STRIPE)
            assert 40 == set_cost_center(calls, limit=7).spending_limit

    def test_starts_a_new_cycle_now_and_leaves_the_balance(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        set_cost_center(calls, limit=10, strategy=STRIPE)
        owe(calls, 25)
        clock.set("2026-11-20T10:00:00Z")
        answer = set_cost_center(calls)
        assert OTHER == answer.billing_strategy
        assert "2026-11-20T10:00:00Z" == text(answer.billing_cycle_start)
        assert "2026-12-20T10:00:00Z" == text(answer.next_billing_time)
        assert 2500 == calls.balance_cents(PAYER)
        assert [] == invoices(calls)

    def test_gives_the_limit_it_was_opened_with_when_the_first_call_asked_for_stripe(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        limits = {"for_teams": 30}
        settings = settings_for(tmp_path, default_spending_limit=limits)
        with InProcessService(settings, clock=clock) as service:
            set_cost_center(service.calls, limit=500, strategy=STRIPE)
            assert 30 == set_cost_center(service.calls, limit=7).spending_limit

    def test_eight_concurrent_downgrades_start_one_cycle(self, calls: Calls) -> None:
        set_cost_center(calls, limit=10, strategy=STRIPE)
        together(8, lambda _: set_cost_center(calls, limit=10))
        reasons = [event.json for event in log_of(calls, "billing-cycle-closed")]
        assert 1 == sum('"downgrade"' in reason for reason in reasons)

    def test_its_limit_and_cycle_survive_a_restart(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        settings = settings_for(tmp_path)
        with InProcessService(settings, clock=clock) as service:
            set_cost_center(service.calls, limit=40)
            set_cost_center(service.calls, limit=500, strategy=STRIPE)
        with InProcessService(settings, clock=clock) as service:
            before = set_cost_center(service.calls, limit=7)
            assert 40 == before.spending_limit
        with InProcessService(settings, clock=clock) as service:
            assert before == get_cost_center(service.calls)
            request = queries_pb2.GetInvoiceDraftRequest(attribution_id=PAYER)
            draft = service.calls.queries.GetInvoiceDraft(request).invoice_draft
            assert before.billing_cycle_start == draft.cycle_start
