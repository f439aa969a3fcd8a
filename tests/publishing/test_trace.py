"""Real job logs through the command line, against the independent computation."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest

from projections import entry_id_of
from tests.contract.data.scene import NOW, Scene
from tests.oracle import DEFAULT_RATES, InvoiceDraft, Oracle, instant
from tests.oracle import Entry as Expected
from tests.oracle.events import payer_of
from tests.oracle.trace import (
    ATLAS,
    FOLDER_VARIABLE,
    NASA,
    Job,
    class_of,
    read_jobs,
    shift_to_end_at,
    shuffled,
    trace_file,
    trace_lines,
    with_repeats,
)
from tests.publishing.command import publish
from usage.v1 import usage_pb2
from usage_ledger.v1 import queries_pb2

OPENED = "2026-09-01T08:00:00Z"
"""When every cost center is opened: everything before is carried over."""

RESET = "2026-10-02T08:00:00Z"
"""When every cost center is reset: its cycle ended a day before."""

LATE_EVERY = 50
"""Every so many-th event comes after the next boundary only, every tenth of those one later."""

PAGE = 1_000

Row = tuple[str, str, str, int, bool, str]
UsageLine = tuple[str, int | None, int, int, int]


def trace(name: str) -> Path:
    path = trace_file(name)
    if path is None:
        pytest.skip(f"NOT RUN: {name} is not there; {FOLDER_VARIABLE} names its folder")
    return path


@cache
def nasa_parts() -> tuple[Sequence[bytes], ...]:
    """What is published before the opening, before the reset, and after it."""
    jobs = read_jobs(trace(NASA))
    lines = trace_lines(jobs, name="nasa", shift_s=shift_to_end_at(jobs, instant(NOW)))
    parts: tuple[list[bytes], ...] = ([], [], [])
    for number, line in enumerate(lines):
        time = line.split(b'"time":"')[1][:20].decode()
        part = (time >= OPENED) + (time >= RESET)
        late = (number % LATE_EVERY == 0) + (number % (10 * LATE_EVERY) == 0)
        parts[min(part + late, 2)].append(line)
    return parts


def entry_id(instance_id: str) -> str:
    digits = entry_id_of(instance_id).hex()
    return "-".join([digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]])


def payers_of(parts: Iterable[Sequence[bytes]]) -> list[str]:
    lines = (line for part in parts for line in part)
    return sorted({line.split(b'"attributionId":"')[1][:41].decode() for line in lines})


Views = dict[str, tuple[list[Expected], InvoiceDraft]]


@pytest.fixture(scope="module")
def independent() -> Views:
    """Entries and draft of every payer, as the oracle has them after the same stages."""
    oracle = Oracle(entry_id=entry_id)
    oracle.publish_price_list(1, DEFAULT_RATES, instant("2020-01-01T00:00:00Z"))
    payers = payers_of(nasa_parts())
    for moment, lines in zip((OPENED, RESET, NOW), nasa_parts(), strict=True):
        now = instant(moment)
        for line in lines:
            oracle.publish(line, now)
        oracle.reconcile(now)
        if moment == OPENED:
            for payer in payers:
                oracle.get_cost_center(payer, now)
        if moment == RESET:
            oracle.reset_usage(now)
    return {payer: (oracle.entries(payer), oracle.invoice_draft(payer)) for payer in payers}


def usage_rows(scene: Scene, payer: str) -> list[Row]:
    """The full list by ListUsage, all pages."""
    rows: list[Row] = []
    page = 1
    while True:
        answer = scene.calls.usage.ListUsage(
            usage_pb2.ListUsageRequest(
                attribution_id=payer,
                order=usage_pb2.ListUsageRequest.ORDERING_ASCENDING,
                pagination=usage_pb2.PaginatedRequest(per_page=PAGE, page=page),
            )
        )
        rows += [
            (
                entry.effective_time.ToJsonString(),
                entry.id,
                entry.workspace_instance_id,
                round(entry.credits * 100),
                entry.draft,
                entry.metadata.split('"workspaceClass":"')[1].split('"')[0],
            )
            for entry in answer.usage_entries
        ]
        if page >= answer.pagination.total_pages:
            assert answer.pagination.total == len(rows)
            assert round(answer.credits_used * 100) == sum(row[3] for row in rows)
            return rows
        page += 1


def expected_rows(entries: Sequence[Expected]) -> list[Row]:
    return sorted(
        (
            stamp(entry.effective_ms),
            entry.entry_id,
            entry.instance_id,
            entry.cents,
            entry.draft,
            entry.workspace_class,
        )
        for entry in entries
        if entry.kind == "workspace_instance"
    )


def stamp(ms: int) -> str:
    time = usage_pb2.Usage().effective_time
    time.FromMilliseconds(ms)
    return time.ToJsonString()


def draft_lines(draft: queries_pb2.InvoiceDraft) -> set[UsageLine]:
    return {
        (
            line.workspace_class,
            line.late_for.cycle_number if line.HasField("late_for") else None,
            line.instances,
            line.seconds,
            line.credit_cents,
        )
        for line in draft.lines
    }


def assert_agrees(scene: Scene, views: Views) -> None:
    for payer, (entries, expected) in views.items():
        assert sum(entry.cents for entry in entries) == scene.cents(payer)
        assert expected_rows(entries) == usage_rows(scene, payer)
        draft = scene.calls.draft(payer)
        assert {
            (line.workspace_class, line.late_for, line.instances, line.seconds, line.cents)
            for line in expected.lines
        } == draft_lines(draft)
        assert (
            expected.cycle,
            expected.carried_cents,
            expected.invoices,
            expected.invoice_cents,
            expected.total_cents,
            expected.billable_credits,
        ) == (
            draft.cycle_number,
            draft.carried_balance_cents,
            draft.invoice_count,
            draft.invoice_cents,
            draft.total_cents,
            draft.billable_credits,
        )


@pytest.mark.trace
@pytest.mark.slow
@pytest.mark.parametrize("disorder", [False, True], ids=["in order", "shuffled with repeats"])
def test_the_nasa_trace_gives_the_balances_lists_and_drafts_of_the_independent_computation(
    tmp_path: Path, independent: Views, disorder: bool
) -> None:
    with Scene(tmp_path / "ledger") as scene:
        for moment, lines in zip((OPENED, RESET, NOW), nasa_parts(), strict=True):
            scene.clock.set(moment)
            sent = shuffled(with_repeats(lines, every=5), window=5_000) if disorder else lines
            path = tmp_path / "events.ndjson"
            path.write_bytes(b"".join(line + b"\n" for line in sent))
            ended = publish(scene.service.target, path)
            counts = (len(sent), len(lines), len(sent) - len(lines), 0)
            assert (0, counts) == (ended.code, ended.counts)
            scene.reconcile()
            if moment == OPENED:
                for payer in independent:
                    scene.open_cost_center(payer)
            if moment == RESET:
                scene.reset()
        assert_agrees(scene, independent)
        assert [] == scene.calls.breaches()
    late = {line.late_for for _, draft in independent.values() for line in draft.lines}
    assert {None, 0, 1} == late  # or it would not have shown much


def cents_of(job: Job) -> int:
    """What a job costs, in fractions."""
    rate = Fraction(DEFAULT_RATES.get(class_of(job.processors), "1/6"))
    return int(rate * (job.end_s - job.start_s) / 60 * 100 + Fraction(1, 2))


@pytest.mark.trace
@pytest.mark.slow
def test_the_atlas_trace_gives_the_balances_of_the_independent_computation(
    tmp_path: Path,
) -> None:
    jobs = read_jobs(trace(ATLAS))
    lines = trace_lines(jobs, name="atlas", shift_s=shift_to_end_at(jobs, instant(NOW)))
    expected: dict[str, int] = {}
    for job in jobs:
        payer = payer_of(("atlas", job.payer))
        expected[payer] = expected.get(payer, 0) + cents_of(job)
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"".join(line + b"\n" for line in lines))

    with Scene(tmp_path / "ledger") as scene:
        assert (len(lines), len(lines), 0, 0) == publish(scene.service.target, path).counts
        request = queries_pb2.GetBalancesRequest(attribution_ids=list(expected))
        answer = scene.calls.queries.GetBalances(request)
        assert expected == {each.attribution_id: each.credit_cents for each in answer.balances}
