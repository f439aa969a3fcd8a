"""How the ledger is, as an answer."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from facade import answers
from facade.audit.messages import tree_message
from facade.translate import timestamp
from ledger.application import Ledger
from ledger.audit.status import TreeStanding, why_heads_are_held
from ledger.queries import Queries
from ledger.views import Counts, StatusRows
from usage_ledger.v1 import publishing_pb2
from usage_ledger.v1 import queries_pb2 as pb

DELIVERIES_SHOWN = 100


def status(
    ledger: Ledger, shards: Sequence[StatusRows], trees: Sequence[TreeStanding]
) -> pb.GetStatusResponse:
    """Add the shards up; what belongs to everybody is told as the first shard has it."""
    first = shards[0]
    newest_prices = ledger.shards[0].core.prices.newest
    total = Counts()
    for rows in shards:
        total = total.plus(rows.total)
    recorded = [rows.clock.newest_recorded for rows in shards if rows.head]
    response = pb.GetStatusResponse(
        version=version("usage-ledger"),
        head=publishing_pb2.Position(number=first.head),
        heads=[
            publishing_pb2.Position(shard=number, number=rows.head)
            for number, rows in enumerate(shards)
        ],
        newest_recorded=timestamp(max(recorded, default=None)),
        projections=[
            pb.ProjectionStatus(
                name=p.name,
                version=p.version,
                position=publishing_pb2.Position(shard=number, number=p.position),
                paused=f"at {p.pause.position}: {p.pause.reason}" if p.pause else "",
            )
            for number, rows in enumerate(shards)
            for p in rows.projections
        ],
        total=answers.counts("", total),
        deliveries=[answers.counts(name, counts) for name, counts in _deliveries(shards)],
        dead_letters=sum(rows.dead_letters for rows in shards),
        cost_centers=sum(rows.cost_centers for rows in shards),
        running_instances=sum(rows.running for rows in shards),
        ended_instances=sum(rows.entries for rows in shards),
        accrued_to=timestamp(first.accrual.instant if first.accrual.position else None),
        runs_long=sum(rows.runs_long for rows in shards),
        stops_without_start=sum(rows.stops_without_start for rows in shards),
        price_revision=newest_prices.revision if newest_prices else 0,
        resets_held=Queries.resets_held_by(first.clock, ledger.now()),
        writes_refused=ledger.refused,
        ledger_interval=answers.duration(ledger.settings.ledger_interval),
        intake=[
            pb.IntakeStatus(
                cluster=row.cluster,
                topic=row.topic,
                topic_id=row.topic_id,
                partition=row.partition,
                shard=number,
                offset=row.position,
            )
            for number, rows in enumerate(shards)
            for row in rows.intake
        ],
        tails=[
            pb.TailStatus(name=name, position=publishing_pb2.Position(shard=number, number=at))
            for number, rows in enumerate(shards)
            for name, at in sorted(rows.tails.items())
        ],
        trees=[tree_message(number, tree) for number, tree in enumerate(trees)],
        heads_held=why_heads_are_held(first.jobs),
        acts=[
            pb.Act(
                shard=number,
                time=timestamp(act.done_at),
                author=act.author,
                what=act.what,
                detail=act.detail,
            )
            for number, rows in enumerate(shards)
            for act in rows.acts
        ],
    )
    _add_jobs(response, ledger, first)
    return response


def _deliveries(shards: Sequence[StatusRows]) -> list[tuple[str, Counts]]:
    """Give the newest sources of delivery with their counts over all shards."""
    counts: dict[str, Counts] = {}
    for rows in shards:
        for name, here in rows.deliveries:
            counts[name] = counts.get(name, Counts()).plus(here)
    return list(counts.items())[:DELIVERIES_SHOWN]


def _add_jobs(response: pb.GetStatusResponse, ledger: Ledger, rows: StatusRows) -> None:
    ran = {job.name: job for job in rows.jobs}
    for job in ledger.jobs:
        last = ran.get(job.name)
        response.jobs.append(
            pb.JobStatus(
                name=job.name,
                enabled=job.enabled,
                every=answers.duration(job.every_ms),
                last_started=timestamp(last.last_started if last else None),
                last_finished=timestamp(last.last_finished if last else None),
                last_error=last.last_error if last else "",
                next=timestamp(job.next_ms if job.enabled else None),
            )
        )
