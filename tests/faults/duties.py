"""Work that a service has to get done whatever happens to it, and the numbers it must end with.

Everything may be done again from the beginning: what is recorded counts as repeated. The numbers do
not depend on the machine's clock: what runs costs a cent in a hundred minutes, a quarter of a cent
away from the next one.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.harness import Calls, ServiceProcess
from tests.laws.acts import entry_id_of_note
from tests.oracle import published_name, text_of
from tests.oracle.events import (
    InstanceEventKind,
    credit_note_event,
    instance_event,
    line_of,
    named_uuid,
    payer_of,
)
from usage.v1 import usage_pb2
from usage_ledger.v1 import admin_pb2, audit_corrections_pb2, queries_pb2

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS
BLOCK_LINES = 15  # small, so that a phase takes several transactions
IMPORTED_PAYERS = 24
PUBLISHED_PAYERS = 8
INSTANCES = 120
INVOICE = queries_pb2.ENTRY_KIND_INVOICE
SLOW = "slow"
CONFIG = """[prices]
revision = 1
credits_per_minute = { default = 0.1666666667, g1-large = 0.3333333333, slow = 0.0001 }
"""

Numbers = dict[str, Any]


class Duties:
    """The lines of one ledger's life, around `now_ns`."""

    def __init__(self, now_ns: int, seed: int = 7) -> None:
        """Make the lines."""
        self._now_ns = now_ns
        self._rng = random.Random(seed)
        self.imported = [payer_of(("imported", n)) for n in range(IMPORTED_PAYERS)]
        self.payers = [*self.imported, *(payer_of(("new", n)) for n in range(PUBLISHED_PAYERS))]
        self.opening = self._opening_lines()
        self.early: list[bytes] = []
        self.late: list[bytes] = []
        self.anew: list[bytes] = []  # what the right payers say of the instances that are voided
        self.wrong: list[tuple[str, str]] = []  # these, and whose they were
        self.wrong_notes: list[tuple[str, str]] = []  # payer and name
        for number in range(INSTANCES):
            self._instance(number)
        self.early += self.early[:: len(self.early) // 9]  # repeats
        self.early[50:50] = [b"{", b"not an event"]
        self._rng.shuffle(self.late)

    def _opening_lines(self) -> list[bytes]:
        entries: list[dict[str, object]] = []
        centers: list[dict[str, object]] = []
        for number, payer in enumerate(self.imported):
            start_ns = self._now_ns - (40 + number % 5) * DAY_NS
            terms = {
                "spending_limit": (0, 3, 500)[number % 3],
                "billing_strategy": "other",
                "created": text_of(start_ns),
                "billing_cycle_start": text_of(start_ns),
                "next_billing_time": text_of(start_ns + 30 * DAY_NS),
            }
            centers.append(
                {"kind": "cost_center", "id": payer, "attribution_id": payer, "history": [terms]}
            )
            entries += [
                self._opening_entry(payer, f"{number}.{nth}", start_ns - nth * DAY_NS)
                for nth in (1, 2)
            ]
        return [json.dumps(line).encode() for line in (*entries, *centers)]

    def _opening_entry(self, payer: str, name: str, at_ns: int) -> dict[str, object]:
        instance_id = named_uuid("opening", name)
        return {
            "kind": "entry",
            "id": instance_id,
            "attribution_id": payer,
            "entry_kind": "workspace_instance",
            "credit_cents": self._rng.randrange(1, 900),
            "effective_time": text_of(at_ns),
            "workspace_instance_id": instance_id,
            "metadata": {"workspaceClass": "default", "startTime": text_of(at_ns - 3600 * 10**9)},
        }

    def _instance(self, number: int) -> None:
        payer = self.payers[number % len(self.payers)]
        stops_late = number % 4 == 0 or number % 3 == 0
        start_ns = self._now_ns - self._rng.randrange(2, 50) * DAY_NS
        start_ns -= start_ns % SECOND_NS
        if stops_late:
            # 25 days and 25 minutes at 0.01 cents a minute: 360.25 cents. Five days more: 72 cents.
            days = 25 + 5 * (number % 5)
            start_ns = self._now_ns - days * DAY_NS - 25 * 60 * SECOND_NS
        stop_ns = start_ns + self._rng.randrange(1, 90_000) * SECOND_NS

        def told(
            kind: InstanceEventKind, at_ns: int, more: dict[str, object] | None = None
        ) -> bytes:
            instance_id = named_uuid("duty", number)
            event = instance_event(kind, at_ns, instance_id=instance_id, payer=payer, more=more)
            return line_of(event)

        more: dict[str, object] = {
            "workspaceClass": SLOW if stops_late else self._rng.choice(["default", "g1-large"]),
            "userId": named_uuid("user", number % 5),
            "userName": f"user{number % 5}",
        }
        self.early.append(told("started", start_ns, more))
        if number % 5 == 0:
            note = credit_note_event(
                self._now_ns - DAY_NS,
                payer=payer,
                credits_given=number % 7 - 3,
                event_id=named_uuid("note", number),
            )
            self.late.append(line_of(note))
            if number % 15 == 0:
                name = published_name(str(note["source"]), str(note["id"]))
                self.wrong_notes.append((payer, name))
        if number % 9 == 0:
            self._wrong(number, payer, start_ns)
        if number % 8 == 0:
            return
        stops = (self.late if stops_late else self.early).append
        stops(told("stopping", stop_ns))
        if number % 6:
            self.late.append(told("stopped", stop_ns + 10**9))

    def _wrong(self, number: int, payer: str, start_ns: int) -> None:
        """Let an instance be another payer's, who says so once it was voided."""
        instance_id = named_uuid("duty", number)
        self.wrong.append((instance_id, payer))
        right = self.payers[(number + 1) % len(self.payers)]
        for kind, at_ns in (("started", start_ns), ("stopped", start_ns + 3_600 * SECOND_NS)):
            event = instance_event(
                kind,  # type: ignore[arg-type]  # both are kinds
                at_ns,
                instance_id=instance_id,
                payer=right,
                event_id=named_uuid("anew", number, kind),
            )
            self.anew.append(line_of(event))

    # Phases, each safe to be done again ------------------------------------------------------

    def take_over(self, calls: Calls) -> None:
        requests = [
            admin_pb2.ImportOpeningStateRequest(
                source="old", first_line=start + 1, lines=b"\n".join(block) + b"\n"
            )
            for start, block in _blocks(self.opening)
        ]
        for response in calls.admin.ImportOpeningState(iter(requests)):
            assert not response.receipt.rejects, response.receipt.rejects

    def publish_early(self, calls: Calls) -> None:
        calls.publish(self.early, delivery="early", block_lines=BLOCK_LINES)

    def reconcile(self, calls: Calls) -> None:
        calls.reconcile()

    def reset(self, calls: Calls) -> None:
        calls.usage.ResetUsage(usage_pb2.ResetUsageRequest())

    def publish_late(self, calls: Calls) -> None:
        calls.publish(self.late, delivery="late", block_lines=BLOCK_LINES)

    def void(self, calls: Calls) -> None:
        """Void for the wrong payer only: the right ones may have spoken before this is repeated."""
        for instance_id, payer in self.wrong:
            request = audit_corrections_pb2.VoidInstanceRequest(
                workspace_instance_id=instance_id, attribution_id=payer, reason="the wrong team"
            )
            with _void_already():
                calls.audit.VoidInstance(request)
        for payer, name in self.wrong_notes:
            note = audit_corrections_pb2.VoidCreditNoteRequest(
                attribution_id=payer, entry_id=entry_id_of_note(payer, name), reason="twice"
            )
            with _void_already():
                calls.audit.VoidCreditNote(note)

    def publish_anew(self, calls: Calls) -> None:
        calls.publish(self.anew, delivery="anew", block_lines=BLOCK_LINES)

    PHASES = (
        *("take_over", "publish_early", "reconcile", "reset", "publish_late"),
        *("void", "publish_anew"),
    )

    def do(self, phase: str, calls: Calls) -> None:
        getattr(self, phase)(calls)

    def do_all(self, calls: Calls) -> None:
        """Do everything, and reconcile once more, so that all that runs is accrued."""
        for phase in (*self.PHASES, "reconcile"):
            self.do(phase, calls)

    # Numbers ---------------------------------------------------------------------------------

    def numbers(self, calls: Calls) -> Numbers:
        """All that must not depend on what happened on the way; checks the laws, too."""
        assert [] == calls.breaches()
        status = calls.queries.GetStatus(queries_pb2.GetStatusRequest())
        for counts in (status.total, *status.deliveries):
            assert counts.received == counts.recorded + counts.repeated + counts.rejected
        assert not any(projection.paused for projection in status.projections)
        return {
            "recorded": {one.delivery: one.recorded for one in status.deliveries},
            "rejected": {one.delivery: one.rejected for one in status.deliveries},
            "dead letters": status.dead_letters,
            "running": status.running_instances,
            "ended": status.ended_instances,
            **{payer: self._payer_numbers(calls, payer) for payer in self.payers},
        }

    def _payer_numbers(self, calls: Calls, payer: str) -> Numbers:
        draft = calls.draft(payer)
        listed = calls.usage.ListUsage(usage_pb2.ListUsageRequest(attribution_id=payer))
        center = draft.cost_center
        return {
            "balance": calls.balance_cents(payer),
            "listed": (listed.pagination.total, round(listed.credits_used * 100)),
            "entries": sorted(
                # Invoices are dated when a reset ran, what runs when it was accrued.
                (
                    e.kind,
                    e.id,
                    e.credit_cents,
                    e.draft,
                    0 if e.kind == INVOICE or e.draft else e.effective_time.ToMilliseconds(),
                )
                for e in calls.entries(payer)
            ),
            "voided notes": [
                (each.credit_notes, each.credit_cents, each.late_for.cycle_number)
                for each in draft.voided_credit_notes
            ],
            "voids": sorted(
                (void.kind, void.entry_id, void.reason)
                for void in calls.audit.ListVoids(
                    audit_corrections_pb2.ListVoidsRequest(attribution_id=payer)
                ).voids
            ),
            "lines": [
                (
                    line.workspace_class,
                    line.instances,
                    line.credit_cents,
                    line.late_for.cycle_number,
                )
                for line in draft.lines
            ],
            "draft": (
                draft.cycle_number,
                draft.carried_balance_cents,
                draft.credit_note_count,
                draft.credit_note_cents,
                draft.invoice_count,
                draft.invoice_cents,
                draft.total_cents,
            ),
            "cost center": (
                center.spending_limit,
                center.billing_strategy,
                center.billing_cycle_start.seconds,
                center.next_billing_time.seconds,
            ),
        }


@contextlib.contextmanager
def _void_already() -> Iterator[None]:
    """Let it pass that an earlier try has done it."""
    try:
        yield
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.FAILED_PRECONDITION:
            raise


def _blocks(lines: Sequence[bytes]) -> list[tuple[int, Sequence[bytes]]]:
    return [
        (start, lines[start : start + BLOCK_LINES]) for start in range(0, len(lines), BLOCK_LINES)
    ]


def service(data_dir: Path, failpoint: str = "") -> ServiceProcess:
    """The real service with the duties' prices; without jobs."""
    config = data_dir.with_suffix(".toml")
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(CONFIG)
    return ServiceProcess(
        data_dir, options=("--no-jobs", "--config", str(config)), failpoint=failpoint
    )


def dies(duties: Duties, phase: str, running: ServiceProcess) -> None:
    """Do a phase in which the service dies by its failpoint."""
    with running, pytest.raises(grpc.RpcError):  # stopped if it does not die
        duties.do(phase, running.calls)
    assert running.wait_dead() == -9, f"it went on through {phase}: the failpoint was not passed"
