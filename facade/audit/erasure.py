"""Erasing the personal data of a user, and what was erased."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing

from facade.boundary import Call, Context, answering, author_of, unary
from facade.queries import page_size, read_cursor, write_cursor
from facade.translate import timestamp
from ledger.application import Ledger
from ledger.audit.erased import Erasure
from ledger.audit.erasure import Looked, check_wanted
from ledger.views import uuid_text
from usage_ledger.v1 import audit_erasure_pb2 as pb
from usage_ledger.v1.publishing_pb2 import Position

_STATES = {
    "counted": pb.ERASURE_STATE_COUNTED,
    "erasing": pb.ERASURE_STATE_ERASING,
    "scrubbing": pb.ERASURE_STATE_SCRUBBING,
    "done": pb.ERASURE_STATE_DONE,
}


def methods(ledger: Ledger) -> Mapping[str, Call]:
    """Give the calls about erasures."""
    servicer = _Servicer(ledger)
    return {
        "EraseUser": answering(pb.EraseUserRequest, servicer.erase_user),
        "ListErasures": unary(pb.ListErasuresRequest, servicer.list_erasures),
    }


class _Servicer:
    """The calls about erasures."""

    def __init__(self, ledger: Ledger) -> None:
        """Serve a ledger."""
        self._ledger = ledger

    async def erase_user(
        self, request: pb.EraseUserRequest, context: Context
    ) -> AsyncIterator[pb.EraseUserResponse]:
        """Erase, or count what would be erased."""
        erasures = self._ledger.erasures
        wanted = check_wanted(
            request.user_id, request.reason, request.texts, needs_reason=not request.dry_run
        )
        steps = (
            erasures.count(wanted)
            if request.dry_run
            else erasures.erase(wanted, author_of(context, self._ledger.operator))
        )
        async with aclosing(steps):
            async for step in steps:
                yield _answer(step)

    async def list_erasures(
        self, request: pb.ListErasuresRequest, _context: Context
    ) -> pb.ListErasuresResponse:
        """List erasures by user; a page has so many users."""
        size = page_size(request.page_size)
        after = read_cursor(request.cursor, 16) or b""
        found = await self._ledger.erasures.page(after=after, limit=size + 1)
        return pb.ListErasuresResponse(
            erasures=[_erasure(each) for of_user in found[:size] for each in of_user],
            next_cursor=write_cursor(found[size - 1][0].user) if len(found) > size else "",
        )


def _answer(step: Looked | Erasure) -> pb.EraseUserResponse:
    if isinstance(step, Erasure):
        return pb.EraseUserResponse(erasure=_erasure(step))
    return pb.EraseUserResponse(shard=step.shard, looked_at=step.events, events=step.of)


def _erasure(erasure: Erasure) -> pb.Erasure:
    return pb.Erasure(
        user_id=uuid_text(erasure.user),
        number=erasure.number,
        requested=timestamp(erasure.requested_at),
        author=erasure.author,
        reason=erasure.reason,
        personal_rows=erasure.personal_rows,
        dead_letters=erasure.dead_letters,
        state=_STATES[erasure.state],
        repeated=erasure.repeated,
        positions=[Position(shard=shard, number=position) for shard, position in erasure.positions],
        failures=erasure.failures,
    )
