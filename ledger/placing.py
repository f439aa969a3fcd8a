"""Which shard a payer lives in: one row, written before its first event and never changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from events import WorkspaceInstanceVoided, decode
from events.readable import attribution_id
from ledger.errors import FailedPreconditionError, StartRefusedError, UnavailableError
from ledger.identifiers import parse_uuid
from ledger.shards import Shard
from persistence import StreamEvent

KNOWN_MAX = 1_000_000  # placements kept in memory, about 150 bytes each


class Placing:
    """Finds and makes placements; they lie in the first shard's store."""

    def __init__(self, shards: Sequence[Shard], open_to_new: Sequence[int]) -> None:
        """`open_to_new` names the shards that take payers nobody has placed yet."""
        self._shards = shards
        self._open = sorted(open_to_new)
        self._known: dict[bytes, int] = {}

    def chosen(self, payer: bytes) -> int:
        """Choose the shard of a new payer: by a hash, over the shards that are open.

        By the hash by which Kafka's clients choose a partition for the payer's key. So where the
        open shards divide the number of partitions, all payers of a partition live in one shard,
        and a batch of the intake is one transaction. Nothing depends on that but speed.
        """
        key = attribution_id(payer).encode()
        return self._open[_murmur2(key) % len(self._open)]

    async def find(self, payer: bytes) -> Shard:
        """Give a payer's shard; the first one, which has nothing of it, before its first event."""
        if len(self._shards) == 1:
            return self._shards[0]
        number = self._known.get(payer)
        if number is None:
            number = await self._shards[0].read(lambda q: q.reader.placement(payer))
            if number is None:
                return self._shards[0]
            self._remember({payer: number})
        return self._shard(number)

    async def find_all(self, payers: Iterable[bytes]) -> dict[int, list[bytes]]:
        """Give payers by the number of their shard."""
        found: dict[int, list[bytes]] = {}
        for payer in payers:
            found.setdefault((await self.find(payer)).number, []).append(payer)
        return found

    async def place(self, payers: Iterable[bytes]) -> dict[bytes, int]:
        """Give the shards of payers that are about to have events; new ones are placed for ever.

        With a single shard its writer places them, in the transaction of their first event.
        """
        wanted = set(payers)
        if len(self._shards) == 1:
            return dict.fromkeys(wanted, 0)
        missing = sorted(payer for payer in wanted if payer not in self._known)
        if missing:
            choice = {payer: self.chosen(payer) for payer in missing}
            self._remember(await self._shards[0].beside(lambda t: t.place(choice)))
        return {payer: self._known[payer] for payer in wanted}

    async def place_one(self, payer: bytes) -> Shard:
        """Give the shard of a payer that is about to have an event."""
        return self._shard((await self.place([payer]))[payer])

    async def of_instance(self, instance_id: str, payer: bytes | None = None) -> Shard:
        """Give the shard that knows an instance; the first one when none does.

        Several may, for intake cannot refuse an ID that another shard has. Then it is the one in
        which it counts; when it was voided everywhere, where that was last.
        """
        if len(self._shards) == 1:
            return self._shards[0]
        if payer is not None:
            return await self.find(payer)
        stream = f"instance:{parse_uuid(instance_id)}"
        streams = [await shard.read(lambda q: q.reader.stream(stream)) for shard in self._shards]
        known = {
            shard: events[-1] for shard, events in zip(self._shards, streams, strict=True) if events
        }
        counting = [shard for shard, newest in known.items() if not is_void(newest)]
        if len(counting) > 1:
            raise FailedPreconditionError(
                f"workspace instance {instance_id[:80]} is recorded under payers of"
                f" {len(counting)} shards: say which payer's, or void the wrong one;"
                " `usage-ledger check` lists them"
            )
        if counting:
            return counting[0]
        return max(known, key=lambda shard: _recorded_at(known[shard]), default=self._shards[0])

    def _shard(self, number: int) -> Shard:
        if number >= len(self._shards):
            raise UnavailableError(
                f"the payer lives in shard {number}, which this process does not know: restart it"
                " with every shard configured"
            )
        return self._shards[number]

    def _remember(self, placed: dict[bytes, int]) -> None:
        if len(self._known) + len(placed) > KNOWN_MAX:
            self._known.clear()
        self._known.update(placed)


def is_void(newest: StreamEvent) -> bool:
    """Say by the newest event of an instance's stream whether nothing of it counts any more."""
    return newest.topic == WorkspaceInstanceVoided.TOPIC


def _recorded_at(stored: StreamEvent) -> int:
    return decode(stored.topic, stored.state).recorded_at


def refuse_missing_shards(shards: Sequence[Shard]) -> None:
    """Refuse to start without a shard in which payers live."""
    highest = shards[0].queries.reader.highest_shard()
    if highest >= len(shards):
        raise StartRefusedError(
            f"payers live in shard {highest}, but {len(shards)} shards are configured, numbered"
            " from 0: configure every shard that was ever open"
        )


_SEED, _FACTOR, _32_BITS = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF


def _murmur2(key: bytes) -> int:
    """MurmurHash2 as Kafka's clients seed it, as a number that is not negative."""
    whole = len(key) & ~3
    state = _SEED ^ len(key)
    for at in range(0, whole, 4):
        word = int.from_bytes(key[at : at + 4], "little") * _FACTOR & _32_BITS
        word = (word ^ word >> 24) * _FACTOR & _32_BITS
        state = state * _FACTOR & _32_BITS ^ word
    if whole < len(key):
        state = (state ^ int.from_bytes(key[whole:], "little")) * _FACTOR & _32_BITS
    state = (state ^ state >> 13) * _FACTOR & _32_BITS
    return (state ^ state >> 15) & 0x7FFFFFFF
