"""Heads, proofs and verification of AuditService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

from facade.audit.messages import (
    consistency_proof,
    event_proof,
    head_message,
    told_message,
)
from facade.boundary import Call, Context, answering, author_of, unary
from facade.queries import page_size, read_cursor, write_cursor
from ledger.acts import rebuild_tree
from ledger.application import Ledger
from ledger.audit import proofs
from ledger.audit.keys import KeyList, KeysError, parse_key_list, read_key_list
from ledger.audit.notes import Note, NoteError, parse_note
from ledger.audit.proofs import ByHead, BySize, Find
from ledger.audit.stepwise import Verification
from ledger.errors import InvalidArgumentError, NotFoundError
from ledger.queries import Queries
from ledger.shards import Shard
from ledger.views import Head
from usage_ledger.v1 import audit_proofs_pb2 as pb

KEPT_HEADS_MAX = 1_000  # in one Verify
_INT64_MAX = 2**63 - 1


class ProofServicer:
    """What lets others check the log."""

    def __init__(self, ledger: Ledger) -> None:
        """Serve a ledger."""
        self._ledger = ledger

    # Heads -------------------------------------------------------------------------------------

    async def list_heads(
        self, request: pb.ListHeadsRequest, _context: Context
    ) -> pb.ListHeadsResponse:
        """List a shard's heads, newest first, or find one."""
        shard = self._shard(request.shard)
        size = page_size(request.page_size)
        if request.number or request.newest_of_key:
            return await self._find_head(shard, request)
        raw = read_cursor(request.cursor, 8)
        before = _INT64_MAX if raw is None else min(int.from_bytes(raw), _INT64_MAX)
        heads = await shard.read(lambda queries: queries.reader.tree.heads_before(before, size + 1))
        more = write_cursor(heads[size - 1].number.to_bytes(8)) if len(heads) > size else ""
        return pb.ListHeadsResponse(
            heads=[head_message(shard.number, head) for head in heads[:size]], next_cursor=more
        )

    async def _find_head(self, shard: Shard, request: pb.ListHeadsRequest) -> pb.ListHeadsResponse:
        if request.number and request.newest_of_key:
            raise InvalidArgumentError("number and newest_of_key are both given: give one of them")

        def find(queries: Queries) -> Head | None:
            tree = queries.reader.tree
            if request.number:
                return tree.head(request.number)
            return tree.last_head_of(request.newest_of_key)

        head = await shard.read(find)
        if head is None and request.number:
            raise NotFoundError(f"head {request.number} of shard {shard.number} is not there")
        found = [] if head is None else [head_message(shard.number, head)]
        return pb.ListHeadsResponse(heads=found)

    async def sign_heads(
        self, _request: pb.SignHeadsRequest, context: Context
    ) -> pb.SignHeadsResponse:
        """Sign heads over what is recorded so far."""
        signed, uncovered = await self._ledger.heads.sign(author_of(context, self._ledger.operator))
        return pb.SignHeadsResponse(
            heads=[head_message(shard.number, head) for shard, head in signed],
            uncovered=uncovered,
        )

    async def rebuild_tree(
        self, request: pb.RebuildTreeRequest, context: Context
    ) -> pb.RebuildTreeResponse:
        """Let a tree be computed anew."""
        shard = self._shard(request.shard)
        author = author_of(context, self._ledger.operator)
        await rebuild_tree(self._ledger, shard, author)
        return pb.RebuildTreeResponse()

    # Proofs ------------------------------------------------------------------------------------

    async def get_event_proof(
        self, request: pb.GetEventProofRequest, _context: Context
    ) -> pb.GetEventProofResponse:
        """Prove that an event is in the log that a head covers."""
        if request.head < 0:
            raise InvalidArgumentError(f"head {request.head}: heads are counted from 1")
        find, shards, name = self._event(request)
        prove = partial(proofs.prove_event, find=find, head=request.head)
        for shard in shards:
            found = await shard.read(prove)
            if found is not None:
                return event_proof(shard.number, found)
        raise NotFoundError(f"no event was recorded {name}")

    def _event(self, request: pb.GetEventProofRequest) -> tuple[Find, Sequence[Shard], str]:
        """Say how the event is found, in which shards, and how it was named."""
        match request.WhichOneof("event"):
            case "position":
                shard = self._shard(request.position.shard)
                number = request.position.number
                return proofs.at_position(number), [shard], f"at position {number}"
            case "stream_version":
                stream, version = request.stream_version.stream, request.stream_version.version
                name = f"in stream {stream[:200]!r} as version {version}"
                return proofs.in_stream(stream, version), self._ledger.shards, name
            case "recorded_id":
                source, event_id = request.recorded_id.source, request.recorded_id.id
                name = f"from source {source[:200]!r} under the ID {event_id[:200]!r}"
                return proofs.published_as(source, event_id), self._ledger.shards, name
        raise InvalidArgumentError(
            "position, stream_version and recorded_id are missing: name the event by one of them"
        )

    async def get_consistency_proof(
        self, request: pb.GetConsistencyProofRequest, _context: Context
    ) -> pb.GetConsistencyProofResponse:
        """Prove that one tree begins another."""
        shard = self._shard(request.shard)
        first, second = _point(request.first, "first"), _point(request.second, "second")
        found = await shard.read(lambda queries: proofs.prove_consistency(queries, first, second))
        return consistency_proof(shard.number, found)

    # Verification ------------------------------------------------------------------------------

    async def verify(
        self, request: pb.VerifyRequest, _context: Context
    ) -> AsyncIterator[pb.VerifyResponse]:
        """Recompute trees on connections and threads of their own, one after the other."""
        shards = self._ledger.shards
        if request.HasField("shard"):
            shards = [self._shard(request.shard)]
        keys = await asyncio.to_thread(self._keys, request.keys)
        kept = _kept(request.kept_heads)
        await self._refuse_strangers(kept)
        for shard in shards:
            verification = Verification(shard, keys, kept)
            try:
                while (told := await shard.work_long(verification.go_on)) is not None:
                    yield told_message(shard.number, told)
            finally:
                await asyncio.to_thread(verification.close)

    def _keys(self, given: bytes) -> KeyList:
        """Give the list of keys to believe."""
        try:
            if given:
                return parse_key_list(given, "keys")
            return read_key_list(self._ledger.settings.keys_path, may_lack=True)
        except KeysError as error:
            raise InvalidArgumentError(str(error)) from None

    async def _refuse_strangers(self, kept: Sequence[Note]) -> None:
        """Refuse heads that are no shard's: nobody must think they were compared."""
        states = await self._ledger.read_all(lambda queries: queries.reader.tree.state())
        origins = {state.origin for state in states}
        for note in kept:
            if note.checkpoint.origin not in origins:
                raise InvalidArgumentError(
                    f"kept_heads has a head of {note.checkpoint.origin!r}, but the trees here are"
                    f" {', '.join(sorted(origins))}"
                )

    def _shard(self, number: int) -> Shard:
        if number >= len(self._ledger.shards):
            raise InvalidArgumentError(
                f"shard {number}: there are {len(self._ledger.shards)}, numbered from 0"
            )
        return self._ledger.shards[number]


def _kept(notes: Sequence[str]) -> list[Note]:
    if len(notes) > KEPT_HEADS_MAX:
        raise InvalidArgumentError(f"{len(notes)} kept_heads: at most {KEPT_HEADS_MAX}")
    try:
        return [parse_note(note) for note in notes]
    except NoteError as error:
        raise InvalidArgumentError(f"kept_heads: {error}") from None


def _point(point: pb.TreePoint, name: str) -> ByHead | BySize:
    match point.WhichOneof("point"):
        case "head":
            return ByHead(point.head)
        case "size":
            return BySize(point.size)
    raise InvalidArgumentError(f"{name} is missing: name a head or a size")


def methods(ledger: Ledger) -> Mapping[str, Call]:
    """Give the calls."""
    servicer = ProofServicer(ledger)
    return {
        "ListHeads": unary(pb.ListHeadsRequest, servicer.list_heads),
        "SignHeads": unary(pb.SignHeadsRequest, servicer.sign_heads),
        "GetEventProof": unary(pb.GetEventProofRequest, servicer.get_event_proof),
        "GetConsistencyProof": unary(pb.GetConsistencyProofRequest, servicer.get_consistency_proof),
        "Verify": answering(pb.VerifyRequest, servicer.verify),
        "RebuildTree": unary(pb.RebuildTreeRequest, servicer.rebuild_tree),
    }
