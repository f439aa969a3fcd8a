"""What section 4 of the contract says of all calls: times, malformed bytes, messages, reads."""

import json

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.contract.calls.asking import (
    INVALID,
    PAYER,
    RIVAL,
    USER,
    add_note,
    ask_raw,
    cost_centers,
    get_cost_center,
    head,
    list_usage,
    log_of,
    names_of,
    refused,
    run,
    stamp,
    status,
    text,
)
from tests.contract.calls.odd_texts import ANSWERS, ODD_TEXTS, code_of, requests_with
from tests.harness import Calls, ManualClock
from tests.oracle.events import named_uuid
from usage.v1 import billing_pb2, usage_pb2
from usage.v1 import usage_pb2 as pb
from usage_ledger.v1 import admin_pb2, audit_pb2, publishing_pb2, queries_pb2
from usage_ledger.v1 import billing_pb2 as billing_status_pb2

FILES = (
    usage_pb2,
    billing_pb2,
    publishing_pb2,
    queries_pb2,
    admin_pb2,
    audit_pb2,
    billing_status_pb2,
)
DESCRIBED = {
    f"/{service.full_name}/{method.name}": method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
METHODS = [
    (name, method.client_streaming, method.server_streaming) for name, method in DESCRIBED.items()
]
UNARY = [name for name, asks_many, answers_many in METHODS if not asks_many and not answers_many]
STREAMS = [name for name, asks_many, _ in METHODS if asks_many]
# A length cut off, a length beyond the end, a group that never ends, a number that never ends.
MALFORMED = (b"\x0a\xff", b"\x0a\x05ab", b"\x0b", b"\xff" * 11)


class TestMalformedProtobuf:
    @pytest.mark.parametrize("method", UNARY)
    def test_is_invalid_argument_for_every_call(self, calls: Calls, method: str) -> None:
        before = head(calls)
        for malformed in MALFORMED:
            with refused(INVALID, "malformed protobuf"):
                ask_raw(calls, method, malformed)
        assert before == head(calls)

    @pytest.mark.parametrize("method", STREAMS)
    def test_is_invalid_argument_in_a_stream(self, calls: Calls, method: str) -> None:
        with refused(INVALID, "malformed protobuf"):
            ask_raw(calls, method, MALFORMED[0], stream=True)

    def test_a_string_that_is_no_utf_8_is_malformed(self, calls: Calls) -> None:
        with refused(INVALID, "malformed protobuf", "usage.v1.GetBalanceRequest"):
            ask_raw(calls, "/usage.v1.UsageService/GetBalance", b"\x0a\x02\xff\xfe")

    def test_field_number_zero_is_malformed(self, calls: Calls) -> None:
        with refused(INVALID, "malformed protobuf"):
            ask_raw(calls, "/usage.v1.UsageService/GetBalance", b"\x00\x01")

    def test_a_known_field_of_another_wire_type_is_ignored_as_unknown(self, calls: Calls) -> None:
        with refused(INVALID, "attribution_id ''"):
            ask_raw(calls, "/usage.v1.UsageService/GetBalance", b"\x08\x01")

    def test_unknown_fields_are_ignored(self, calls: Calls) -> None:
        request = pb.GetBalanceRequest(attribution_id=PAYER).SerializeToString()
        answer = ask_raw(calls, "/usage.v1.UsageService/GetBalance", request + b"\xf8\x07\x01")
        assert b"" == answer


class TestTexts:
    @pytest.mark.parametrize("odd", ODD_TEXTS)
    def test_of_any_length_and_sign_get_an_answer(self, calls: Calls, odd: str) -> None:
        for method in UNARY:
            for field, request in requests_with(DESCRIBED[method], ODD_TEXTS[odd]):
                code = code_of(calls.channel, method, request)
                assert code in ANSWERS, (method, field, code)


BAD_TIMES = [
    pytest.param(Timestamp(seconds=-62_135_596_801), "years 1 to 9999", id="year-0"),
    pytest.param(Timestamp(seconds=253_402_300_800), "years 1 to 9999", id="year-10000"),
    pytest.param(Timestamp(seconds=-(2**63)), "years 1 to 9999", id="smallest"),
    pytest.param(Timestamp(seconds=2**63 - 1), "years 1 to 9999", id="largest"),
    pytest.param(Timestamp(seconds=7, nanos=10**9), "nanos 1000000000", id="nanos-too-many"),
    pytest.param(Timestamp(seconds=7, nanos=-1), "nanos -1", id="nanos-negative"),
    pytest.param(Timestamp(seconds=7, nanos=2**31 - 1), "nanos 2147483647", id="nanos-most"),
]


class TestTimesAsSent:
    @pytest.mark.parametrize("field", ["from", "to"])
    @pytest.mark.parametrize(("wrong", "words"), BAD_TIMES)
    def test_of_reconcile_usage_outside_years_or_nanos_are_invalid_argument(
        self, calls: Calls, field: str, wrong: Timestamp, words: str
    ) -> None:
        request = pb.ReconcileUsageRequest()
        getattr(request, field).CopyFrom(wrong)
        with refused(INVALID, f"{field}: ", words):
            calls.usage.ReconcileUsage(request)
        assert [] == log_of(calls, "usage-reconciled")

    @pytest.mark.parametrize("field", ["from", "to"])
    @pytest.mark.parametrize(("wrong", "words"), BAD_TIMES)
    def test_of_list_usage_outside_years_or_nanos_are_invalid_argument(
        self, calls: Calls, field: str, wrong: Timestamp, words: str
    ) -> None:
        request = pb.ListUsageRequest(attribution_id=PAYER)
        getattr(request, field).CopyFrom(wrong)
        with refused(INVALID, f"{field}: ", words):
            calls.usage.ListUsage(request)

    @pytest.mark.parametrize(("wrong", "words"), BAD_TIMES)
    def test_of_our_own_calls_outside_years_or_nanos_are_invalid_argument(
        self, calls: Calls, wrong: Timestamp, words: str
    ) -> None:
        request = admin_pb2.EndInstanceRequest(workspace_instance_id=USER, at=wrong, reason="x")
        with refused(INVALID, "at: ", words):
            calls.admin.EndInstance(request)

    def test_the_first_and_the_last_instant_are_allowed(self, calls: Calls) -> None:
        first, last = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"
        assert 0 == list_usage(calls, start=first, end="0001-10-28T00:00:00Z").pagination.total
        assert 0 == list_usage(calls, start="9999-12-31T00:00:00Z", end=last).pagination.total
        request = pb.ReconcileUsageRequest(to=stamp(last))
        getattr(request, "from").CopyFrom(stamp(first))
        calls.usage.ReconcileUsage(request)


class TestTimesAreCutToTheMillisecond:
    def test_event_times_when_recorded(self, calls: Calls) -> None:
        run(
            calls,
            "a",
            "2026-11-01T07:00:00.0009999Z",
            stopping="2026-11-01T07:10:00.000999999Z",
            stopped="2026-11-01T07:20:00.001999999Z",
        )
        (entry,) = list_usage(calls).usage_entries
        metadata = json.loads(entry.metadata)
        assert "2026-11-01T07:00:00.000Z" == metadata["startTime"]
        assert "2026-11-01T07:10:00.000Z" == metadata["endTime"]
        assert "2026-11-01T07:20:00.001Z" == metadata["stoppedTime"]
        assert "2026-11-01T07:10:00Z" == text(entry.effective_time)

    def test_reconcile_instants_when_recorded(self, calls: Calls, clock: ManualClock) -> None:
        run(calls, "a", "2026-11-01T07:00:00Z")
        clock.set_ns(clock.now_ns() + 1_999_999)
        calls.reconcile()
        (entry,) = list_usage(calls, end="2026-11-02T00:00:00Z").usage_entries
        assert "2026-11-01T08:00:00.001Z" == text(entry.effective_time)

    def test_a_credit_notes_time(self, calls: Calls, clock: ManualClock) -> None:
        clock.set_ns(clock.now_ns() + 1_999_999)
        add_note(calls, 1)
        assert "2026-11-01T08:00:00.001Z" == text(calls.entries(PAYER)[0].effective_time)

    def test_from_and_to_of_list_usage_after_they_were_checked(self, calls: Calls) -> None:
        run(calls, "a", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:10:00.005Z")

        def total(start: str, end: str) -> int:
            return list_usage(calls, start=start, end=end).pagination.total

        assert 1 == total("2026-11-01T07:10:00.005999999Z", "2026-11-01T07:10:00.006Z")
        assert 0 == total("2026-11-01T07:10:00.004Z", "2026-11-01T07:10:00.005999999Z")
        assert 0 == total("2026-11-01T07:10:00.0051Z", "2026-11-01T07:10:00.0052Z")

    def test_times_before_1970_are_cut_to_the_earlier_millisecond(self, calls: Calls) -> None:
        run(calls, "a", "1969-12-31T23:00:00Z", stopped="1969-12-31T23:30:00.0005Z")
        (entry,) = list_usage(
            calls, start="1969-12-31T23:30:00.0009Z", end="1970-01-01T00:00:00Z"
        ).usage_entries
        assert "1969-12-31T23:30:00Z" == text(entry.effective_time)

    def test_recorded_from_and_to_of_a_reconcile(self, calls: Calls) -> None:
        request = pb.ReconcileUsageRequest(to=stamp("2026-11-01T07:00:00.0079999Z"))
        getattr(request, "from").CopyFrom(stamp("2026-11-01T06:00:00.000000001Z"))
        calls.usage.ReconcileUsage(request)
        (event,) = log_of(calls, "usage-reconciled")
        recorded = json.loads(event.json)
        assert "2026-11-01T06:00:00.000Z" == recorded["from_time"]
        assert "2026-11-01T07:00:00.007Z" == recorded["to_time"]


class TestSpellings:
    def test_other_spellings_are_the_same_account_in_every_call(self, calls: Calls) -> None:
        bare = PAYER.removeprefix("team:")
        spellings = ["team:" + bare.upper(), "team:{" + bare + "}", "team:" + bare.replace("-", "")]
        for spelling in spellings:
            add_note(calls, 1, payer=spelling)
            run(
                calls,
                spelling,
                "2026-11-01T07:00:00Z",
                stopped="2026-11-01T07:06:00Z",
                payer=spelling,
            )
            get_cost_center(calls, spelling)
        assert [PAYER] == cost_centers(calls)
        for spelling in [PAYER, *spellings]:
            answer = list_usage(calls, spelling)
            assert 0 == calls.balance_cents(spelling)
            assert {PAYER} == {entry.attribution_id for entry in answer.usage_entries}
            assert (3, 3.0) == (answer.pagination.total, answer.credits_used)
            assert 6 == len(calls.entries(spelling))


class TestReads:
    def test_every_other_read_never_writes_and_opens_no_cost_center(self, calls: Calls) -> None:
        run(calls, "a", "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")
        before = status(calls)
        calls.usage.GetBalance(pb.GetBalanceRequest(attribution_id=PAYER))
        list_usage(calls)
        queries = calls.queries
        queries.GetBalances(queries_pb2.GetBalancesRequest(attribution_ids=[PAYER, RIVAL]))
        queries.ListCostCenters(queries_pb2.ListCostCentersRequest())
        assert "" == calls.draft(RIVAL).cost_center.attribution_id
        calls.entries(PAYER)
        queries.GetInstance(
            queries_pb2.GetInstanceRequest(workspace_instance_id=named_uuid("instance", "a"))
        )
        queries.ListSuspectInstances(queries_pb2.ListSuspectInstancesRequest())
        queries.ListDeadLetters(queries_pb2.ListDeadLettersRequest())
        with pytest.raises(grpc.RpcError):
            queries.GetDeadLetter(queries_pb2.GetDeadLetterRequest(id=1))
        assert [] == calls.breaches()
        log_of(calls)
        calls.billing.ReconcileInvoices(billing_pb2.ReconcileInvoicesRequest())
        assert before == status(calls)
        assert [] == cost_centers(calls)

    def test_an_expired_cycle_is_not_reset_by_other_reads(
        self, calls: Calls, clock: ManualClock
    ) -> None:
        get_cost_center(calls)
        before = head(calls)
        clock.set("2026-12-01T08:00:00Z")
        calls.balance_cents(PAYER)
        list_usage(calls)
        calls.draft(PAYER)
        assert [PAYER] == cost_centers(calls)
        assert before == head(calls)

    def test_what_a_writing_call_answers_every_later_read_answers_too(self, calls: Calls) -> None:
        for count in range(1, 30):
            run(calls, count, "2026-11-01T07:00:00Z", stopped="2026-11-01T07:06:00Z")
            assert count == list_usage(calls).pagination.total
            assert 100 == calls.balance_cents(PAYER)
            add_note(calls, 1)
            assert 0 == calls.balance_cents(PAYER)
            assert count == calls.draft(PAYER).credit_note_count
        assert names_of(list_usage(calls).usage_entries)


class TestMessages:
    def test_name_the_field_the_wrong_value_and_what_is_allowed(self, calls: Calls) -> None:
        with refused(INVALID, "pagination.per_page", "1001", "0 to 1000"):
            list_usage(calls, per_page=1001)
        with refused(INVALID, "pagination.page", "-2", "must not be negative"):
            list_usage(calls, page=-2)
        with refused(INVALID, "user_id", "'nobody'", "UUID"):
            list_usage(calls, user_id="nobody")
        with refused(INVALID, "from", "2026-11-01T08:00:00.000000002Z", "to", "00.000000001Z"):
            list_usage(
                calls,
                start="2026-11-01T08:00:00.000000002Z",
                end="2026-11-01T08:00:00.000000001Z",
            )
        with refused(INVALID, "from 2025-01-01T00:00:00Z", "to 2026-01-01T00:00:00Z", "300 days"):
            list_usage(calls, start="2025-01-01T00:00:00Z", end="2026-01-01T00:00:00Z")

    def test_of_a_long_value_are_cut(self, calls: Calls) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            calls.balance_cents("team:" + "x" * 100_000)
        assert len(caught.value.details() or "") < 300
