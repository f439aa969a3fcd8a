"""Why a number is what it is: numbers whose parts add up, down to events and arithmetic."""

from ledger.audit.why.asking import (
    draft_line,
    entry_of_instance,
    entry_of_payer,
    more_parts,
    payer_balance,
    settled_invoice,
)
from ledger.audit.why.cursors import Cursor, cursor_text, read_cursor
from ledger.audit.why.numbers import (
    BY_OPERATOR,
    Explanation,
    Number,
    Price,
    Record,
    Runtime,
    Stated,
    Step,
    WriteOff,
)

__all__ = [
    "BY_OPERATOR",
    "Cursor",
    "Explanation",
    "Number",
    "Price",
    "Record",
    "Runtime",
    "Stated",
    "Step",
    "WriteOff",
    "cursor_text",
    "draft_line",
    "entry_of_instance",
    "entry_of_payer",
    "more_parts",
    "payer_balance",
    "read_cursor",
    "settled_invoice",
]
