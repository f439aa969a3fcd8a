"""What ListUsage refuses, in which order, and its defaults: section 4 of the contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from tests.contract.calls.asking import (
    BAD_ATTRIBUTIONS,
    BAD_UUIDS,
    INVALID,
    PAYER,
    RIVAL,
    USER,
    list_usage,
    names_of,
    refused,
    run,
    stamp,
)
from tests.harness import Calls, InProcessService, ManualClock, settings_for
from usage.v1 import usage_pb2 as pb

NANOSECOND_LATE = "2026-10-28T00:00:00.000000001Z"  # 300 days and 1 ns after 1 January


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calls]:
    """The calls of a service that these tests only ask what it refuses."""
    settings = settings_for(tmp_path_factory.mktemp("idle"))
    with InProcessService(settings, clock=ManualClock("2026-11-01T08:00:00Z")) as service:
        yield service.calls


class TestTheRange:
    def test_from_after_to_is_invalid_argument(self, idle: Calls) -> None:
        with refused(INVALID, "from 2026-10-02T00:00:00Z", "to 2026-10-01T00:00:00Z"):
            list_usage(idle, start="2026-10-02T00:00:00Z", end="2026-10-01T00:00:00Z")

    def test_from_one_nanosecond_after_to_is_invalid_argument(self, idle: Calls) -> None:
        with refused(INVALID, "from", "to"):
            list_usage(idle, start="2026-10-01T00:00:00.000000001Z", end="2026-10-01T00:00:00Z")

    def test_from_equal_to_to_is_an_empty_list(self, idle: Calls) -> None:
        answer = list_usage(idle, start="2026-10-01T00:00:00Z", end="2026-10-01T00:00:00Z")
        assert 0 == answer.pagination.total

    def test_from_after_now_without_to_is_invalid_argument(self, idle: Calls) -> None:
        with refused(INVALID, "from", "to"):
            list_usage(idle, start="2026-11-01T08:00:01Z")

    def test_a_range_of_300_days_is_allowed(self, idle: Calls) -> None:
        list_usage(idle, start="2026-01-01T00:00:00Z", end="2026-10-28T00:00:00Z")

    def test_a_range_of_one_nanosecond_more_is_invalid_argument(self, idle: Calls) -> None:
        with refused(INVALID, "from", "to", "300 days"):
            list_usage(idle, start="2026-01-01T00:00:00Z", end=NANOSECOND_LATE)

    def test_from_more_than_300_days_before_now_without_to_is_invalid_argument(
        self, idle: Calls
    ) -> None:
        with refused(INVALID, "300 days"):
            list_usage(idle, start="2025-11-01T08:00:00Z")

    def test_the_default_from_is_never_before_year_1(self, idle: Calls) -> None:
        assert 0 == list_usage(idle, end="0001-03-01T00:00:00Z").pagination.total


class TestDefaults:
    def test_to_is_now_rounded_up_to_the_next_millisecond(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        run(calls, "now", "2026-11-01T07:00:00Z", stopped="2026-11-01T08:00:00Z")
        run(calls, "next", "2026-11-01T07:00:00Z", stopped="2026-11-01T08:00:00.001Z")
        clock.set_ns(clock.now_ns() + 400_000)
        assert ["now"] == names_of(list_usage(calls).usage_entries)
        clock.set_ns(clock.now_ns() + 600_001)
        assert ["next", "now"] == names_of(list_usage(calls).usage_entries)

    def test_from_is_300_days_before_now(self, calls: Calls) -> None:
        # 300 days before 2026-11-01T08:00:00.001, the default `to`.
        run(calls, "in", "2026-01-05T07:00:00Z", stopped="2026-01-05T08:00:00.001Z")
        run(calls, "out", "2026-01-05T07:00:00Z", stopped="2026-01-05T08:00:00Z")
        assert ["in"] == names_of(list_usage(calls).usage_entries)

    def test_from_is_300_days_before_the_to_that_was_asked(self, calls: Calls) -> None:
        run(calls, "in", "2024-05-06T00:00:00Z", stopped="2024-05-07T00:00:00Z")
        run(calls, "out", "2024-05-06T00:00:00Z", stopped="2024-05-06T23:59:59.999Z")
        listed = list_usage(calls, end="2025-03-03T00:00:00Z").usage_entries
        assert ["in"] == names_of(listed)

    def test_per_page_is_50_and_page_is_1_and_both_are_echoed(self, calls: Calls) -> None:
        for number in range(51):
            run(calls, number, "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")
        answer = list_usage(calls)
        assert 50 == len(answer.usage_entries)
        assert (50, 1) == (answer.pagination.per_page, answer.pagination.page)
        assert (51, 2) == (answer.pagination.total, answer.pagination.total_pages)

    def test_ledger_interval_is_one_hour(self, idle: Calls) -> None:
        assert Duration(seconds=3600) == list_usage(idle).ledger_interval

    def test_ledger_interval_is_the_configured_one(self, tmp_path: Path) -> None:
        with InProcessService(settings_for(tmp_path, ledger_interval="90s500ms")) as service:
            expected = Duration(seconds=90, nanos=500_000_000)
            assert expected == list_usage(service.calls).ledger_interval


class TestThePagination:
    @pytest.mark.parametrize("per_page", [-1, 1001, -(2**63), 2**63 - 1])
    def test_per_page_below_0_or_above_1000_is_invalid_argument(
        self, idle: Calls, per_page: int
    ) -> None:
        with refused(INVALID, "pagination.per_page", str(per_page), "0 to 1000"):
            list_usage(idle, per_page=per_page)

    @pytest.mark.parametrize("per_page", [1, 1000])
    def test_per_page_1_to_1000_is_echoed(self, idle: Calls, per_page: int) -> None:
        assert per_page == list_usage(idle, per_page=per_page).pagination.per_page

    @pytest.mark.parametrize("page", [-1, -(2**63)])
    def test_page_below_0_is_invalid_argument(self, idle: Calls, page: int) -> None:
        with refused(INVALID, "pagination.page", str(page), "must not be negative"):
            list_usage(idle, page=page)


class TestIds:
    @pytest.mark.parametrize("attribution", BAD_ATTRIBUTIONS)
    def test_a_malformed_attribution_id_is_invalid_argument(
        self, idle: Calls, attribution: str
    ) -> None:
        with refused(INVALID, "attribution_id", repr(attribution), "team:<uuid>"):
            list_usage(idle, attribution)

    @pytest.mark.parametrize("user", BAD_UUIDS)
    def test_a_malformed_user_id_is_invalid_argument(self, idle: Calls, user: str) -> None:
        with refused(INVALID, "user_id", repr(user), "UUID"):
            list_usage(idle, user_id=user)

    def test_an_unknown_attribution_id_gives_an_empty_list(self, idle: Calls) -> None:
        answer = list_usage(idle, RIVAL)
        assert [] == list(answer.usage_entries)
        assert (0, 0) == (answer.pagination.total, answer.pagination.total_pages)
        assert 0.0 == answer.credits_used

    def test_an_unknown_user_gives_an_empty_list(self, idle: Calls) -> None:
        assert 0 == list_usage(idle, user_id=USER).pagination.total


class TestTheOrderOfTheChecks:
    """Everything is wrong; what is mended one after the other shows who speaks first."""

    def test_is_from_and_to_then_range_per_page_page_attribution_user(self, idle: Calls) -> None:
        request = pb.ListUsageRequest(attribution_id="nobody", user_id="nobody")
        request.pagination.per_page = -1
        request.pagination.page = -1
        start = getattr(request, "from")
        start.CopyFrom(Timestamp(seconds=7, nanos=-1))
        request.to.CopyFrom(Timestamp(seconds=7, nanos=10**9))

        def speaks(*words: str) -> None:
            with refused(INVALID, *words):
                idle.usage.ListUsage(request)

        speaks("from: nanos")
        start.CopyFrom(stamp("2026-10-28T00:00:01Z"))
        speaks("to: nanos")
        request.to.CopyFrom(stamp("2026-10-28T00:00:00Z"))
        speaks("from 2026-10-28T00:00:01Z", "to 2026-10-28T00:00:00Z")
        start.CopyFrom(stamp("2025-10-28T00:00:00Z"))
        speaks("300 days")
        start.CopyFrom(stamp("2026-10-27T00:00:00Z"))
        speaks("pagination.per_page -1")
        request.pagination.per_page = 0
        speaks("pagination.page -1")
        request.pagination.page = 0
        speaks("attribution_id 'nobody'")
        request.attribution_id = PAYER
        speaks("user_id 'nobody'")
        request.user_id = USER
        idle.usage.ListUsage(request)
