"""A page of usage entries at a moment: ended ones by date, and what runs as one block."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ledger.audit.standing import Counted, Standing, is_draft
from persistence import Details, Stand, UsageRow


class Usage(NamedTuple):
    """A page, with totals over the whole range."""

    rows: list[UsageRow]
    total: int
    cents: int


def list_page(
    standing: Standing,
    *,
    user: bytes,
    start: int,
    end: int,
    key: tuple[int, bytes] | None,
    ascending: bool,
    limit: int,
) -> list[UsageRow]:
    """Give entries dated in [start, end) beyond a (time, id), by time, ties by id ascending."""
    known, direction = standing.known, 1 if ascending else -1

    def place(dated: int, entry_id: bytes) -> tuple[int, bytes]:
        return direction * dated, entry_id

    upto = end if standing.end is None else min(end, standing.end)
    if user:
        stands = known.rows.page(
            known.payer,
            known.position,
            user=user,
            start=start,
            end=upto,
            key=key,
            ascending=ascending,
            limit=limit,
        )
    else:
        stands = known.page(start=start, end=upto, key=key, ascending=ascending, limit=limit)
    items: list[Stand | Counted] = list(stands)
    for each in standing.running:
        if start <= each.instant < end and user in (b"", each.life.user):
            beyond = key is None or place(*key) < place(each.instant, each.life.entry_id)
            if beyond:
                items.append(each)
    items.sort(key=lambda item: place(*_dated(item)))
    return rows_of(standing, items[:limit])


def _dated(item: Stand | Counted) -> tuple[int, bytes]:
    if isinstance(item, Stand):
        return item.effective, item.entry_id
    return item.instant, item.life.entry_id


def rows_of(standing: Standing, items: Iterable[Stand | Counted]) -> list[UsageRow]:
    """Complete entries with what listings show."""
    items = list(items)
    details = standing.known.rows.details(standing.known.payer, [_start(item) for item in items])
    return [_row(standing, item, details[_start(item)]) for item in items]


def _start(item: Stand | Counted) -> int:
    return item.start_position if isinstance(item, Stand) else item.life.start_position


def _row(standing: Standing, item: Stand | Counted, details: Details) -> UsageRow:
    stopping = stopped = None
    if isinstance(item, Stand):
        dated, entry_id, cents = item.effective, item.entry_id, item.cents
        draft = is_draft(item, standing.known.position, standing.as_of)
        stopping, stopped = item.stopping, None if draft else item.stopped
    else:
        dated, entry_id, cents, draft = item.instant, item.life.entry_id, item.amount.cents, True
    return UsageRow(
        entry_id,
        dated,
        cents,
        draft,
        details.instance,
        details.workspace_id,
        details.workspace_type,
        details.workspace_class,
        details.creation,
        details.started,
        stopping,
        stopped,
        details.user,
        details.personal,
    )
