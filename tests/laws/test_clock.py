"""A clock that leaps is found however the log is cut into batches."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from events import ClockConfirmed, LedgerEvent, Recorded, SpendingLimitSet, UsageReconciled
from projections import ClockRow
from projections.clock import LEAP_MS, fold_clock

PAYER = bytes(16)
HOUR_MS = 3_600_000
EMPTY = ClockRow(0, None, None)

# Around a leap, and what is usual.
# Of several shards' logs some went back.
steps = st.sampled_from(
    (0, 1, HOUR_MS, LEAP_MS - 1, LEAP_MS, LEAP_MS + 1, 3 * LEAP_MS, -HOUR_MS, -2 * LEAP_MS)
)
kinds = st.sampled_from(("limit", "limit", "reconcile", "confirm"))


def event(kind: str, at: int, back: int) -> LedgerEvent:
    match kind:
        case "reconcile":
            return UsageReconciled(at, "test", at - back, 0, 0, HOUR_MS)
        case "confirm":
            return ClockConfirmed(at, "test", at)
        case _:
            return SpendingLimitSet(at, "test", PAYER, 1)


@given(
    st.lists(st.tuples(kinds, steps, st.sampled_from((0, 0, 2 * LEAP_MS))), min_size=1),
    st.lists(st.integers(1, 5)),
)
def test_batches_never_matter(drawn: list[tuple[str, int, int]], sizes: list[int]) -> None:
    times = accumulate((step for _, step, _ in drawn), initial=100 * LEAP_MS)
    next(times)
    log = [
        Recorded(f"s:{n}", 1, event(kind, at, back), n)
        for n, ((kind, _, back), at) in enumerate(zip(drawn, times, strict=True), 1)
    ]
    one_by_one = EMPTY
    for recorded in log:
        one_by_one = fold_clock(one_by_one, [recorded])
    batched, start = EMPTY, 0
    for end in (*accumulate(sizes), len(log)):
        if batch := log[start:end]:
            batched = fold_clock(batched, batch)
            start = end
    assert one_by_one == batched
