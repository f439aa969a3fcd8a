"""Personal data that was erased on request: stream `erasure:user:<uuid>`, the same in every shard.

Both events are of no payer: a user may have worked for many.
"""

from __future__ import annotations

from typing import ClassVar

from events.base import LedgerEvent


class UserErasureRequested(LedgerEvent, frozen=True, array_like=True, gc=False):
    """The personal data of a user are to be erased: all that lies before this event in the log."""

    TOPIC: ClassVar[str] = "user-erasure-requested"

    user: bytes
    number: int  # of the request, counted for this user from 1; the same in every shard
    commitment: bytes  # to the reason


class UserErased(LedgerEvent, frozen=True, array_like=True, gc=False):
    """They are erased in this shard."""

    TOPIC: ClassVar[str] = "user-erased"

    user: bytes
    number: int
    personal_rows: int  # of the table of personal data
    dead_letters: int  # whose original bytes are gone
