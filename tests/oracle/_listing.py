"""Ranges and pages of ListUsage (section 4)."""

from dataclasses import dataclass
from typing import Literal

from ._entries import Entry
from ._times import NS_PER_DAY, NS_PER_MS, YEAR_1_NS, cut_to_ms, in_years_1_to_9999
from .refused import CallError

RANGE_DAYS_MAX = 300


@dataclass(frozen=True, kw_only=True)
class UsagePage:
    """One page; `total`, `total_pages` and `total_cents` are over the whole range."""

    entries: tuple[Entry, ...]
    total: int
    total_pages: int
    total_cents: int
    per_page: int
    page: int


def range_ms(now_ns: int, *, from_ns: int | None, to_ns: int | None) -> tuple[int, int]:
    """[from, to) in milliseconds, checked as sent, to the nanosecond. Raises CallError.

    Reading: "rounded up to the next millisecond" is the next one even if now is a whole
    millisecond, so that what a reconcile dated now is in the list at once.
    """
    for name, at_ns in (("from", from_ns), ("to", to_ns)):
        if at_ns is not None and not in_years_1_to_9999(at_ns):
            raise CallError("INVALID_ARGUMENT", name)
    end_ns = (now_ns // NS_PER_MS + 1) * NS_PER_MS if to_ns is None else to_ns
    range_ns_max = RANGE_DAYS_MAX * NS_PER_DAY
    first_ns = max(end_ns - range_ns_max, YEAR_1_NS) if from_ns is None else from_ns
    if first_ns > end_ns:
        raise CallError("INVALID_ARGUMENT", "from")
    if end_ns - first_ns > range_ns_max:
        raise CallError("INVALID_ARGUMENT", "range")
    return cut_to_ms(first_ns), cut_to_ms(end_ns)


def page_of(
    entries: list[Entry],
    *,
    order: Literal["ascending", "descending"],
    per_page: int,
    page: int,
) -> UsagePage:
    """Sorted by effective time, ties by id ascending in both orders."""
    by_id = sorted(entries, key=lambda entry: entry.entry_id)
    ordered = sorted(by_id, key=lambda entry: entry.effective_ms, reverse=order == "descending")
    first = (page - 1) * per_page
    return UsagePage(
        entries=tuple(ordered[first : first + per_page]),
        total=len(ordered),
        total_pages=-(-len(ordered) // per_page),
        total_cents=sum(entry.cents for entry in ordered),
        per_page=per_page,
        page=page,
    )
