"""What a pack of everything tells beside the log: no proof covers it, and an import goes by it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from events.readable import attribution_id, uuid_bytes
from ledger.audit.packs.layout import Count, PackError, Shard, folder_of
from ledger.audit.packs.reading import Pack
from persistence import Counts, Transaction

PAGE = 5_000


class RecordedIdLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Under which source and id an event was recorded."""

    source: str
    key: bytes
    digest: bytes
    position: Count


class DeliveryLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A source of delivery with its counts."""

    name: str
    received: Count
    recorded: Count
    repeated: Count
    rejected: Count


class PlacementLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In which shard a payer lives."""

    attribution_id: str
    shard: Count


def write_recorded_ids(pack: Pack, shard: Shard, transaction: Transaction) -> None:
    """Write under which sources and ids events were recorded."""
    numbers: dict[str, int] = {}
    for page in pack.pages(f"{folder_of(shard.shard)}/recorded-ids.jsonl", RecordedIdLine, PAGE):
        rows: list[tuple[int, bytes, bytes, int]] = []
        for line in page:
            _refuse_position(shard, line.position, "recorded-ids.jsonl")
            if line.source not in numbers:
                numbers[line.source] = transaction.source_number(line.source)
            rows.append((numbers[line.source], line.key, line.digest, line.position))
        transaction.add_inbox(rows)


def write_deliveries(pack: Pack, shard: Shard, transaction: Transaction) -> None:
    """Write what was counted of each delivery."""
    for page in pack.pages(f"{folder_of(shard.shard)}/deliveries.jsonl", DeliveryLine, PAGE):
        for line in page:
            counts = Counts(line.received, line.recorded, line.repeated, line.rejected)
            if counts.received != counts.recorded + counts.repeated + counts.rejected:
                raise PackError(
                    f"{folder_of(shard.shard)}/deliveries.jsonl: what was received is not the sum"
                    " of what was recorded, repeated and rejected"
                )
            transaction.count(transaction.delivery(line.name), counts)


def refuse_elsewhere(pack: Pack, shard: Shard, living: Iterable[bytes]) -> None:
    """Refuse a placement by which what comes later of a payer would go to another shard."""
    shards, waiting = len(pack.manifest.shards), set(living)
    for page in pack.pages("placement.jsonl", PlacementLine, PAGE):
        for line in page:
            payer = _payer_of(line)
            if payer in waiting and line.shard == shard.shard:
                waiting.remove(payer)
    # In a ledger of one shard there is no other place.
    if waiting and shards > 1:
        raise PackError(
            f"{attribution_id(min(waiting))} has events in shard {shard.shard}, and"
            " placement.jsonl does not say that it lives there"
        )


def write_placement(pack: Pack, transaction: Transaction) -> None:
    """Write in which shard each payer lives."""
    shards = len(pack.manifest.shards)
    for page in pack.pages("placement.jsonl", PlacementLine, PAGE):
        placed: dict[bytes, int] = {}
        for line in page:
            if not 0 <= line.shard < shards:
                raise PackError(f"placement.jsonl names a shard {line.shard}")
            placed[_payer_of(line)] = line.shard
        transaction.place(placed)


def _refuse_position(shard: Shard, position: int, name: str) -> None:
    if not 0 < position <= shard.last_position:
        raise PackError(f"{folder_of(shard.shard)}/{name} names a position {position:,}")


def _payer_of(line: PlacementLine) -> bytes:
    try:
        return uuid_bytes(line.attribution_id.removeprefix("team:"))
    except ValueError:
        raise PackError(f"placement.jsonl names a payer {line.attribution_id[:80]!r}") from None
