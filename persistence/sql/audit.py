"""The laws of the ledger, recomputed from the rows themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from events.readable import attribution_id
from persistence.sql.audit_versions import version_laws
from projections import BUCKET_MS, DAILY, HOURLY, accrued

BREACHES_SHOWN = 100

_All = Callable[..., list[Any]]


def audit(select: _All, *, folds_later: bool) -> Iterator[tuple[str, int, list[str]]]:
    """Give (law, how many compared, breaches) one after the other.

    `folds_later`: a projector folds what writers have committed, so rows may lag, all alike.
    """
    yield _counts(select)
    yield _log(select)
    yield _positions(select, folds_later=folds_later)
    yield _balances(select)
    yield _accruals(select)
    for unit, name in ((HOURLY, "hour"), (DAILY, "day")):
        yield _rollups(select, unit, name, BUCKET_MS[unit])
    yield _drafts(select)
    yield from version_laws(select)
    yield _inbox(select)


def _law(law: str, checked: int, breaches: Sequence[str]) -> tuple[str, int, list[str]]:
    return law, checked, list(breaches[:BREACHES_SHOWN])


def _counts(select: _All) -> tuple[str, int, list[str]]:
    rows = select("SELECT name, received, recorded, repeated, rejected FROM deliveries")
    return _law(
        "received = recorded + repeated + rejected, for every source of delivery",
        len(rows),
        [
            f"{name}: {received} received, {recorded} recorded + {repeated} repeated"
            f" + {rejected} rejected"
            for name, received, recorded, repeated, rejected in rows
            if received != recorded + repeated + rejected
        ],
    )


def _log(select: _All) -> tuple[str, int, list[str]]:
    head, count = select("SELECT coalesce(max(position), 0), count(*) FROM stored_events")[0]
    streams = select(
        "SELECT originator_id, max(originator_version), count(*) FROM stored_events"
        " GROUP BY originator_id HAVING max(originator_version) <> count(*) LIMIT ?",
        (BREACHES_SHOWN,),
    )
    breaches = [f"{stream}: {n} events, version {v}" for stream, v, n in streams]
    if head != count:
        breaches.insert(0, f"the log ends at {head} but has {count} events")
    return _law("the log and every stream in it have no gaps", count, breaches)


def _positions(select: _All, *, folds_later: bool) -> tuple[str, int, list[str]]:
    head = select("SELECT coalesce(max(position), 0) FROM stored_events")[0][0]
    rows = select("SELECT name, position, paused_at FROM projections")
    if folds_later:
        law = "every projection has folded the log up to the same position"
        wanted = max((row[1] for row in rows), default=head)
    else:
        law, wanted = "every projection has folded the whole log", head
    return _law(
        law,
        len(rows),
        [
            f"{name}: at {position} of {wanted}" + (f", paused at {paused}" if paused else "")
            for name, position, paused in rows
            if position != wanted or paused is not None
        ],
    )


def _balances(select: _All) -> tuple[str, int, list[str]]:
    sums: dict[bytes, int] = {}
    for table in ("entries", "other_entries", "accruals"):
        for payer, cents in select(f"SELECT payer, sum(cents) FROM {table} GROUP BY payer"):
            sums[payer] = sums.get(payer, 0) + cents
    rows = dict(select("SELECT payer, booked_cents + running_cents FROM balances"))
    return _law(
        "a payer's balance is the sum of its entries",
        len(rows | sums),
        [
            f"{attribution_id(payer)}: balance {rows.get(payer, 0)} cents, entries"
            f" {sums.get(payer, 0)} cents"
            for payer in sorted(rows.keys() | sums.keys())
            if rows.get(payer, 0) != sums.get(payer, 0)
        ],
    )


def _accruals(select: _All) -> tuple[str, int, list[str]]:
    instant, position = (select("SELECT instant, position FROM accrual") or [(0, 0)])[0]
    sums: dict[bytes, list[int]] = {}
    for payer, rate, started in select(
        "SELECT payer, rate, started FROM open_instances"
        " WHERE started IS NOT NULL AND stopping IS NULL AND start_position < ?",
        (position,),
    ):
        row = sums.setdefault(payer, [0, 0])
        row[0] += 1
        row[1] += accrued(rate, started, instant).cents
    rows = {
        payer: [count, cents]
        for payer, count, cents in select(
            "SELECT payer, sum(count), sum(cents) FROM accruals GROUP BY payer"
        )
    }
    return _law(
        "what runs is accrued to the last reconcile",
        len(rows | sums),
        [
            f"{attribution_id(payer)}: kept {rows.get(payer)}, computed {sums.get(payer)}"
            for payer in sorted(rows.keys() | sums.keys())
            if rows.get(payer) != sums.get(payer)
        ],
    )


def _rollups(select: _All, unit: int, name: str, bucket_ms: int) -> tuple[str, int, list[str]]:
    # SQL division truncates towards zero; subtracting the remainder first makes it a floor.
    floor = f"(effective - ((effective % {bucket_ms}) + {bucket_ms}) % {bucket_ms}) / {bucket_ms}"
    kept = 'SELECT payer, "user", bucket, count, cents FROM rollups WHERE unit = ?'
    summed = f"SELECT payer, x'', {floor}, count(*), sum(cents) FROM entries GROUP BY 1, 3"
    if unit == DAILY:  # sums of one user are kept by day only
        summed += (
            f' UNION ALL SELECT payer, "user", {floor}, count(*), sum(cents) FROM entries'
            " WHERE \"user\" <> x'' GROUP BY 1, 2, 3"
        )
    texts = [
        f"{attribution_id(row[0])}: {name} {row[2]} {what} {row[3:]}"
        for what, left, right in (("keeps", kept, summed), ("should keep", summed, kept))
        for row in select(
            f"SELECT * FROM ({left}) AS one EXCEPT SELECT * FROM ({right}) AS other LIMIT ?",
            (unit, BREACHES_SHOWN),
        )
    ]
    checked = select("SELECT count(*) FROM rollups WHERE unit = ?", (unit,))[0][0]
    return _law(f"usage totals by {name} are the sums of the entries", checked, texts)


def _drafts(select: _All) -> tuple[str, int, list[str]]:
    rows = select(
        "SELECT c.payer, c.carried_cents + c.note_cents + c.invoice_cents"
        " + coalesce((SELECT sum(cents) FROM cycle_lines l"
        "             WHERE l.payer = c.payer AND l.number = c.number), 0)"
        " + coalesce((SELECT sum(cents) FROM accruals a WHERE a.payer = c.payer), 0)"
        " - coalesce((SELECT sum(cents) FROM cycle_bases b WHERE b.payer = c.payer), 0),"
        " coalesce((SELECT booked_cents + running_cents FROM balances b"
        "           WHERE b.payer = c.payer), 0) FROM open_cycles c"
    )
    return _law(
        "carried balance + lines + credit notes + invoices of the open cycle = balance",
        len(rows),
        [
            f"{attribution_id(payer)}: draft {draft} cents, balance {balance} cents"
            for payer, draft, balance in rows
            if draft != balance
        ],
    )


def _inbox(select: _All) -> tuple[str, int, list[str]]:
    count = select("SELECT count(*) FROM inbox")[0][0]
    twice = select(
        "SELECT position, count(*) FROM inbox GROUP BY position HAVING count(*) > 1 LIMIT ?",
        (BREACHES_SHOWN,),
    )
    lost = select(
        "SELECT i.position FROM inbox i LEFT JOIN stored_events e ON e.position = i.position"
        " WHERE e.position IS NULL LIMIT ?",
        (BREACHES_SHOWN,),
    )
    recorded = select("SELECT coalesce(sum(recorded), 0) FROM deliveries")[0][0]
    breaches = [f"position {position} stands under {n} ids" for position, n in twice]
    breaches += [f"position {row[0]} is not in the log" for row in lost]
    if count != recorded:
        breaches.insert(0, f"{count} ids are taken, {recorded} events were recorded")
    return _law("every recorded event has its source and id, once", count, breaches)
