"""Credit notes, entries taken over, and facts that hold for the whole ledger."""

from __future__ import annotations

from typing import ClassVar

from events.base import LedgerEvent


class CreditNoteIssued(LedgerEvent, frozen=True, array_like=True, gc=False):
    """Credits were given back to a payer. Stream `credit-note:team:<uuid>:<key>`."""

    TOPIC: ClassVar[str] = "credit-note-issued"

    payer: bytes
    credit_cents: int  # negative: it lowers what is owed
    effective_time: int
    user: bytes  # who issued it: 16 bytes, or empty
    commitment: bytes  # to the description


class CreditNoteVoided(LedgerEvent, frozen=True, array_like=True, gc=False):
    """An operator found that a credit note must not count. The second event of the note's stream.

    It says what it takes away: readers keep no table of notes.
    """

    TOPIC: ClassVar[str] = "credit-note-voided"

    payer: bytes
    entry_id: bytes
    credit_cents: int  # of the note
    effective_time: int  # of the note: where its entry is dated
    commitment: bytes  # to the reason


class EntryImported(LedgerEvent, frozen=True, array_like=True, gc=False):
    """An invoice or credit note entry taken over. Stream `imported-entry:<uuid>`."""

    TOPIC: ClassVar[str] = "entry-imported"

    payer: bytes
    entry_id: bytes
    kind: str  # `invoice` or `credit_note`
    credit_cents: int
    effective_time: int
    user: bytes
    commitment: bytes  # to the description


class UsageReconciled(LedgerEvent, frozen=True, array_like=True, gc=False):
    """Every instance running now is accrued to `instant`. Stream `usage-reconciled`."""

    TOPIC: ClassVar[str] = "usage-reconciled"

    instant: int
    from_time: int
    to_time: int
    ledger_interval_ms: int


class ClockConfirmed(LedgerEvent, frozen=True, array_like=True, gc=False):
    """An operator confirmed that the clock is right though far past the newest recorded time.

    Stream `clock`.
    """

    TOPIC: ClassVar[str] = "clock-confirmed"

    instant: int


class PriceListPublished(LedgerEvent, frozen=True, array_like=True, gc=False):
    """New rates came into force. Stream `price-list`."""

    TOPIC: ClassVar[str] = "price-list-published"

    revision: int
    in_force_from: int | None  # None: since the beginning of time
    credits_per_minute: dict[str, str]  # workspace class -> decimal
    fallback: str  # for every other class


class FreeCreditClaimed(LedgerEvent, frozen=True, array_like=True, gc=False):
    """A user brought the free credits to a cost center, for ever.

    Stream `free-credit:user:<uuid>` or `free-credit:email:<hmac>`.
    """

    TOPIC: ClassVar[str] = "free-credit-claimed"

    payer: bytes


class MemberImported(LedgerEvent, frozen=True, array_like=True, gc=False):
    """A member of an organisation, taken over to know who brought free credits.

    Stream `members:team:<uuid>`.
    """

    TOPIC: ClassVar[str] = "member-imported"

    payer: bytes  # the organisation
    user: bytes
    joined: int
    email_hmac: str  # under a key outside the database; empty without an e-mail address
