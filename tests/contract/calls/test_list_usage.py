"""What ListUsage lists, in which order and with which totals: section 4 of the contract."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.contract.calls.asking import (
    OTHER,
    PAYER,
    RIVAL,
    STRIPE,
    USER,
    add_note,
    get_cost_center,
    list_usage,
    names_of,
    owe,
    run,
    run_lines,
    set_cost_center,
    text,
)
from tests.harness import Calls, ManualClock
from tests.oracle.events import named_uuid
from usage.v1 import usage_pb2 as pb

pytestmark = pytest.mark.sharded

ASCENDING = pb.ListUsageRequest.ORDERING_ASCENDING
DESCENDING = pb.ListUsageRequest.ORDERING_DESCENDING
NOON = "2026-11-01T12:00:00Z"


def pages_of(calls: Calls, per_page: int, **fields: Any) -> list[pb.Usage]:
    """All entries, page by page; checks the totals of each page."""
    first = list_usage(calls, per_page=per_page, **fields)
    entries = list(first.usage_entries)
    for page in range(2, first.pagination.total_pages + 1):
        answer = list_usage(calls, per_page=per_page, page=page, **fields)
        assert (per_page, page) == (answer.pagination.per_page, answer.pagination.page)
        assert first.pagination.total == answer.pagination.total
        assert first.credits_used == answer.credits_used
        entries += answer.usage_entries
    assert first.pagination.total == len(entries)
    return entries


def in_order(entries: Sequence[pb.Usage], *, ascending: bool) -> list[pb.Usage]:
    """By effective time, ties by id ascending in both orders."""
    by_id = sorted(entries, key=lambda entry: entry.id)
    return sorted(
        by_id, key=lambda entry: entry.effective_time.ToNanoseconds(), reverse=not ascending
    )


class TestWhatIsListed:
    def test_only_workspace_instance_entries(self, calls: Calls, clock: ManualClock) -> None:
        run(calls, "a", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")
        add_note(calls, 5)
        owe(calls, 10)
        get_cost_center(calls)
        set_cost_center(calls, strategy=STRIPE)
        answer = list_usage(calls)
        assert ["a"] == names_of(answer.usage_entries)
        assert {pb.Usage.KIND_WORKSPACE_INSTANCE} == {entry.kind for entry in answer.usage_entries}
        assert (1, 1.0) == (answer.pagination.total, answer.credits_used)
        assert 4 == len(calls.entries(PAYER))

    def test_drafts_are_included(self, calls: Calls) -> None:
        run(calls, "running", "2026-11-01T07:00:00Z")
        run(calls, "stopping", "2026-11-01T07:00:00Z", stopping="2026-11-01T07:30:00Z")
        run(calls, "stopped", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")
        calls.reconcile()
        answer = list_usage(calls)
        assert ["running", "stopping", "stopped"] == names_of(answer.usage_entries)
        assert [True, True, False] == [entry.draft for entry in answer.usage_entries]
        assert (3, 16.0) == (answer.pagination.total, answer.credits_used)

    def test_effective_time_in_from_to_the_end_excluded(self, calls: Calls) -> None:
        run(calls, "a", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")

        def listed(start: str, end: str) -> int:
            return len(list_usage(calls, start=start, end=end).usage_entries)

        assert 1 == listed("2026-11-01T07:06:00Z", "2026-11-01T07:06:00.001Z")
        assert 0 == listed("2026-11-01T07:05:59Z", "2026-11-01T07:06:00Z")
        assert 0 == listed("2026-11-01T07:06:00.001Z", "2026-11-01T07:07:00Z")

    def test_running_entries_are_dated_at_the_accrual_instant(self, calls: Calls) -> None:
        run(calls, "a", "2026-11-01T07:00:00Z")
        calls.reconcile()

        def listed(start: str, end: str) -> tuple[int, float]:
            answer = list_usage(calls, start=start, end=end)
            return len(answer.usage_entries), answer.credits_used

        assert (1, 10.0) == listed("2026-11-01T08:00:00Z", "2026-11-01T08:00:00.001Z")
        assert (0, 0.0) == listed("2026-11-01T07:00:00Z", "2026-11-01T08:00:00Z")
        assert (0, 0.0) == listed("2026-11-01T08:00:00.001Z", "2026-11-01T09:00:00Z")

    def test_only_the_payers_own(self, calls: Calls) -> None:
        run(calls, "a", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")
        run(calls, "b", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z", payer=RIVAL)
        assert ["a"] == names_of(list_usage(calls).usage_entries)

    def test_an_entry_has_the_contracts_fields(self, calls: Calls) -> None:
        run(
            calls,
            "a",
            "2026-11-01T07:00:00Z",
            stopped="2026-11-01T07:06:00Z",
            workspace_class="g1-large",
            user=USER,
        )
        (entry,) = list_usage(calls).usage_entries
        assert (PAYER, 2.0, False) == (entry.attribution_id, entry.credits, entry.draft)
        assert "Usage collected by automated system." == entry.description
        assert "2026-11-01T07:06:00Z" == text(entry.effective_time)
        assert named_uuid("instance", "a") == entry.workspace_instance_id
        assert {
            "workspaceId": "ws-a",
            "workspaceType": "regular",
            "workspaceClass": "g1-large",
            "contextURL": "",
            "creationTime": "",
            "startTime": "2026-11-01T07:00:00.000Z",
            "endTime": "2026-11-01T07:06:00.000Z",
            "stoppedTime": "2026-11-01T07:06:00.000Z",
            "userId": USER,
            "userName": "",
            "userAvatarURL": "",
        } == json.loads(entry.metadata)


class TestUserId:
    @pytest.fixture
    def two_users(self, calls: Calls) -> Calls:
        bob = named_uuid("user", "bob")
        run(calls, "ann 1", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z", user=USER)
        run(calls, "ann 2", "2026-11-01T07:30:00Z", user=USER)
        run(calls, "bob 1", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:12:00Z", user=bob)
        run(calls, "bob 2", "2026-11-01T07:00:00Z", user=bob)
        run(calls, "nobody", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:18:00Z")
        calls.reconcile()
        return calls

    def test_keeps_only_that_users_instances_also_in_the_sums(self, two_users: Calls) -> None:
        answer = list_usage(two_users, user_id=USER)
        assert ["ann 2", "ann 1"] == names_of(answer.usage_entries)
        assert (2, 1, 6.0) == (
            answer.pagination.total,
            answer.pagination.total_pages,
            answer.credits_used,
        )

    def test_is_read_in_every_spelling(self, two_users: Calls) -> None:
        for spelling in (USER.upper(), USER.replace("-", ""), "{" + USER + "}"):
            assert 2 == list_usage(two_users, user_id=spelling).pagination.total

    def test_empty_means_everybody(self, two_users: Calls) -> None:
        answer = list_usage(two_users)
        assert (5, 21.0) == (answer.pagination.total, answer.credits_used)

    def test_is_kept_on_every_page(self, two_users: Calls) -> None:
        entries = pages_of(two_users, 1, user_id=USER)
        assert ["ann 2", "ann 1"] == names_of(entries)


class TestOrder:
    def test_is_by_effective_time_newest_first_unless_asked(self, calls: Calls) -> None:
        for minute in (10, 30, 20):
            run(calls, minute, "2026-11-01T07:00:00Z", stopped=f"2026-11-01T07:{minute}:00Z")
        assert ["30", "20", "10"] == names_of(list_usage(calls).usage_entries)
        descending = list_usage(calls, order=DESCENDING).usage_entries
        assert ["30", "20", "10"] == names_of(descending)
        ascending = list_usage(calls, order=ASCENDING).usage_entries
        assert ["10", "20", "30"] == names_of(ascending)

    @pytest.mark.parametrize("number", [2, 99, -1, 2**31 - 1])
    def test_an_unknown_order_means_descending(self, calls: Calls, number: int) -> None:
        for minute in (10, 20):
            run(calls, minute, "2026-11-01T07:00:00Z", stopped=f"2026-11-01T07:{minute}:00Z")
        unknown = pb.ListUsageRequest.Ordering.ValueType(number)
        assert ["20", "10"] == names_of(list_usage(calls, order=unknown).usage_entries)

    def test_ties_are_by_id_ascending_in_both_orders(self, calls: Calls) -> None:
        for number in range(20):
            run(calls, number, "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")
        for order in (ASCENDING, DESCENDING):
            ids = [entry.id for entry in list_usage(calls, order=order).usage_entries]
            assert sorted(ids) == ids

    @pytest.mark.parametrize("user", ["", USER])
    @pytest.mark.parametrize("ascending", [True, False])
    @pytest.mark.parametrize("per_page", [1, 2, 3, 5, 50])
    def test_running_entries_tied_with_ended_ones_at_the_accrual_instant_are_by_id(
        self, calls: Calls, per_page: int, ascending: bool, user: str
    ) -> None:
        for number in range(4):
            run(calls, f"runs {number}", "2026-11-01T07:00:00Z", user=user)
            ends = {"stopped": "2026-11-01T08:00:00Z"}
            run(calls, f"ended {number}", "2026-11-01T07:00:00Z", user=user, **ends)
        run(calls, "stopping", "2026-11-01T07:00:00Z", stopping="2026-11-01T08:00:00Z", user=user)
        run(calls, "before", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:59:59.999Z", user=user)
        run(calls, "after", "2026-11-01T07:00:00Z", stopped="2026-11-01T08:00:00.001Z", user=user)
        calls.reconcile()
        order = ASCENDING if ascending else DESCENDING
        entries = pages_of(calls, per_page, end=NOON, order=order, user_id=user)
        assert 11 == len(entries)
        assert in_order(entries, ascending=ascending) == entries
        assert {10.0} == {entry.credits for entry in entries}
        everything = names_of(entries)
        assert "after" == (everything[-1] if ascending else everything[0])
        assert "before" == (everything[0] if ascending else everything[-1])


class TestPages:
    def test_never_overlap_and_leave_nothing_out(self, calls: Calls) -> None:
        lines = []
        for number in range(1300):
            # Several end in the same millisecond; hours and days are unevenly full.
            day, hour, minute = 1 + number % 28, number % 5 * 5, number % 3
            stopped = f"2026-10-{day:02d}T{hour:02d}:{minute:02d}:00Z"
            lines += run_lines(number, "2026-10-01T00:00:00Z", stopped=stopped)
        assert 0 == calls.publish(lines).rejected
        for ascending in (True, False):
            order = ASCENDING if ascending else DESCENDING
            entries = pages_of(calls, 37, order=order)
            assert 1300 == len({entry.id for entry in entries})
            assert in_order(entries, ascending=ascending) == entries
            window = {"start": "2026-10-03T00:00:30Z", "end": "2026-10-27T15:01:00Z"}
            inside = [
                entry
                for entry in entries
                if window["start"] <= text(entry.effective_time) < window["end"]
            ]
            assert inside == pages_of(calls, 97, order=order, **window)

    def test_total_pages_is_total_by_per_page_rounded_up(self, calls: Calls) -> None:
        for number in range(7):
            run(calls, number, "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")
        for per_page, pages in ((1, 7), (3, 3), (6, 2), (7, 1), (8, 1), (1000, 1)):
            assert pages == list_usage(calls, per_page=per_page).pagination.total_pages

    @pytest.mark.parametrize("page", [3, 1000, 2**31, 2**53 + 1, 2**62, 2**63 - 1])
    @pytest.mark.parametrize("per_page", [0, 1, 2, 1000])
    def test_a_page_past_the_end_is_empty_with_the_right_totals_however_far(
        self, calls: Calls, page: int, per_page: int
    ) -> None:
        run(calls, "a", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")
        run(calls, "b", "2026-11-01T07:00:00Z")
        calls.reconcile()
        answer = list_usage(calls, page=page, per_page=per_page)
        assert [] == list(answer.usage_entries)
        assert page == answer.pagination.page
        assert (per_page or 50) == answer.pagination.per_page
        assert 2 == answer.pagination.total
        assert -(-2 // (per_page or 50)) == answer.pagination.total_pages
        assert 11.0 == answer.credits_used

    def test_credits_used_and_total_are_over_the_range_not_the_page(self, calls: Calls) -> None:
        for number in range(5):
            run(calls, number, "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")
        answer = list_usage(calls, per_page=2, page=3)
        assert 1 == len(answer.usage_entries)
        assert (5, 5.0) == (answer.pagination.total, answer.credits_used)

    def test_credits_used_is_the_sum_of_cents(self, calls: Calls) -> None:
        # 9 s cost 2.5 cents, rounded to 3 for each instance: sums are of cents, not of time.
        for number in range(10):
            run(calls, number, "2026-11-01T07:00:00Z", stopped="2026-11-01T07:00:09Z")
        assert 0.3 == list_usage(calls).credits_used

    def test_the_strategy_does_not_matter(self, calls: Calls) -> None:
        run(calls, "a", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")
        for strategy in (STRIPE, OTHER):
            set_cost_center(calls, strategy=strategy)
            assert 1.0 == list_usage(calls).credits_used
