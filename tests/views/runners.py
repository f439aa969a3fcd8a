"""Whoever folds live views, in one shape: a log in, readings and alerts out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from events import Recorded
from ledger.live_folding import NAME, LiveFolder
from persistence import Reader, WritableStore
from projections.alerts import Alert
from projections.live import decode_state
from projections.readings import Reading, reading_of
from tests.views.logs import SHARD, Folded, Log

EVERYTHING = 1_000_000


class Answers(NamedTuple):
    """Readings by payer, and alerts, newest first."""

    readings: dict[bytes, Reading]
    alerts: list[Alert]


def place(alert: Alert) -> tuple[int, bytes, int, int]:
    return alert.recorded_at, alert.payer, alert.cycle, alert.threshold


def answers_of(folded: Folded) -> Answers:
    return Answers(
        {payer: reading_of(state) for payer, state in folded.states.items()},
        sorted(folded.alerts, key=place, reverse=True),
    )


def fold_alone(log: Log) -> Answers:
    return answers_of(Folded().take_all(log))


class EmbeddedRun:
    """The in-process bus on a store: batches of any size, rolled back, restarted, repeated."""

    def __init__(self, store: WritableStore, log: Log, rng: random.Random) -> None:
        self._store = store
        self._rng = rng
        self._folder = LiveFolder(SHARD)
        with store.transaction() as transaction:
            self.events = transaction.append([recorded for recorded, _ in log])

    def run(self) -> None:
        at = 0
        while at < len(self.events):
            batch = self.events[at : at + self._rng.randint(1, 60)]
            match self._rng.randint(0, 5):
                case 0:  # another process goes on
                    self._folder = LiveFolder(SHARD)
                case 1:  # the store fails, and the batch comes again
                    self._fold(batch, roll_back=True)
            self._fold(batch)
            at += len(batch)

    def _fold(self, batch: Sequence[Recorded], *, roll_back: bool = False) -> None:
        try:
            with self._store.beside() as transaction:
                self._folder(transaction, batch)
                before, after = batch[0].position - 1, batch[-1].position
                transaction.advance_tail(NAME, expected=before, position=after)
                if roll_back:
                    raise _RolledBack
        except _RolledBack:
            pass


class _RolledBack(Exception):
    pass


def read_embedded(reader: Reader) -> Answers:
    states = [decode_state(each) for each in reader.live.states(after=b"", limit=EVERYTHING)]
    alerts = reader.live.alerts(None, before=None, limit=EVERYTHING)
    return Answers(
        {state.payer: reading_of(state) for state in states},
        [alert._replace(shard=SHARD) for alert in alerts],
    )
