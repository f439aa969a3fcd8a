"""GetCostCenter, as section 4 of the contract says."""

import grpc
import pytest

from tests.contract.calls.asking import (
    BAD_ATTRIBUTIONS,
    INVALID,
    OTHER,
    PAYER,
    RIVAL,
    STRIPE,
    ask_raw,
    cost_centers,
    get_cost_center,
    invoices,
    log_of,
    owe,
    refused,
    set_cost_center,
    text,
    together,
)
from tests.harness import Calls, ManualClock

pytestmark = pytest.mark.sharded


class TestGetCostCenter:
    @pytest.mark.parametrize("attribution", BAD_ATTRIBUTIONS)
    def test_an_empty_or_malformed_attribution_id_is_invalid_argument(
        self, calls: Calls, attribution: str
    ) -> None:
        with refused(INVALID, "attribution_id", repr(attribution), "team:<uuid>"):
            get_cost_center(calls, attribution)
        assert [] == cost_centers(calls)

    def test_the_first_read_opens_the_cost_center_under_other(self, calls: Calls) -> None:
        assert OTHER == get_cost_center(calls).billing_strategy
        assert [PAYER] == cost_centers(calls)

    def test_the_first_read_gives_the_default_limit(self, calls: Calls) -> None:
        assert 0 == get_cost_center(calls).spending_limit

    def test_the_first_cycle_starts_now(self, calls: Calls, clock: ManualClock) -> None:
        clock.advance(milliseconds=123)
        opened = get_cost_center(calls)
        assert "2026-11-01T08:00:00.123Z" == text(opened.billing_cycle_start)

    def test_the_first_next_billing_is_one_month_later(self, calls: Calls) -> None:
        assert "2026-12-01T08:00:00Z" == text(get_cost_center(calls).next_billing_time)

    def test_the_first_next_billing_is_clamped_to_the_months_last_day(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        clock.set("2027-01-31T23:59:59Z")
        assert "2027-02-28T23:59:59Z" == text(get_cost_center(calls).next_billing_time)

    def test_16_concurrent_first_reads_open_exactly_one(self, calls: Calls) -> None:
        answers = together(16, lambda _: get_cost_center(calls))
        assert [answers[0]] * 16 == answers
        assert 1 == len(log_of(calls, "cost-center-opened"))

    def test_concurrent_first_reads_in_different_spellings_open_exactly_one(
        self, calls: Calls
    ) -> None:
        bare = PAYER.removeprefix("team:")
        spellings = [PAYER, "team:" + bare.upper(), "team:{" + bare + "}"]
        spellings.append("team:" + bare.replace("-", ""))
        answers = together(16, lambda number: get_cost_center(calls, spellings[number % 4]))
        assert spellings * 4 == [answer.attribution_id for answer in answers]
        assert 1 == len(log_of(calls, "cost-center-opened"))

    def test_a_second_read_answers_the_same_and_records_nothing(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        first = get_cost_center(calls)
        clock.advance(days=10)
        assert first == get_cost_center(calls)
        assert 1 == len(log_of(calls, "cost-center-opened"))

    def test_each_payer_has_its_own(self, calls: Calls, clock: ManualClock) -> None:
        first = get_cost_center(calls)
        clock.advance(hours=1)
        assert "2026-11-01T09:00:00Z" == text(get_cost_center(calls, RIVAL).billing_cycle_start)
        assert first == get_cost_center(calls)

    @pytest.mark.parametrize(
        "spelling",
        [
            "team:ABCDEFAB-1234-5678-9ABC-DEF012345678",
            "team:abcdefab123456789abcdef012345678",
            "team:{AbCdEfAb-1234-5678-9abc-def012345678}",
        ],
    )
    def test_it_answers_with_the_spelling_asked(self, calls: Calls, spelling: str) -> None:
        set_cost_center(calls, "team:abcdefab-1234-5678-9abc-def012345678", limit=77)
        answer = get_cost_center(calls, spelling)
        assert (spelling, 77) == (answer.attribution_id, answer.spending_limit)


class TestAnExpiredCycle:
    def test_is_reset_first_and_the_new_cycle_is_returned(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        get_cost_center(calls)
        owe(calls, 12)
        clock.set("2026-12-01T08:00:00Z")
        answer = get_cost_center(calls)
        assert "2026-12-01T08:00:00Z" == text(answer.billing_cycle_start)
        assert "2027-01-01T08:00:00Z" == text(answer.next_billing_time)
        assert [-1200] == invoices(calls)
        assert 0 == calls.balance_cents(PAYER)

    def test_is_not_reset_a_millisecond_too_early(self, calls: Calls, clock: ManualClock) -> None:
        opened = get_cost_center(calls)
        owe(calls, 12)
        clock.set("2026-12-01T07:59:59.999Z")
        assert opened == get_cost_center(calls)
        assert [] == invoices(calls)

    def test_is_reset_once_by_16_concurrent_reads(self, calls: Calls, clock: ManualClock) -> None:
        get_cost_center(calls)
        owe(calls, 12)
        clock.set("2026-12-01T08:00:00Z")
        answers = together(16, lambda _: get_cost_center(calls))
        assert {"2026-12-01T08:00:00Z"} == {text(answer.billing_cycle_start) for answer in answers}
        assert [-1200] == invoices(calls)
        assert 1 == len(log_of(calls, "billing-cycle-closed"))

    def test_is_left_alone_under_stripe(self, calls: Calls, clock: ManualClock) -> None:
        before = set_cost_center(calls, limit=5, strategy=STRIPE)
        owe(calls, 12)
        clock.set("2026-12-01T08:00:00Z")
        assert before == get_cost_center(calls)
        assert 1200 == calls.balance_cents(PAYER)

    def test_of_one_payer_resets_no_other(self, calls: Calls, clock: ManualClock) -> None:
        get_cost_center(calls)
        get_cost_center(calls, RIVAL)
        owe(calls, 12, payer=RIVAL)
        clock.set("2026-12-01T08:00:00Z")
        get_cost_center(calls)
        assert [] == invoices(calls, RIVAL)
        assert 1200 == calls.balance_cents(RIVAL)


class TestUnknownMethods:
    def test_a_method_that_does_not_exist_is_unimplemented(self, calls: Calls) -> None:
        with refused(grpc.StatusCode.UNIMPLEMENTED):
            ask_raw(calls, "/usage.v1.UsageService/GetEverything", b"")
