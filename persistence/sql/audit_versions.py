"""The laws of what counts no more: voids, and how entries stood before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from events import CreditNoteVoided, WorkspaceInstanceVoided
from events.readable import attribution_id

BREACHES_SHOWN = 100

_All = Callable[..., list[Any]]
_Law = tuple[str, int, list[str]]


def version_laws(select: _All) -> Iterator[_Law]:
    """Give (law, how many compared, breaches) one after the other."""
    yield _voids(select)
    yield _voided(select)
    yield _versions(select)
    yield _reconciles(select)
    yield _voided_notes(select)


def _voids(select: _All) -> _Law:
    """As far as the rows are folded: a projector may be behind the log."""
    topics = (WorkspaceInstanceVoided.TOPIC, CreditNoteVoided.TOPIC)
    count = select("SELECT count(*) FROM voids")[0][0]
    missing = select(
        "SELECT e.position FROM stored_events e LEFT JOIN voids v ON v.position = e.position"
        " WHERE e.topic IN (?, ?) AND v.position IS NULL AND e.position <="
        " (SELECT position FROM projections WHERE name = 'instances') LIMIT ?",
        (*topics, BREACHES_SHOWN),
    )
    too_many = select(
        "SELECT v.position FROM voids v LEFT JOIN stored_events e"
        " ON e.position = v.position AND e.topic IN (?, ?) WHERE e.position IS NULL LIMIT ?",
        (*topics, BREACHES_SHOWN),
    )
    breaches = [f"the void at position {row[0]} is not kept" for row in missing]
    breaches += [f"position {row[0]} is kept as a void and is none" for row in too_many]
    return "every void of the log is kept, and nothing else", count, breaches


def _voided(select: _All) -> _Law:
    count = select("SELECT count(*) FROM voids")[0][0]
    breaches = []
    for table, kind, position in (
        ("entries", "workspace_instance", "start_position"),
        ("open_instances", "workspace_instance", "start_position"),
        ("other_entries", "credit_note", "position"),
    ):
        breaches += [
            f"{attribution_id(row[0])}: what was made at position {row[1]} is void at {row[2]},"
            f" and still in {table}"
            for row in select(
                f"SELECT v.payer, v.made_position, v.position FROM voids v JOIN {table} t"
                f" ON t.{position} = v.made_position WHERE v.kind = ? AND v.made_position > 0"
                " LIMIT ?",
                (kind, BREACHES_SHOWN),
            )
        ]
    return "what is void counts nowhere", count, breaches


def _versions(select: _All) -> _Law:
    """An entry's stretches follow each other, up to the entry as it is now or to its void."""
    columns = "start_position, ended_position, changed_position, known_to"
    rows = select(f"SELECT {columns} FROM entry_versions ORDER BY start_position, known_to")
    now = {
        row[0]: row[1]
        for row in select(
            "SELECT e.start_position, e.changed_position FROM entries e JOIN entry_versions v"
            " ON v.start_position = e.start_position"
        )
    }
    void = dict(
        select("SELECT made_position, position FROM voids WHERE kind = 'workspace_instance'")
    )
    breaches = list(_lost_versions(select))
    for index, (start, ended, changed, known_to) in enumerate(rows):
        before = rows[index - 1] if index else None
        begins = before[3] if before is not None and before[0] == start else ended
        after = rows[index + 1] if index + 1 < len(rows) else None
        is_last = after is None or after[0] != start
        ends = now.get(start, void.get(start)) if is_last else known_to
        if changed != begins or known_to != ends or known_to < changed:
            breaches.append(
                f"the entry that started at {start} stood from {changed} to {known_to}, and should"
                f" from {begins} to {ends}"
            )
    law = "how an entry stood before follows without a gap up to how it stands now"
    return law, len(rows), breaches[:BREACHES_SHOWN]


def _lost_versions(select: _All) -> Iterator[str]:
    """An entry that was changed or voided stood in some way before."""
    for table, position, condition in (
        ("entries", "changed_position", "t.changed_position <> t.ended_position"),
        ("voids", "position", "t.kind = 'workspace_instance' AND t.made_position > 0"),
    ):
        for row in select(
            f"SELECT t.payer, t.{position} FROM {table} t LEFT JOIN entry_versions v"
            f" ON v.payer = t.payer AND v.known_to = t.{position}"
            f" WHERE {condition} AND v.known_to IS NULL LIMIT ?",
            (BREACHES_SHOWN,),
        ):
            yield f"{attribution_id(row[0])}: what position {row[1]} changed is not kept"


def _reconciles(select: _All) -> _Law:
    count = select("SELECT count(*) FROM reconciles")[0][0]
    newest = select("SELECT position, instant FROM reconciles ORDER BY position DESC LIMIT 1")
    accrual = select("SELECT position, instant FROM accrual")
    breaches = []
    if [tuple(row) for row in newest] != [tuple(row) for row in accrual]:
        breaches.append(f"accrued to {accrual}, the newest reconcile is {newest}")
    return "the accrual is that of the newest reconcile", count, breaches


def _voided_notes(select: _All) -> _Law:
    """The notes of closed cycles that were voided in a cycle are those of the voids in it."""
    cycles = (
        "SELECT payer, number, start, opened_position, closed_position FROM closed_cycles"
        " UNION ALL SELECT payer, number, start, opened_position, NULL FROM open_cycles"
    )
    summed = (
        f"SELECT v.payer, c.number, count(*), -sum(v.cents) FROM voids v JOIN ({cycles}) AS c"
        " ON c.payer = v.payer AND v.position > c.opened_position"
        " AND (c.closed_position IS NULL OR v.position < c.closed_position)"
        " AND v.made_position <= c.opened_position WHERE v.kind = 'credit_note' GROUP BY 1, 2"
    )
    kept = "SELECT payer, number, sum(count), sum(cents) FROM cycle_voided_notes GROUP BY 1, 2"
    breaches = [
        f"{attribution_id(row[0])}: cycle {row[1]} {what} {row[2]} voided notes, {row[3]} cents"
        for what, left, right in (("keeps", kept, summed), ("should keep", summed, kept))
        for row in select(
            f"SELECT * FROM ({left}) AS one EXCEPT SELECT * FROM ({right}) AS other LIMIT ?",
            (BREACHES_SHOWN,),
        )
    ]
    checked = select("SELECT count(*) FROM cycle_voided_notes")[0][0]
    return "credit notes of closed cycles are voided in the open one", checked, breaches
