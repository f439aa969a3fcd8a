"""Why an invoice was corrected, as `InvoiceCorrected.cause` has it."""

from __future__ import annotations

VOIDED, UNCOLLECTIBLE = "voided", "uncollectible"
NOTE = "credit-note:"  # before the id of a credit note of Stripe's
UNDONE = "undone:"  # before the cause of a correction that is taken back
AGAIN = "#"  # behind a cause, before how often it has come; not written the first time


def named(base: str, time: int) -> str:
    """Name a cause that comes for the so-manieth time."""
    return base if time == 1 else f"{base}{AGAIN}{time}"


def base_of(cause: str) -> str:
    """Give a cause without whether it is undone and how often it has come."""
    return cause.removeprefix(UNDONE).partition(AGAIN)[0]
