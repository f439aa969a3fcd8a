"""The shapes of an explanation. Times in ms, amounts in credit cents, payers and ids as bytes."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import msgspec

from events import Recorded
from ledger.audit.erased import Erased
from ledger.audit.why.cursors import Cursor
from ledger.lives import Stretch

# Kinds of numbers.
BALANCE, USAGE, RUNNING, CREDIT_NOTES = "balance", "usage", "running", "credit_notes"
INVOICES, VOIDED, DAY = "invoices", "voided", "day"
USAGE_ENTRY, CREDIT_NOTE, SETTLEMENT = "usage_entry", "credit_note", "settlement"
INVOICE_CORRECTION, WRITE_OFF = "invoice_correction", "write_off"
IMPORTED_ENTRY, VOIDED_ENTRY = "imported_entry", "voided_entry"
DRAFT_LINE, ENTRY_CHANGE = "draft_line", "entry_change"
AS_IT_STANDS, AS_IT_STOOD, CYCLE = "as_it_stands", "as_it_stood", "cycle"
STRIPE_INVOICE, BILLED, TAKEN_BACK = "stripe_invoice", "billed", "taken_back"
SENT, USAGE_RECORD, SHORTFALL = "sent", "usage_record", "shortfall"
EXCESS, OTHER_INVOICES, NOT_DERIVED = "excess", "other_invoices", "not_derived"

# How an event came into the log.
PUBLISHED, IMPORTED, BY_OPERATOR = "published", "imported", "operator"
CALL_OR_JOB, BY_STRIPE = "call_or_job", "stripe"

# What an event has to do with a number.
BEGINS, ENDS, ACCRUES, CORRECTS = "begins", "ends", "accrues", "corrects"
CONFIRMS, STATES, VOIDS, BEARS_ON = "confirms", "states", "voids", "bears_on"


class Step(NamedTuple):
    """An event, and what it made of an amount."""

    recorded: Recorded
    cause: str
    source: str  # empty for what nobody published
    event_id: str
    effective: int | None
    role: str
    before_cents: int
    after_cents: int
    reason: str
    reason_is_erased: bool = False
    erased: Erased | None = None  # what took the event's personal fields


class Price(NamedTuple):
    """The price list that a rate is from."""

    revision: int
    position: int | None  # of the event that published it; None where no list here says it
    in_force_from: int | None
    workspace_class: str
    is_fallback: bool


class Runtime(NamedTuple):
    """Seconds times a rate."""

    stretch: Stretch
    cents_per_second: Fraction
    price: Price

    @property
    def exact_cents(self) -> Fraction:
        """Give the amount before it was rounded."""
        return self.stretch.seconds * self.cents_per_second


class Stated(NamedTuple):
    """An event states the amount."""

    position: int
    cents: int


class WriteOff(NamedTuple):
    """What was forgiven at the end of a cycle."""

    reason: str
    balance_cents: int
    limit_cents: int  # of a reset
    unsettled_cents: int  # of an upgrade
    cents: int


class Record(NamedTuple):
    """A row of the outbox."""

    seq: int
    target: int
    delta: int
    state: str
    stamped: int | None
    identifier: str


Arithmetic = Runtime | Stated | WriteOff | Record


class Number(msgspec.Struct):
    """A number, and what makes it."""

    kind: str
    title: str
    cents: int
    payer: bytes = b""
    whole_credits: bool = False
    taken_away: bool = False
    part_count: int = 0
    parts: list[Number] = []
    earlier_count: int = 0
    earlier_cents: int = 0
    more: Cursor | None = None
    steps: list[Step] = []
    arithmetic: Arithmetic | None = None
    entry_id: bytes = b""
    instance: bytes = b""
    effective: int | None = None
    draft: bool = False
    workspace_class: str = ""
    late_for: int | None = None
    period: tuple[int | None, int | None] = (None, None)
    cycle: int | None = None
    invoice_id: str = ""
    subscription_id: str = ""
    remarks: list[str] = []
    beside: list[Number] = []


class Explanation(NamedTuple):
    """A number, and where in the log it holds."""

    position: int
    accrued_to: int | None
    number: Number
