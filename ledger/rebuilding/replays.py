"""Replays of the shards that the settings name, into fresh files beside them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from events.readable import attribution_id
from ledger.errors import InvalidArgumentError, NotFoundError, UnavailableError
from ledger.rebuilding.building import FOLDING, Builder
from ledger.rebuilding.comparing import Comparison, Difference
from ledger.rebuilding.replaying import Replay, Wanted
from ledger.rebuilding.shards import ShardProgressed, open_generations
from ledger.settings import Settings
from persistence import FIRST, Generations
from persistence.sqlite import ReplayFile

LIVE_ROWS_SECONDS_MAX = 10.0  # so long live rows may take to come to where the file stands
LOOK_SECONDS = 0.1


class Replayed(NamedTuple):
    """What came of a shard's replay."""

    shard: int
    folder: Path
    position: int  # up to which the log was read
    folded: int  # events, this time
    seconds: float  # that took
    balance_cents: int | None  # of the payer, if one was wanted
    comparison: Comparison | None


class Asked(NamedTuple):
    """What is to be replayed."""

    wanted: Wanted
    into: Path | None  # None: into a temporary folder that is removed again
    compares: bool


def replays(
    settings: Settings,
    asked: Asked,
    *,
    progressed: ShardProgressed,
    differs: Callable[[Difference], None],
    failpoint: Callable[[str], None],
) -> Iterator[Replayed]:
    """Replay one shard after the other; those where a payer does not live are left out."""
    wanted = asked.wanted
    if asked.compares and (wanted.first > 1 or wanted.last is not None):
        raise InvalidArgumentError(
            "live rows are those of the whole log: leave out --from and --to, or --compare"
        )
    with ExitStack() as stack:
        shards = [stack.enter_context(closing(each)) for each in open_generations(settings)]
        home = _home(shards, wanted.payer)
        for shard, generations in enumerate(shards):
            if home not in {None, shard}:
                continue
            with _folder(asked.into, shard) as folder, closing(ReplayFile(folder)) as file:

                def told(done: int, of: int, shard: int = shard) -> None:
                    progressed(shard, FOLDING, done, of)

                yield _Shard(generations, file, asked, told, differs, failpoint).run(shard)


def _home(shards: list[Generations], payer: bytes) -> int | None:
    """Give the shard where a payer lives; None when everybody is wanted."""
    if not payer:
        return None
    with closing(shards[0].reader()) as reader:
        home = reader.placement(payer)
    if home is None or home >= len(shards):
        raise NotFoundError(f"nothing was recorded of {attribution_id(payer)}")
    return home


@contextmanager
def _folder(into: Path | None, shard: int) -> Iterator[Path]:
    if into is not None:
        yield into if shard == 0 else into / f"shard-{shard}"
        return
    with tempfile.TemporaryDirectory(prefix="usage-ledger-replay-") as folder:
        yield Path(folder)


class _Shard:
    """Replays one shard."""

    def __init__(
        self,
        generations: Generations,
        file: ReplayFile,
        asked: Asked,
        progressed: Callable[[int, int], None],
        differs: Callable[[Difference], None],
        failpoint: Callable[[str], None],
    ) -> None:
        self._generations = generations
        self._file = file
        self._asked = asked
        self._differs = differs
        self._reader = generations.reader()
        self._replay = Replay(
            self._reader,
            file,
            asked.wanted,
            progressed=progressed,
            failpoint=failpoint,
            reads_ahead=True,
        )

    def run(self, shard: int) -> Replayed:
        began = time.monotonic()
        replay = self._replay
        with closing(self._reader):
            if self._asked.compares:
                comparison = self._compared()
            else:
                comparison = None
                head = self._generations.progress(FIRST).head
                last = self._asked.wanted.last
                replay.run(head if last is None else min(last, head))
        if self._asked.into is not None:
            self._file.finish()
        return Replayed(
            shard,
            self._file.folder,
            replay.position,
            replay.folded,
            time.monotonic() - began,
            self._balance(),
            comparison,
        )

    def _compared(self) -> Comparison:
        reader, replay = self._reader, self._replay
        builder = Builder(self._generations, author="")
        served = builder.served()
        self._await_live_rows(served)
        replay.run(reader.stands_at(served))
        with reader.snapshot():
            # What came meanwhile, so that both stand at the same position.
            replay.run(reader.stands_at(served))
            comparison = Comparison(replay.position)
            live, _ = builder.sides(reader, served, served)
            for difference in replay.compare(live, comparison):
                self._differs(difference)
        return comparison

    def _await_live_rows(self, served: int) -> None:
        """Wait until the live rows are where an earlier run came to."""
        until = time.monotonic() + LIVE_ROWS_SECONDS_MAX
        while self._reader.stands_at(served) < self._replay.position:
            if time.monotonic() > until:
                raise UnavailableError(
                    f"{self._file.folder} is folded up to position {self._replay.position}, and the"
                    f" live rows only up to {self._reader.stands_at(served)}: try again when they"
                    " have been folded"
                )
            time.sleep(LOOK_SECONDS)

    def _balance(self) -> int | None:
        payer = self._asked.wanted.payer
        if not payer:
            return None
        with closing(self._file.reader()) as reader:
            return reader.balance(payer)
