"""Why a number is what it is, asked of a service.

| case | test |
| --- | --- |
| a balance of usage, what runs, notes, write-offs, voids; imported entries | `TestABalance` |
| who or what caused an event, under which source and ID, and why | `TestCauses` |
| corrected, voided, begun anew, waiting for its start or for a reconcile | `TestAnEntry` |
| a line of the open cycle, of a closed one, late, voided | `TestALine` |
| many entries: summaries, pages, numbers that moved meanwhile | `TestPages` |
| what is not there, what is no ID, a cursor of somebody else's | `TestRefused` |
| random histories | `laws/test_why.py` |
| settled invoices | `billing/test_why_invoices.py`, `billing/simulation` |
"""

from __future__ import annotations

import base64

import grpc
import msgspec
import pytest

from tests.contract.audit.erasing import erase
from tests.contract.calls.asking import INVALID, add_note, log_of, refused
from tests.contract.data.scene import (
    CENT_PRICES,
    OTHER_PAYER,
    PAYER,
    SOURCE,
    Scene,
    instance,
    note,
    ran,
    started,
    stopped,
    stopping,
)
from tests.importing.lines import entry, taken, times
from tests.laws.explained import Number, events_in, numbers_in, opened, wrong
from tests.oracle.events import named_uuid
from usage_ledger.v1 import audit_why_pb2 as pb
from usage_ledger.v1 import queries_pb2

pytestmark = pytest.mark.sharded

PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = grpc.StatusCode.NOT_FOUND
DECEMBER = "12-01 08:00"


def whole(scene: Scene, explanation: pb.Explanation, *, size: int = 2) -> Number:
    """Opened to the last part; it adds up, and its events are those of the log."""

    def more(cursor: str) -> pb.Explanation:
        request = pb.ExplainPartsRequest(cursor=cursor, page_size=size)
        return scene.calls.audit.ExplainParts(request).explanation

    number = opened(explanation, more)
    assert [] == wrong(number)
    log: dict[int, queries_pb2.LogEvent] = {}
    request = queries_pb2.TailLogRequest(shard=explanation.position.shard, from_position=1)
    for answer in scene.calls.queries.TailLog(request):
        log |= {event.position.number: event for event in answer.events}
    for at, event in events_in(number).items():
        assert at <= explanation.position.number
        assert log[at] == event.event
    return number


def balance(scene: Scene, payer: str = PAYER, *, size: int = 2) -> Number:
    request = pb.ExplainBalanceRequest(attribution_id=payer, page_size=size)
    number = whole(scene, scene.calls.audit.ExplainBalance(request).explanation, size=size)
    assert scene.cents(payer) == number.credit_cents
    return number


def of_instance(scene: Scene, name: str) -> Number:
    request = pb.ExplainEntryRequest(workspace_instance_id=instance(name))
    return whole(scene, scene.calls.audit.ExplainEntry(request).explanation)


def of_entry(scene: Scene, entry_id: str, payer: str = PAYER) -> Number:
    request = pb.ExplainEntryRequest(attribution_id=payer, entry_id=entry_id)
    return whole(scene, scene.calls.audit.ExplainEntry(request).explanation)


def line(
    scene: Scene, workspace_class: str, late_for: int | None = None, cycle: int | None = None
) -> Number:
    request = pb.ExplainDraftLineRequest(
        attribution_id=PAYER,
        workspace_class=workspace_class,
        late_for=late_for,
        cycle_number=cycle,
    )
    return whole(scene, scene.calls.audit.ExplainDraftLine(request).explanation)


def kinds(number: Number) -> list[tuple[int, int]]:
    return [(part.kind, part.credit_cents) for part in number.parts]


def only(number: Number, kind: int) -> Number:
    (found,) = [one for one in numbers_in(number) if one.kind == kind]
    return found


class TestABalance:
    def test_opens_into_all_that_it_is_made_of(self) -> None:
        with Scene(prices=CENT_PRICES) as scene:
            scene.record(*ran("ended", "06:00", "06:30", workspaceClass="cent"))
            scene.record(started("runs", "07:00", workspaceClass="cent"))
            scene.record(*ran("gone", "05:00", "06:00", workspaceClass="cent"))
            scene.reconcile()
            scene.record(note(1))
            scene.void("gone")
            number = balance(scene)
            assert [
                (pb.NUMBER_KIND_USAGE, 30),
                (pb.NUMBER_KIND_RUNNING, 60),
                (pb.NUMBER_KIND_CREDIT_NOTES, -100),
                (pb.NUMBER_KIND_VOIDED, 0),
            ] == kinds(number)

    def test_of_nobody_is_nothing(self, scene: Scene) -> None:
        number = balance(scene, OTHER_PAYER)
        assert (0, 0) == (number.credit_cents, number.part_count)
        assert ["Nothing of this payer is an entry."] == list(number.remarks)

    def test_holds_where_it_says(self, scene: Scene) -> None:
        scene.record(*ran("ended", "06:00", "06:30"))
        scene.reconcile("08:30")
        request = pb.ExplainBalanceRequest(attribution_id=PAYER)
        told = scene.calls.audit.ExplainBalance(request).explanation
        newest = max(event.position.number for event in log_of(scene.calls))
        assert newest >= told.position.number
        assert "2026-11-01T08:30:00Z" == told.accrued_to.ToJsonString()

    def test_shows_what_was_written_off_and_from_what(self, cent_scene: Scene) -> None:
        cent_scene.set_cost_center(1)
        cent_scene.record(*ran("ended", "05:00", "07:30", workspaceClass="cent"))
        cent_scene.reset(DECEMBER)
        number = balance(cent_scene)
        forgiven = only(number, pb.NUMBER_KIND_WRITE_OFF)
        said = forgiven.write_off
        assert -100 == forgiven.credit_cents
        assert ("reset", 150, 100) == (
            said.reason,
            said.balance_cents,
            said.spending_limit_cents,
        )
        assert [pb.EVENT_ROLE_BEARS_ON, pb.EVENT_ROLE_STATES] == [
            event.role for event in forgiven.events
        ]
        beside = of_entry(cent_scene, forgiven.entry_id).beside
        assert [(pb.NUMBER_KIND_CYCLE, 1, 50)] == [
            (one.kind, one.cycle_number, one.credit_cents) for one in beside
        ]

    def test_shows_what_was_imported_as_it_was_charged(self, scene: Scene) -> None:
        metadata = times("10-20 11:00", "10-20 12:00", "10-20 12:00")
        taken(
            scene,
            entry(12_345, metadata=metadata),
            entry(-700, kind="credit_note"),
        )
        number = balance(scene)
        usage = only(number, pb.NUMBER_KIND_USAGE_ENTRY)
        assert (12_345, "stated") == (usage.credit_cents, usage.WhichOneof("arithmetic"))
        given = only(number, pb.NUMBER_KIND_IMPORTED_ENTRY)
        assert -700 == given.credit_cents
        for event in events_in(number).values():
            assert pb.EVENT_CAUSE_IMPORTED == event.cause
            assert event.source == "import:old"
            assert event.event_id


class TestCauses:
    def test_what_was_published_has_its_source_and_id(self, scene: Scene) -> None:
        ids = ["an id of theirs", named_uuid("an id that is a UUID"), "\u00e9\u2713 of letters"]
        scene.record(
            started("one", "06:00", event_id=ids[0], userName="Ann Owner"),
            stopping("one", "06:30", event_id=ids[1]),
            stopped("one", "06:31", event_id=ids[2]),
        )
        events = of_instance(scene, "one").events
        assert [(pb.EVENT_CAUSE_PUBLISHED, SOURCE, each) for each in ids] == [
            (event.cause, event.source, event.event_id) for event in events
        ]
        assert [pb.EVENT_ROLE_BEGINS, pb.EVENT_ROLE_ENDS, pb.EVENT_ROLE_CONFIRMS] == [
            event.role for event in events
        ]

    def test_names_of_people_are_no_part_of_it(self, scene: Scene) -> None:
        scene.record(*ran("one", "06:00", "06:30", userName="Ann Owner", contextUrl="https://e.x/"))
        assert "Ann" not in str(balance(scene))
        assert "https://e.x/" not in str(of_instance(scene, "one"))

    def test_a_call_an_operator_and_a_published_note(self, scene: Scene) -> None:
        add_note(scene.calls, 1, payer=PAYER, description="for the trouble")
        scene.record(note(2, description="published"), started("one", "06:00"))
        scene.end("one", "07:00")
        events = {event.event.topic: event for event in events_in(balance(scene)).values()}
        ended = events["instance-ended"]
        assert (pb.EVENT_CAUSE_OPERATOR, "it hung") == (ended.cause, ended.reason)
        assert {
            (pb.EVENT_CAUSE_CALL_OR_JOB, "", "for the trouble"),
            (pb.EVENT_CAUSE_PUBLISHED, SOURCE, "published"),
        } == {
            (event.cause, event.source, event.reason)
            for event in events_in(balance(scene)).values()
            if event.event.topic == "credit-note-issued"
        }

    @pytest.mark.embedded
    def test_a_text_that_is_erased_is_said_to_be(self, scene: Scene) -> None:
        scene.record(*ran("one", "06:00", "06:30"), note(1), note(1, event_id="n", description=""))
        scene.void("one", reason="personal")
        scene.service.sqlite.connection.execute("DELETE FROM personal")
        told = [
            (event.event.topic, event.reason, event.reason_is_erased)
            for event in events_in(balance(scene)).values()
            if event.event.topic in {"instance-voided", "credit-note-issued", "instance-started"}
        ]
        assert sorted(told) == [
            ("credit-note-issued", "", False),  # it never had one
            ("credit-note-issued", "", True),
            ("instance-started", "", False),  # whose names are no part of this
            ("instance-voided", "", True),
        ]

    def test_a_text_of_an_erased_user_is_said_to_be_erased(self, scene: Scene) -> None:
        scene.record(*ran("one", "06:00", "06:30"))
        scene.void("one", reason="personal")
        erase(scene)
        (told,) = [
            (event.reason, event.reason_is_erased)
            for event in events_in(balance(scene)).values()
            if event.event.topic == "instance-voided"
        ]
        assert ("", True) == told


class TestAnEntry:
    def test_shows_price_list_rate_and_rounding(self, scene: Scene) -> None:
        scene.record(*ran("tie", "06:00", "06:01:39", workspaceClass="unknown"))
        said = of_instance(scene, "tie").runtime
        assert (99_000, 99, "1/6", "5/18", "55/2", 28) == (
            said.milliseconds,
            said.seconds,
            said.credits_per_minute,
            said.cents_per_second,
            said.exact_fraction,
            said.credit_cents,
        )
        assert (1, True, "unknown") == (
            said.price.revision,
            said.price.is_fallback,
            said.price.workspace_class,
        )
        (listed,) = log_of(scene.calls, "price-list-published")[:1]
        assert listed.position.number == said.price.position.number

    def test_that_was_corrected_shows_before_and_after(self, cent_scene: Scene) -> None:
        cent_scene.record(started("one", "06:00", workspaceClass="cent"), stopped("one", "07:00"))
        cent_scene.record(stopping("one", "06:30"))
        cent_scene.end("one", "06:20")
        number = of_instance(cent_scene, "one")
        assert [(0, 0), (0, 60), (60, 30), (30, 20)] == [
            (event.before_cents, event.after_cents) for event in number.events
        ]
        assert pb.RUNTIME_END_OPERATOR == number.runtime.ended_by
        assert number == of_entry(cent_scene, number.entry_id)

    def test_that_was_voided_and_begun_anew_by_another_payer(self, cent_scene: Scene) -> None:
        scene = cent_scene
        scene.record(*ran("one", "06:00", "07:00", workspaceClass="cent"))
        scene.void("one")
        later = ran("one", "06:00", "06:30", payer=OTHER_PAYER, workspaceClass="cent")
        for event in later:
            event["id"] = f"again {event['id']}"
        if scene.service.ledger.shards[1:]:
            return  # payers of other shards have logs of their own
        scene.record(*later)
        number = of_instance(scene, "one")
        assert [
            (pb.NUMBER_KIND_VOIDED_ENTRY, 0, PAYER),
            (pb.NUMBER_KIND_USAGE_ENTRY, 30, OTHER_PAYER),
        ] == [(part.kind, part.credit_cents, part.attribution_id) for part in number.parts]
        assert 30 == number.credit_cents
        assert "the wrong team" == number.parts[0].events[-1].reason
        voided = of_entry(scene, number.entry_id)
        assert voided == number

    def test_that_waits_says_for_what(self, scene: Scene) -> None:
        scene.record(started("begun", "07:00"), stopped("stopped", "07:00"))
        waits, no_start = of_instance(scene, "begun"), of_instance(scene, "stopped")
        assert "until the next one" in waits.remarks[0]
        assert "start is not recorded" in no_start.remarks[0]
        assert (0, 0) == (waits.credit_cents, no_start.credit_cents)
        scene.reconcile()
        assert 1000 == of_instance(scene, "begun").credit_cents

    def test_of_a_credit_note_that_was_voided(self, scene: Scene) -> None:
        scene.record(note(3))
        (given,) = scene.calls.entries(PAYER)
        assert -300 == of_entry(scene, given.id).credit_cents
        scene.void_note(given.id)
        number = of_entry(scene, given.id)
        assert (0, pb.NUMBER_KIND_VOIDED_ENTRY) == (number.credit_cents, number.kind)
        assert [(0, -300), (-300, 0)] == [
            (event.before_cents, event.after_cents) for event in number.events
        ]
        assert "given twice" == number.events[-1].reason


class TestALine:
    def test_shows_what_ran_over_a_boundary_in_both_cycles(self, cent_scene: Scene) -> None:
        scene = cent_scene
        scene.open_cost_center()
        scene.record(started("one", "07:00", workspaceClass="cent"))
        scene.reconcile("11-30 08:00")
        scene.reset(DECEMBER)
        scene.record(stopped("one", "12-01 09:00"))
        first, second = line(scene, "cent", cycle=1), line(scene, "cent")
        assert scene.cycle_lines("one") == {1: first.credit_cents, 2: second.credit_cents}
        (change,) = second.parts
        assert [pb.NUMBER_KIND_AS_IT_STANDS, pb.NUMBER_KIND_AS_IT_STOOD] == [
            part.kind for part in change.parts
        ]
        stood = change.parts[1]
        assert stood.is_taken_away
        assert pb.RUNTIME_END_ACCRUAL == stood.runtime.ended_by
        assert first.credit_cents == -stood.credit_cents

    def test_names_the_closed_period_of_what_was_late_or_voided(self, cent_scene: Scene) -> None:
        scene = cent_scene
        scene.open_cost_center()
        scene.record(*ran("voided", "08:00", "08:30", workspaceClass="cent"))
        scene.clock.set("2026-11-01T09:00:00Z")
        scene.reset(DECEMBER)
        scene.record(*ran("late", "08:00", "08:10", workspaceClass="cent"))
        scene.void("voided")
        number = line(scene, "cent", late_for=1)
        assert (-20, 2, 1) == (
            number.credit_cents,
            number.part_count,
            number.late_for.cycle_number,
        )
        assert "2026-11-01T08:00:00Z" == number.late_for.start.ToJsonString()
        assert {10, -30} == {part.credit_cents for part in number.parts}
        topics = {event.event.topic for event in events_in(number).values()}
        assert "instance-voided" in topics


class TestPages:
    SIZE = 3

    def test_of_a_payer_with_many_entries_add_up(self, cent_scene: Scene) -> None:
        scene = cent_scene
        for hour in range(4, 8):
            for each in range(3):
                scene.record(
                    *ran(
                        f"{hour}.{each}", f"{hour:02d}:00", f"{hour:02d}:07", workspaceClass="cent"
                    )
                )
        request = pb.ExplainBalanceRequest(attribution_id=PAYER, page_size=self.SIZE)
        shown = scene.calls.audit.ExplainBalance(request).explanation
        entries = [one for one in numbers_in(shown.number) if one.runtime.seconds]
        assert self.SIZE == len(entries)
        number = balance(scene, size=self.SIZE)
        assert 12 == len([one for one in numbers_in(number) if one.runtime.seconds])
        assert 84 == number.credit_cents

    def test_are_refused_once_the_number_has_moved(self, cent_scene: Scene) -> None:
        scene = cent_scene
        for name in ("one", "two", "three"):
            scene.record(*ran(name, "06:00", "06:07", workspaceClass="cent"))
        request = pb.ExplainBalanceRequest(attribution_id=PAYER, page_size=1)
        shown = scene.calls.audit.ExplainBalance(request).explanation
        cursor = only(shown.number, pb.NUMBER_KIND_DAY).cursor
        more = pb.ExplainPartsRequest(cursor=cursor, page_size=1)
        scene.record(*ran("another", "06:00", "06:07", payer=OTHER_PAYER, workspaceClass="cent"))
        scene.reconcile()  # nothing of the payer runs
        assert scene.calls.audit.ExplainParts(more).explanation.number.parts
        scene.record(started("four", "06:00"))
        with refused(PRECONDITION, "have moved", "ask for the number again"):
            scene.calls.audit.ExplainParts(more)

    def test_are_refused_once_what_runs_was_accrued_anew(self, cent_scene: Scene) -> None:
        scene = cent_scene
        for name in ("one", "two"):
            scene.record(started(name, "07:00", workspaceClass="cent"))
        scene.reconcile()
        request = pb.ExplainBalanceRequest(attribution_id=PAYER, page_size=1)
        shown = scene.calls.audit.ExplainBalance(request).explanation
        cursor = only(shown.number, pb.NUMBER_KIND_RUNNING).cursor
        scene.reconcile("09:00")
        with refused(PRECONDITION, "have moved"):
            scene.calls.audit.ExplainParts(pb.ExplainPartsRequest(cursor=cursor))


@pytest.mark.embedded
class TestRowsThatDoNotFit:
    """Nothing is shown that does not add up; the sentence says what compares rows and log."""

    def test_an_entry_of_another_amount_than_its_events_make(self) -> None:
        with Scene() as scene:
            scene.record(*ran("one", "06:00", "06:30"))
            for statement in (
                "UPDATE entries SET cents = cents + 1",
                "UPDATE rollups SET cents = cents + 1",
                "UPDATE balances SET booked_cents = booked_cents + 1",
            ):
                scene.service.sqlite.connection.execute(statement)
            with refused(PRECONDITION, "make 500 cents, and its entry has 501", "check"):
                balance(scene)

    def test_a_balance_that_is_not_the_sum_of_its_entries(self) -> None:
        with Scene() as scene:
            scene.record(*ran("one", "06:00", "06:30"))
            scene.service.sqlite.connection.execute(
                "UPDATE balances SET booked_cents = booked_cents + 1"
            )
            with refused(PRECONDITION, "parts of 500 cents", "of 501 cents", "check"):
                balance(scene)


class TestRefused:
    def test_what_is_not_there(self, scene: Scene) -> None:
        audit = scene.calls.audit
        scene.record(*ran("one", "06:00", "06:30", workspaceClass="g1-large"))
        nobody = named_uuid("nobody")
        with refused(NOT_FOUND, nobody, "dead-letters list"):
            audit.ExplainEntry(pb.ExplainEntryRequest(workspace_instance_id=nobody))
        with refused(NOT_FOUND, nobody, "entries list"):
            audit.ExplainEntry(pb.ExplainEntryRequest(attribution_id=PAYER, entry_id=nobody))
        with refused(NOT_FOUND, "no line 'small'", "it has g1-large"):
            audit.ExplainDraftLine(
                pb.ExplainDraftLineRequest(attribution_id=PAYER, workspace_class="small")
            )
        with refused(NOT_FOUND, "cycle 7"):
            line(scene, "g1-large", cycle=7)
        with refused(NOT_FOUND, "no line"):
            line(scene, "g1-large", late_for=0)
        with refused(NOT_FOUND, "cycle"):
            audit.ExplainDraftLine(
                pb.ExplainDraftLineRequest(attribution_id=OTHER_PAYER, workspace_class="small")
            )
        with refused(NOT_FOUND, "in_unknown", "not settled here"):
            audit.ExplainInvoice(pb.ExplainInvoiceRequest(invoice_id="in_unknown"))

    def test_what_is_no_id(self, scene: Scene) -> None:
        audit = scene.calls.audit
        with refused(INVALID, "attribution_id"):
            audit.ExplainBalance(pb.ExplainBalanceRequest(attribution_id="team:7"))
        with refused(INVALID, "page_size -1"):
            audit.ExplainBalance(pb.ExplainBalanceRequest(attribution_id=PAYER, page_size=-1))
        with refused(INVALID, "entry is missing"):
            audit.ExplainEntry(pb.ExplainEntryRequest(attribution_id=PAYER))
        with refused(INVALID, "attribution_id is missing"):
            audit.ExplainEntry(pb.ExplainEntryRequest(entry_id=named_uuid("one")))
        with refused(INVALID, "entry_id '7'"):
            audit.ExplainEntry(pb.ExplainEntryRequest(attribution_id=PAYER, entry_id="7"))
        with refused(INVALID, "workspace_instance_id '7'"):
            audit.ExplainEntry(pb.ExplainEntryRequest(workspace_instance_id="7"))
        with refused(INVALID, "invoice_id is missing"):
            audit.ExplainInvoice(pb.ExplainInvoiceRequest())

    def test_a_period_that_is_no_cycle(self, scene: Scene) -> None:
        with refused(INVALID, "late_for -1"):
            line(scene, "g1-large", late_for=-1)

    def test_a_cursor_with_a_number_that_no_message_holds(self, scene: Scene) -> None:
        scene.record(*ran("one", "06:00", "06:30"), *ran("two", "06:00", "06:30"))
        request = pb.ExplainBalanceRequest(attribution_id=PAYER, page_size=1)
        shown = scene.calls.audit.ExplainBalance(request).explanation
        cursor = only(shown.number, pb.NUMBER_KIND_DAY).cursor
        parts = msgspec.msgpack.decode(base64.urlsafe_b64decode(cursor))
        for at in (5, 6, 7):
            forged = [*parts[:at], 2**63, *parts[at + 1 :]]
            text = base64.urlsafe_b64encode(msgspec.msgpack.encode(forged)).decode()
            with refused(INVALID, "cursor"):
                scene.calls.audit.ExplainParts(pb.ExplainPartsRequest(cursor=text))
        forged = [*parts[:6], parts[6] + 1, *parts[7:]]
        text = base64.urlsafe_b64encode(msgspec.msgpack.encode(forged)).decode()
        with refused(PRECONDITION, "parts of"):
            scene.calls.audit.ExplainParts(pb.ExplainPartsRequest(cursor=text))

    @pytest.mark.parametrize(
        "cursor", ["", "7", "x" * 5_000, base64.urlsafe_b64encode(b"\x90" * 9).decode(), "\u00e9"]
    )
    def test_a_cursor_of_nobody(self, scene: Scene, cursor: str) -> None:
        with refused(INVALID, "cursor"):
            scene.calls.audit.ExplainParts(pb.ExplainPartsRequest(cursor=cursor))
