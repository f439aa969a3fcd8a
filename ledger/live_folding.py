"""Live meters and alerts on the in-process bus: a tail of the log that folds into its own store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from events import Recorded, decode
from ledger.shards import Shard
from ledger.tails import Tail
from persistence import LiveRow, StreamEvent, Transaction
from projections.alerts import Alert
from projections.corrections import Correction, correction_of, is_correction
from projections.live import (
    LIVE_VERSION,
    LiveState,
    decode_state,
    encode_state,
    fold,
    is_for_everybody,
    payer_of,
)

# The version is part of the name: other folds begin at the first event, with empty tables.
NAME = f"live-views-{LIVE_VERSION}"
BATCH_MAX = 1_000  # events folded at once: a command waits for them, some ten milliseconds
STATES_KEPT = 5_000  # payers kept decoded between batches; one takes about 2 KiB
PAGE = 500  # payers with something running that a reconcile loads at once

Streams = Callable[[Sequence[str]], Mapping[str, Sequence[StreamEvent]]]


def corrections_in(batch: Sequence[Recorded], streams: Streams) -> dict[int, Correction]:
    """Give what the events of a batch correct, by position; `streams` loads whole streams."""
    correcting = [recorded for recorded in batch if is_correction(recorded.event)]
    if not correcting:
        return {}
    stored = streams(sorted({recorded.originator_id for recorded in correcting}))
    return {
        recorded.position: correction_of(
            [
                decode(event.topic, event.state)
                for event in stored[recorded.originator_id]
                if event.version <= recorded.originator_version
            ]
        )
        for recorded in correcting
    }


class LiveFolder:
    """Folds one shard's log, batch after batch; states of the last payers stay in memory."""

    def __init__(self, shard: int) -> None:
        """Begin with whatever batch comes first."""
        self._shard = shard
        self._states: dict[bytes, LiveState] = {}
        self._next = 0  # the position that follows what the states in memory have seen

    def __call__(self, transaction: Transaction, batch: Sequence[Recorded]) -> None:
        """Fold a batch inside a transaction that also moves the tail's position."""
        follows = batch[0].position == self._next
        self._next = 0  # until this batch is folded, nothing can be said of the states
        if not follows:
            # Another process went on, or the last batch was rolled back.
            self._states.clear()
        if batch[0].position == 1:
            transaction.live.clear()
        corrections = corrections_in(batch, transaction.streams)
        alerts: list[Alert] = []
        start = 0
        for index, recorded in enumerate(batch):
            if is_for_everybody(recorded.event):
                alerts += self._run(transaction, batch[start:index], corrections)
                alerts += self._everybody(transaction, recorded)
                start = index + 1
        alerts += self._run(transaction, batch[start:], corrections)
        transaction.live.add_alerts(alerts)
        self._next = batch[-1].position + 1
        self._trim()

    def _run(
        self,
        transaction: Transaction,
        run: Sequence[Recorded],
        corrections: Mapping[int, Correction],
    ) -> list[Alert]:
        """Fold events of single payers and write their states."""
        owned = [
            (payer, recorded) for recorded in run if (payer := payer_of(recorded.event)) is not None
        ]
        touched = dict.fromkeys(payer for payer, _ in owned)
        self._load(transaction, list(touched))
        alerts: list[Alert] = []
        for payer, recorded in owned:
            correction = corrections.get(recorded.position)
            alerts += fold(self._states[payer], recorded, correction)
        self._write(transaction, [self._states[payer] for payer in touched])
        return alerts

    def _load(self, transaction: Transaction, payers: Sequence[bytes]) -> None:
        missing = [payer for payer in payers if payer not in self._states]
        found = transaction.live.states(missing)
        for payer in missing:
            state = found.get(payer)
            self._states[payer] = (
                LiveState(payer, self._shard) if state is None else decode_state(state)
            )

    def _everybody(self, transaction: Transaction, recorded: Recorded) -> list[Alert]:
        """Fold a fact for everybody into the states of all that have something running."""
        alerts: list[Alert] = []
        after = b""
        while page := transaction.live.running(after=after, limit=PAGE):
            states = [self._states.get(payer) or decode_state(encoded) for payer, encoded in page]
            for state in states:
                alerts += fold(state, recorded)
            self._write(transaction, states)
            after = page[-1][0]
        return alerts

    @staticmethod
    def _write(transaction: Transaction, states: Sequence[LiveState]) -> None:
        transaction.live.put(
            [
                LiveRow(state.payer, state.position, bool(state.lots), encode_state(state))
                for state in states
            ]
        )

    def _trim(self) -> None:
        """Forget those that came in first, beyond the limit."""
        excess = len(self._states) - STATES_KEPT
        if excess > 0:
            for payer in list(self._states)[:excess]:
                del self._states[payer]


def live_tail(shard: Shard) -> Tail:
    """Give the tail that folds a shard's log into its own tables; run it as a task."""
    return Tail(shard, NAME, fold=LiveFolder(shard.number), batch_max=BATCH_MAX)
