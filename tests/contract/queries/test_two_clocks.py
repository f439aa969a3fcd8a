"""Answers at a moment, call by call; `tests/clocks` compares them with a plain fold.

| case | test |
| --- | --- |
| a late stop, a correction, a void: what was known before | `TestKnownAt` |
| what ran, ended later, or was dated later | `TestAsOf` |
| a cycle that has ended since, a cost center that was opened since | `TestCycles` |
| pages, one user, default ranges | `TestListing` |
| what lies between, with its cause | `TestComparing` |
| bad times and positions, unknown payers | `TestRefused` |
"""

from __future__ import annotations

import pytest

from tests.contract.calls.asking import INVALID, log_of, refused
from tests.contract.data.scene import (
    OTHER_PAYER,
    PAYER,
    Scene,
    at,
    instance,
    note,
    ran,
    started,
    stopped,
)
from tests.oracle.events import named_uuid, payer_of
from usage_ledger.v1 import audit_clocks_pb2 as pb
from usage_ledger.v1 import publishing_pb2, queries_pb2

pytestmark = pytest.mark.sharded

Cause = pb.EntryDifference.Cause


def moment(as_of: str = "", known_at: str | publishing_pb2.Position = "") -> pb.Moment:
    message = pb.Moment()
    if as_of:
        message.as_of.FromJsonString(at(as_of))
    if isinstance(known_at, publishing_pb2.Position):
        message.known_at_position.CopyFrom(known_at)
    elif known_at:
        message.known_at_time.FromJsonString(at(known_at))
    return message


def balance(scene: Scene, asked: pb.Moment, payer: str = PAYER) -> int:
    request = pb.GetBalanceAtRequest(attribution_id=payer, moment=asked)
    return scene.calls.audit.GetBalanceAt(request).credit_cents


def usage(scene: Scene, asked: pb.Moment, **more: object) -> pb.ListUsageAtResponse:
    request = pb.ListUsageAtRequest(attribution_id=PAYER, moment=asked, **more)  # type: ignore[arg-type]
    return scene.calls.audit.ListUsageAt(request)


def dated(answer: pb.ListUsageAtResponse) -> list[tuple[str, int, bool]]:
    return [
        (entry.effective_time.ToJsonString(), entry.credit_cents, entry.draft)
        for entry in answer.entries
    ]


def draft(scene: Scene, asked: pb.Moment) -> queries_pb2.InvoiceDraft:
    request = pb.GetInvoiceDraftAtRequest(attribution_id=PAYER, moment=asked)
    found = scene.calls.audit.GetInvoiceDraftAt(request).invoice_draft
    parts = found.carried_balance_cents + found.credit_note_cents + found.invoice_cents
    assert found.total_cents == parts + sum(line.credit_cents for line in found.lines)
    assert found.total_cents == balance(scene, asked)
    return found


def compare(scene: Scene, first: pb.Moment, second: pb.Moment, **more: object) -> (
    pb.CompareMomentsResponse
):  # fmt: skip
    request = pb.CompareMomentsRequest(
        attribution_id=PAYER,
        first=first,
        second=second,
        **more,  # type: ignore[arg-type]
    )
    return scene.calls.audit.CompareMoments(request)


class TestKnownAt:
    def test_a_late_stop_was_not_known(self, cent_scene: Scene) -> None:
        cent_scene.record(started("a", "06:00", workspaceClass="cent"))
        cent_scene.reconcile("08:30")
        cent_scene.clock.set(at("10:00"))
        cent_scene.record(stopped("a", "07:00"))

        assert (150, 60) == (balance(cent_scene, moment(known_at="09:59")), cent_scene.cents())
        assert [(at("08:30"), 150, True)] == dated(usage(cent_scene, moment(known_at="09:00")))
        assert [(at("07:00"), 60, False)] == dated(usage(cent_scene, moment(known_at="10:00")))

    def test_a_corrected_end_stands_as_it_stood(self, cent_scene: Scene) -> None:
        cent_scene.record(*ran("a", "06:00", "07:00", workspaceClass="cent"))
        cent_scene.clock.set(at("09:00"))
        cent_scene.end("a", "06:30")

        assert (60, 30) == tuple(
            balance(cent_scene, moment(known_at=t)) for t in ("08:59", "09:00")
        )

    def test_what_was_voided_counts_in_cuts_before_its_void(self, cent_scene: Scene) -> None:
        cent_scene.record(*ran("a", "06:00", "07:00", workspaceClass="cent"), note(1))
        cent_scene.clock.set(at("09:00"))
        void = cent_scene.void("a")
        before = publishing_pb2.Position(shard=void.position.shard, number=void.position.number - 1)

        assert (-40, -100) == (balance(cent_scene, moment(known_at=before)), cent_scene.cents())
        assert -100 == balance(cent_scene, moment(known_at=void.position))
        assert 60 - 100 == draft(cent_scene, moment(known_at=before)).total_cents

    def test_at_the_empty_log_nothing_is_known(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        empty = publishing_pb2.Position(shard=_shard(scene), number=0)

        assert 0 == balance(scene, moment(known_at=empty))
        assert [] == dated(usage(scene, moment(known_at=empty)))
        assert 0 == balance(scene, moment(known_at="1969-01-01T00:00:00Z"))
        request = pb.GetBalanceAtRequest(attribution_id=PAYER, moment=moment(known_at=empty))
        answer = scene.calls.audit.GetBalanceAt(request)
        assert not answer.moment.HasField("recorded")

    def test_says_what_it_knew(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        scene.reconcile("09:00")
        request = pb.GetBalanceAtRequest(
            attribution_id=PAYER, moment=moment("07:30", known_at="08:30")
        )

        answer = scene.calls.audit.GetBalanceAt(request).moment

        assert (at("08:00"), at("07:30")) == (
            answer.recorded.ToJsonString(),
            answer.as_of.ToJsonString(),
        )
        assert answer.personal_data_as_of_now
        assert _shard(scene) == answer.position.shard

    def test_without_either_clock_it_is_the_live_answer(self, cent_scene: Scene) -> None:
        cent_scene.record(*ran("a", "06:00", "07:00", workspaceClass="cent"), note(1))
        cent_scene.record(started("b", "06:00", workspaceClass="cent"))
        cent_scene.reconcile("09:00")

        assert cent_scene.cents() == balance(cent_scene, pb.Moment())
        live = cent_scene.calls.draft(PAYER)
        found = draft(cent_scene, pb.Moment())
        assert list(live.lines) == list(found.lines)
        assert live.accrued_to == found.accrued_to


class TestAsOf:
    def test_what_ran_counts_to_then_whatever_reconciles_there_were(
        self, cent_scene: Scene
    ) -> None:
        cent_scene.record(started("a", "06:00", workspaceClass="cent"))
        assert 0 == cent_scene.cents()

        assert [0, 1, 90, 120] == [
            balance(cent_scene, moment(t)) for t in ("05:59", "06:01", "07:30", "08:00")
        ]
        assert [(at("07:30"), 90, True)] == dated(usage(cent_scene, moment("07:30")))

    def test_what_ended_later_had_not_ended(self, cent_scene: Scene) -> None:
        cent_scene.record(*ran("a", "06:00", "07:00", workspaceClass="cent"))

        assert [30, 60, 60] == [
            balance(cent_scene, moment(t)) for t in ("06:30", "07:00", "2027-01-01T00:00:00Z")
        ]
        assert [(at("06:30"), 30, True)] == dated(usage(cent_scene, moment("06:30")))

    def test_notes_dated_later_are_not_yet(self, scene: Scene) -> None:
        scene.record(note(1, time="07:00"))

        assert [0, -100] == [balance(scene, moment(t)) for t in ("06:59:59.999", "07:00")]

    def test_both_clocks_together(self, cent_scene: Scene) -> None:
        """As of seven it had run an hour, and ends at half past six once that is known."""
        cent_scene.record(started("a", "06:00", workspaceClass="cent"))
        cent_scene.clock.set(at("10:00"))
        cent_scene.record(stopped("a", "06:30"))

        assert (60, 30) == tuple(
            balance(cent_scene, moment("07:00", known_at=t)) for t in ("09:00", "10:00")
        )

    def test_spans_many_midnights(self, cent_scene: Scene) -> None:
        cent_scene.record(*ran("a", "10-20 12:00", "10-29 12:00", workspaceClass="cent"))

        assert 4 * 1440 + 60 == balance(cent_scene, moment("10-24 13:00"))
        assert 9 * 1440 == balance(cent_scene, moment("10-29 12:00"))


class TestCycles:
    def test_a_draft_of_the_cycle_that_was_open(self, cent_scene: Scene) -> None:
        cent_scene.open_cost_center()
        cent_scene.record(*ran("a", "06:00", "07:00", workspaceClass="cent"))
        cent_scene.reset("12-01 08:00")
        cent_scene.record(*ran("b", "12-01 07:00", "12-01 07:30", workspaceClass="cent"))

        then = draft(cent_scene, moment(known_at="11-30 00:00"))
        now = draft(cent_scene, pb.Moment())
        of_then = draft(cent_scene, moment("11-30 00:00"))

        assert (1, 60, 0) == (then.cycle_number, then.total_cents, then.carried_balance_cents)
        assert (2, 30) == (now.cycle_number, now.total_cents)
        assert (1, 60) == (of_then.cycle_number, of_then.total_cents)
        assert 0 == of_then.invoice_cents

    def test_a_late_instance_is_in_the_cycle_that_was_open_as_of_then(
        self, cent_scene: Scene
    ) -> None:
        cent_scene.open_cost_center()
        cent_scene.reset("12-01 08:00")
        cent_scene.record(*ran("a", "11-02 06:00", "11-02 07:00", workspaceClass="cent"))

        (late,) = draft(cent_scene, pb.Moment()).lines
        (own,) = draft(cent_scene, moment("11-03 00:00")).lines

        assert (60, 1) == (late.credit_cents, late.late_for.cycle_number)
        assert (60, False) == (own.credit_cents, own.HasField("late_for"))

    def test_a_cost_center_as_its_terms_were(self, scene: Scene) -> None:
        scene.open_cost_center()
        scene.clock.set(at("09:00"))
        scene.set_cost_center(70)

        def limit(asked: pb.Moment) -> int | None:
            request = pb.GetCostCenterAtRequest(attribution_id=PAYER, moment=asked)
            answer = scene.calls.audit.GetCostCenterAt(request)
            if not answer.HasField("cost_center"):
                return None
            assert 1 == answer.cycle_number
            return answer.cost_center.spending_limit

        assert [None, 0, 70] == [limit(moment(t)) for t in ("07:59", "08:59", "09:00")]
        assert [None, 0, 70] == [limit(moment(known_at=t)) for t in ("07:59", "08:59", "09:00")]

    def test_looking_back_opens_and_resets_nothing(self, scene: Scene) -> None:
        request = pb.GetCostCenterAtRequest(attribution_id=PAYER)
        assert not scene.calls.audit.GetCostCenterAt(request).HasField("cost_center")
        scene.open_cost_center()
        before = len(log_of(scene.calls))
        scene.clock.set(at("12-05 00:00"))

        assert 1 == scene.calls.audit.GetCostCenterAt(request).cycle_number
        assert 1 == draft(scene, moment("12-04 00:00")).cycle_number
        assert before == len(log_of(scene.calls))


def _shard(scene: Scene, payer: str = PAYER) -> int:
    request = pb.GetBalanceAtRequest(attribution_id=payer)
    return scene.calls.audit.GetBalanceAt(request).moment.position.shard


class TestListing:
    def test_pages_follow_and_stay_in_their_cut(self, cent_scene: Scene) -> None:
        for hour in range(1, 6):
            cent_scene.record(*ran(f"i{hour}", f"0{hour}:00", f"0{hour}:30", workspaceClass="cent"))
        cent_scene.record(started("open", "05:00", workspaceClass="cent"))
        first = usage(cent_scene, moment("05:15"), page_size=2, ascending=True)
        cent_scene.record(*ran("late", "02:00", "02:45", workspaceClass="cent"))

        found, cursor = dated(first), first.next_cursor
        while cursor:
            page = usage(cent_scene, moment("05:15"), page_size=2, ascending=True, cursor=cursor)
            found, cursor = found + dated(page), page.next_cursor
            assert (first.total, first.credit_cents) == (page.total, page.credit_cents)

        times = ("01:30", "02:30", "03:30", "04:30", "05:15", "05:15")
        assert [at(time) for time in times] == [time for time, _, _ in found]
        assert (6, sum(cents for _, cents, _ in found)) == (first.total, first.credit_cents)
        assert balance(cent_scene, moment("05:15")) == first.credit_cents + 45

    def test_one_user_and_a_range(self, cent_scene: Scene) -> None:
        other = named_uuid("another user")
        cent_scene.record(*ran("a", "01:00", "02:00", workspaceClass="cent"))
        cent_scene.record(*ran("b", "01:00", "03:00", workspaceClass="cent", userId=other))
        cent_scene.record(started("c", "01:00", workspaceClass="cent", userId=other))

        mine = usage(cent_scene, moment("04:00"), user_id=other)
        assert (2, 120 + 180) == (mine.total, mine.credit_cents)
        assert [at("04:00"), at("03:00")] == [time for time, _, _ in dated(mine)]
        request = pb.ListUsageAtRequest(attribution_id=PAYER, moment=moment("04:00"))
        getattr(request, "from").FromJsonString(at("02:30"))
        request.to.FromJsonString(at("03:30"))
        some = cent_scene.calls.audit.ListUsageAt(request)
        assert (1, [(at("03:00"), 120, False)]) == (some.total, dated(some))


class TestComparing:
    def causes(self, answer: pb.CompareMomentsResponse) -> dict[str, tuple[int, int]]:
        return {
            each.workspace_instance_id or "other": (each.cause, each.difference_cents)
            for each in answer.differences
        }

    def test_each_entry_with_its_cause_and_event(self, cent_scene: Scene) -> None:
        for name in "bcd":
            cent_scene.record(*ran(name, "06:00", "07:00", workspaceClass="cent"))
        cent_scene.record(started("a", "06:00", workspaceClass="cent"))
        cent_scene.reconcile("08:00")
        cent_scene.clock.set(at("09:00"))
        cent_scene.record(stopped("a", "07:00"), *ran("e", "05:00", "05:10", workspaceClass="cent"))
        cent_scene.end("b", "06:30")
        void = cent_scene.void("c")
        cent_scene.record(note(1))

        answer = compare(cent_scene, moment(known_at="08:30"), pb.Moment())

        assert {
            instance("a"): (Cause.CAUSE_ENDED, -60),
            instance("b"): (Cause.CAUSE_CORRECTED, -30),
            instance("c"): (Cause.CAUSE_VOIDED, -60),
            instance("e"): (Cause.CAUSE_RECORDED, 10),
            "other": (Cause.CAUSE_RECORDED, -100),
        } == self.causes(answer)
        assert -240 == answer.second_balance_cents - answer.first_balance_cents
        assert cent_scene.cents() == answer.second_balance_cents
        (voided,) = [e for e in answer.differences if e.cause == Cause.CAUSE_VOIDED]
        assert void.position == voided.position
        assert not voided.HasField("second")

    def test_between_two_times_nothing_is_learned(self, cent_scene: Scene) -> None:
        cent_scene.record(started("a", "06:00", workspaceClass="cent"))
        cent_scene.record(*ran("b", "06:00", "07:00", workspaceClass="cent"))

        answer = compare(cent_scene, moment("06:30"), moment("07:30"))

        assert {
            instance("a"): (Cause.CAUSE_TIME, 60),
            instance("b"): (Cause.CAUSE_TIME, 30),
        } == self.causes(answer)
        assert all(not each.HasField("position") for each in answer.differences)

    def test_pages_follow_and_add_up(self, cent_scene: Scene) -> None:
        first = moment(known_at="08:00")
        cent_scene.clock.set(at("09:00"))
        for number in range(7):
            cent_scene.record(*ran(f"i{number}", "06:00", "06:10", workspaceClass="cent"))
        pages = [compare(cent_scene, first, pb.Moment(), page_size=3)]
        cent_scene.record(*ran("later", "06:00", "06:10", workspaceClass="cent"))
        while pages[-1].next_cursor:
            cursor = pages[-1].next_cursor
            pages.append(compare(cent_scene, first, pb.Moment(), page_size=3, cursor=cursor))

        assert [3, 3, 1] == [len(page.differences) for page in pages]
        assert 70 == sum(each.difference_cents for page in pages for each in page.differences)
        assert {70} == {page.second_balance_cents for page in pages}

    def test_a_moment_and_itself(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        assert not compare(scene, moment("06:30"), moment("06:30")).differences


class TestRefused:
    def test_what_will_be_known_is_not_known_yet(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        asked = pb.GetBalanceAtRequest(attribution_id=PAYER, moment=moment(known_at="08:00:00.001"))
        with refused(INVALID, "future"):
            scene.calls.audit.GetBalanceAt(asked)

    def test_between_the_newest_event_and_now_all_is_known(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        scene.clock.set(at("09:00"))
        assert scene.cents() == balance(scene, moment(known_at="08:30"))

    def test_a_position_beyond_the_head_or_below_the_log(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"))
        for number in (10**9, -1):
            position = publishing_pb2.Position(shard=_shard(scene), number=number)
            asked = pb.GetBalanceAtRequest(attribution_id=PAYER, moment=moment(known_at=position))
            with refused(INVALID, str(number)):
                scene.calls.audit.GetBalanceAt(asked)

    def test_a_position_of_another_shard(self, scene: Scene) -> None:
        position = publishing_pb2.Position(shard=77, number=1)
        asked = pb.GetBalanceAtRequest(attribution_id=PAYER, moment=moment(known_at=position))
        with refused(INVALID, "shard 77"):
            scene.calls.audit.GetBalanceAt(asked)

    def test_times_out_of_range(self, scene: Scene) -> None:
        asked = pb.GetBalanceAtRequest(attribution_id=PAYER)
        asked.moment.as_of.seconds = 10**12
        with refused(INVALID, "years 1 to 9999"):
            scene.calls.audit.GetBalanceAt(asked)

    def test_malformed_payers_and_cursors(self, scene: Scene) -> None:
        asked = pb.GetBalanceAtRequest(attribution_id="somebody")
        with refused(INVALID, "somebody"):
            scene.calls.audit.GetBalanceAt(asked)
        wrong = pb.CompareMomentsRequest(attribution_id=PAYER, cursor="AAAA")
        with refused(INVALID, "cursor"):
            scene.calls.audit.CompareMoments(wrong)
        page = pb.ListUsageAtRequest(attribution_id=PAYER, cursor="AAAA")
        with refused(INVALID, "cursor"):
            scene.calls.audit.ListUsageAt(page)

    def test_ranges_as_in_list_usage(self, scene: Scene) -> None:
        request = pb.ListUsageAtRequest(attribution_id=PAYER)
        getattr(request, "from").FromJsonString(at("07:00"))
        request.to.FromJsonString(at("06:00"))
        with refused(INVALID, "must not be after"):
            scene.calls.audit.ListUsageAt(request)
        getattr(request, "from").FromJsonString("2020-01-01T00:00:00Z")
        with refused(INVALID, "300 days"):
            scene.calls.audit.ListUsageAt(request)

    def test_a_payer_that_nobody_knows_owes_nothing(self, scene: Scene) -> None:
        stranger = payer_of("stranger")
        assert 0 == balance(scene, moment("07:00"), payer=stranger)
        assert 0 == balance(scene, moment("07:00"), payer=OTHER_PAYER)
        request = pb.GetInvoiceDraftAtRequest(attribution_id=stranger)
        assert 0 == scene.calls.audit.GetInvoiceDraftAt(request).invoice_draft.total_cents
