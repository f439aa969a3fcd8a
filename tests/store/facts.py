"""Events for tests that do not care which."""

from __future__ import annotations

from collections.abc import Callable

from events import CreditNoteIssued, Recorded
from persistence import DeadLetter, Transaction, WritableStore

PAYER = bytes(range(16))
OTHER_PAYER = bytes(range(16, 32))


def note(cents: int = -100, *, payer: bytes = PAYER, recorded_at: int = 1_000) -> CreditNoteIssued:
    return CreditNoteIssued(recorded_at, "somebody", payer, cents, 900, b"", b"")


def placed(stream: str, version: int = 1, *, cents: int = -100) -> Recorded:
    """A note in its stream, not yet in the log."""
    return Recorded(stream, version, note(cents))


def letter(original: bytes, digest: bytes, *, delivery: int = 1, at: int = 1_000) -> DeadLetter:
    return DeadLetter(
        0, digest, "event", delivery, 7, "not JSON", original, len(original), at, at, 1
    )


def run(store: WritableStore, *steps: Callable[[Transaction], object]) -> None:
    """Take these steps in one transaction."""
    with store.transaction() as transaction:
        for step in steps:
            step(transaction)


def fail(_transaction: Transaction) -> None:
    """The step after which nothing may be left."""
    raise RuntimeError
