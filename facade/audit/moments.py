"""Moments, ranges and differences as messages."""

from __future__ import annotations

from typing import NamedTuple

from facade.answers import entry_kind
from facade.queries import read_cursor
from facade.translate import nanoseconds, text_of, timestamp
from ledger.audit.clocks import Answer, Moment
from ledger.audit.cuts import KnownAt
from ledger.audit.differences import PLACE_BYTES, Difference, Place, Side, read_place
from ledger.errors import InvalidArgumentError
from ledger.queries import RANGE_MS_MAX
from ledger.views import TIME_MIN, uuid_text
from usage_ledger.v1 import audit_clocks_pb2 as pb
from usage_ledger.v1 import publishing_pb2

_NS_PER_MS = 1_000_000
_INT64_MAX = 2**63 - 1


def moment_of(message: pb.Moment, prefix: str = "") -> Moment:
    """Read a moment; times are cut to the millisecond."""
    as_of = nanoseconds(message, "as_of")
    known_at, shard = KnownAt(), None
    time = nanoseconds(message, "known_at_time")
    if time is not None:
        known_at = KnownAt(time=time // _NS_PER_MS)
    elif message.HasField("known_at_position"):
        position = message.known_at_position
        if not 0 <= position.number <= _INT64_MAX:
            raise InvalidArgumentError(
                f"{prefix}known_at position {position.number}: must not be negative"
            )
        known_at, shard = KnownAt(position=position.number), position.shard
    return Moment(None if as_of is None else as_of // _NS_PER_MS, known_at, shard)


class UsageRange(NamedTuple):
    """Which dates a listing is of, in ms; None: by default."""

    start: int | None
    end: int | None
    moment: Moment

    def of(self, recorded_at: int | None) -> tuple[int, int]:
        """Complete it: behind `as_of`, else behind `known_at`."""
        end = self.end
        if end is None:
            newest = self.moment.as_of
            if newest is None:
                newest = self.moment.known_at.time
            if newest is None:
                newest = recorded_at if recorded_at is not None else TIME_MIN
            end = newest + 1
        start = self.start
        if start is None:
            start = max(end - RANGE_MS_MAX, TIME_MIN)
        if start > end:
            raise InvalidArgumentError(
                f"from {text_of(start * _NS_PER_MS)}: must not be after to,"
                f" {text_of(end * _NS_PER_MS)}"
            )
        if end - start > RANGE_MS_MAX:
            raise InvalidArgumentError(
                f"from {text_of(start * _NS_PER_MS)} to {text_of(end * _NS_PER_MS)}: at most 300"
                " days"
            )
        return start, end


def usage_range(request: pb.ListUsageAtRequest, moment: Moment) -> UsageRange:
    """Read the dates that a listing is asked for."""
    start, end = nanoseconds(request, "from"), nanoseconds(request, "to")
    return UsageRange(
        None if start is None else start // _NS_PER_MS,
        None if end is None else end // _NS_PER_MS,
        moment,
    )


def answered(of: Answer) -> pb.AnsweredMoment:
    """Say which moment an answer is of."""
    return pb.AnsweredMoment(
        position=publishing_pb2.Position(shard=of.shard, number=of.cut.position),
        recorded=timestamp(of.cut.recorded_at),
        as_of=timestamp(of.as_of),
        personal_data_as_of_now=True,
    )


class DifferencePage(NamedTuple):
    """Where a page of differences begins."""

    place: Place
    positions: tuple[int, int]


def difference_page(cursor: str) -> DifferencePage | None:
    """Read a cursor; None for the first page."""
    raw = read_cursor(cursor, PLACE_BYTES)
    return None if raw is None else DifferencePage(*read_place(raw))


def difference(each: Difference, shard: int) -> pb.EntryDifference:
    """Translate a difference."""
    message = pb.EntryDifference(
        kind=entry_kind(each.kind),
        entry_id=uuid_text(each.entry_id),
        workspace_class=each.workspace_class,
        user_id=uuid_text(each.user) if each.user else "",
        first=_side(each.first),
        second=_side(each.second),
        difference_cents=_cents(each.second) - _cents(each.first),
        cause=pb.EntryDifference.Cause.Value(f"CAUSE_{each.cause.name}"),
    )
    if each.instance:
        message.workspace_instance_id = uuid_text(each.instance)
    if each.position:
        message.position.CopyFrom(publishing_pb2.Position(shard=shard, number=each.position))
    return message


def _side(side: Side | None) -> pb.EntrySide | None:
    if side is None:
        return None
    return pb.EntrySide(
        effective_time=timestamp(side.dated), credit_cents=side.cents, running=side.running
    )


def _cents(side: Side | None) -> int:
    return 0 if side is None else side.cents
