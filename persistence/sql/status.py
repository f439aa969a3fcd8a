"""How the ledger is, counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from persistence.acts import Act
from persistence.reading import IntakeRow, JobRow, ProjectionRow, StatusRows, Tallies
from persistence.sql.acts import SHOWN
from persistence.store import Counts
from projections import Accrual, ClockRow, Pause

DELIVERIES_SHOWN = 100


# Whoever makes up names of deliveries makes up no more than these kinds.
DELIVERIES_BY_KIND = (
    "SELECT CASE WHEN substr(name, 1, 6) = 'kafka:' THEN name"
    " WHEN substr(name, 1, 5) IN ('call:', 'file:', 'http:') THEN substr(name, 1, 4)"
    " WHEN substr(name, 1, 7) = 'import:' THEN 'import'"
    " WHEN name = 'stdin' THEN name ELSE 'other' END AS kind,"
    " sum(received), sum(recorded), sum(repeated), sum(rejected) FROM deliveries GROUP BY 1"
)
DEAD_LETTERS = "SELECT count(*) FROM dead_letters"


def tallies(select: Callable[..., list[Any]]) -> Tallies:
    """Add up what was delivered, and count the dead letters."""
    return Tallies(
        [(row[0], Counts(*map(int, row[1:]))) for row in select(DELIVERIES_BY_KIND)],
        select(DEAD_LETTERS)[0][0],
    )


def status_rows(
    select: Callable[..., list[Any]],
    *,
    clock: ClockRow,
    accrual: Accrual,
    jobs: list[JobRow],
    intake: list[IntakeRow],
    tails: dict[str, int],
    runs_since: int,
    stopped_since: int,
) -> StatusRows:
    """Count everything; some counts read whole indexes."""

    def one(statement: str) -> Any:
        return select(statement)[0]

    def count(statement: str, values: Sequence[Any] = ()) -> int:
        counted: int = select(statement, values)[0][0]
        return counted

    projections = [
        ProjectionRow(name, version, position, Pause(at, reason) if at is not None else None)
        for name, version, position, at, reason in select("SELECT * FROM projections")
    ]
    total = one(
        "SELECT coalesce(sum(received), 0), coalesce(sum(recorded), 0),"
        " coalesce(sum(repeated), 0), coalesce(sum(rejected), 0) FROM deliveries"
    )
    deliveries = select(
        "SELECT name, received, recorded, repeated, rejected FROM deliveries"
        " ORDER BY id DESC LIMIT ?",
        (DELIVERIES_SHOWN,),
    )
    return StatusRows(
        count("SELECT coalesce(max(position), 0) FROM stored_events"),
        clock,
        projections,
        Counts(*total),
        [(row[0], Counts(*row[1:])) for row in deliveries],
        count("SELECT count(*) FROM dead_letters"),
        count("SELECT count(*) FROM cost_centers"),
        count("SELECT count(*) FROM open_instances WHERE started IS NOT NULL AND stopping IS NULL"),
        count("SELECT coalesce(sum(count), 0) FROM rollups WHERE \"user\" = x'' AND unit = 1"),
        accrual,
        jobs,
        count(
            "SELECT count(*) FROM open_instances"
            " WHERE started IS NOT NULL AND stopping IS NULL AND started < ?",
            (runs_since,),
        ),
        count(
            "SELECT count(*) FROM open_instances WHERE start_position = 0 AND heard_at < ?",
            (stopped_since,),
        ),
        intake,
        tails,
        [Act(*row) for row in select(SHOWN)],
    )
