"""Where the log is cut: after the last event recorded at or before a time, or after a position."""

from __future__ import annotations

from typing import NamedTuple

from events import recorded_time
from ledger.errors import InvalidArgumentError, UnavailableError
from persistence import ClockReader

# So many events are looked at a time: four questions find one in ten million.
PROBES = 64


class NotFoldedError(UnavailableError):
    """The cut is recorded and entries are not folded up to there: a projector will."""


class Cut(NamedTuple):
    """What of the log an answer knows."""

    position: int  # of the last event in it, or a missing one behind; 0: of the empty log
    recorded_at: int | None  # when its last event was recorded; None for the empty log
    head: int  # of the whole log


class KnownAt(NamedTuple):
    """What was asked: a time in ms or a position; neither means all that is folded."""

    time: int | None = None
    position: int | None = None


def cut_at(rows: ClockReader, known_at: KnownAt, *, now: int) -> Cut:
    """Find the cut; InvalidArgumentError for what lies ahead, NotFoldedError for what waits."""
    head, folded = rows.head(), rows.folded()
    position = _position(rows, known_at, head=head, folded=folded, now=now)
    if position > folded:
        raise NotFoldedError(
            f"position {position} is recorded and not folded yet: entries are known up to"
            f" {folded}; try again, or see `usage-ledger status`"
        )
    return Cut(position, _recorded_at(rows, position), head)


def _position(rows: ClockReader, known_at: KnownAt, *, head: int, folded: int, now: int) -> int:
    if known_at.position is not None:
        if not 0 <= known_at.position <= head:
            raise InvalidArgumentError(
                f"known_at position {known_at.position}: the log has the positions 1 to {head};"
                " 0 is before the first event"
            )
        return known_at.position
    if known_at.time is None:
        return folded
    newest = _recorded_at(rows, head)
    if newest is None or known_at.time >= newest:
        if known_at.time > max(now, newest or 0):
            raise InvalidArgumentError(
                "known_at lies in the future: what will be known then is not known yet"
            )
        return head
    return _search(rows, known_at.time, head)


def last_recorded_by(rows: ClockReader, time: int, cut: Cut) -> int:
    """Give the position of the last event of a cut that was recorded at or before a time."""
    if cut.recorded_at is None or cut.recorded_at <= time:
        return cut.position
    return _search(rows, time, cut.position)


def _recorded_at(rows: ClockReader, position: int) -> int | None:
    """Give when the newest event at or before a position was recorded; None before the first.

    Positions may be missing, and can be asked for all the same.
    """
    found = rows.last_state(position) if position else None
    return None if found is None else recorded_time(found[1])


def _search(rows: ClockReader, time: int, head: int) -> int:
    """Search: recorded times never go back. The head was recorded later."""
    low, high = 0, head  # the wanted one is low or lies between them
    while high - low > 1:
        step = max((high - low) // PROBES, 1)
        probed = rows.states(range(low + step, high, step))
        if not probed:  # positions are missing there
            probed = rows.next_states(low, 1)
            if not probed or probed[0][0] >= high:
                break
        for position, state in probed:
            if recorded_time(state) > time:
                high = position
                break
            low = position
    return low
