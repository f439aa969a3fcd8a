"""Events for tests that do not care which."""

from __future__ import annotations

from events import CreditNoteIssued, Recorded
from persistence import DeadLetter

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
