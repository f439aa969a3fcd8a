"""Voiding instances and credit notes, and what was voided."""

from __future__ import annotations

from collections.abc import Mapping

from facade.answers import entry_kind
from facade.boundary import Call, Context, author_of, shown_reason, unary
from facade.queries import page_size, read_cursor, write_cursor
from facade.translate import timestamp
from ledger.application import Ledger
from ledger.audit import voiding
from ledger.commands.credit_notes import payer_of
from ledger.queries import personal_text
from ledger.views import VoidRow, attribution_id, decode, uuid_text
from usage_ledger.v1 import audit_corrections_pb2 as pb
from usage_ledger.v1 import publishing_pb2

_POSITION_BYTES = 8
_INT64_MAX = 2**63 - 1


class CorrectionsServicer:
    """The three calls."""

    def __init__(self, ledger: Ledger) -> None:
        """Serve a ledger."""
        self._ledger = ledger

    async def void_instance(
        self, request: pb.VoidInstanceRequest, context: Context
    ) -> pb.VoidInstanceResponse:
        """Void a workspace instance."""
        voided = await voiding.void_instance(
            self._ledger,
            request.workspace_instance_id,
            attribution=request.attribution_id,
            reason=request.reason,
            author=author_of(context, self._ledger.operator),
        )
        return pb.VoidInstanceResponse(
            attribution_id=attribution_id(voided.payer),
            position=_position(voided.shard, voided.position),
        )

    async def void_credit_note(
        self, request: pb.VoidCreditNoteRequest, context: Context
    ) -> pb.VoidCreditNoteResponse:
        """Void a credit note."""
        voided = await voiding.void_credit_note(
            self._ledger,
            request.attribution_id,
            request.entry_id,
            reason=request.reason,
            author=author_of(context, self._ledger.operator),
        )
        return pb.VoidCreditNoteResponse(position=_position(voided.shard, voided.position))

    async def list_voids(
        self, request: pb.ListVoidsRequest, _context: Context
    ) -> pb.ListVoidsResponse:
        """List what was voided of a payer."""
        payer = payer_of(request.attribution_id)
        size = page_size(request.page_size)
        raw = read_cursor(request.cursor, _POSITION_BYTES)
        before = _INT64_MAX if raw is None else min(int.from_bytes(raw), _INT64_MAX)
        rows, shard = await voiding.list_voids(self._ledger, payer, before=before, limit=size + 1)
        more = len(rows) > size
        return pb.ListVoidsResponse(
            voids=[_voided(row, shard) for row in rows[:size]],
            next_cursor=write_cursor(rows[size - 1].void.position.to_bytes(_POSITION_BYTES))
            if more
            else "",
        )


def methods(ledger: Ledger) -> Mapping[str, Call]:
    """Give this part's calls."""
    servicer = CorrectionsServicer(ledger)
    return {
        "VoidInstance": unary(pb.VoidInstanceRequest, servicer.void_instance),
        "VoidCreditNote": unary(pb.VoidCreditNoteRequest, servicer.void_credit_note),
        "ListVoids": unary(pb.ListVoidsRequest, servicer.list_voids),
    }


def _position(shard: int, number: int) -> publishing_pb2.Position:
    return publishing_pb2.Position(shard=shard, number=number)


def _voided(row: VoidRow, shard: int) -> pb.VoidedEntry:
    void = row.void
    event = decode(row.topic, row.state)
    return pb.VoidedEntry(
        position=_position(shard, void.position),
        recorded=timestamp(event.recorded_at),
        author=event.author,
        reason=shown_reason(personal_text(row.personal)),
        kind=entry_kind(void.kind),
        entry_id=uuid_text(void.entry_id),
        workspace_instance_id=uuid_text(void.instance) if void.instance else "",
        effective_time=timestamp(void.effective),
        credit_cents=void.cents,
        user_id=uuid_text(void.user) if void.user else "",
    )
