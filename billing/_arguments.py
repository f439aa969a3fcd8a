"""Looks at arguments before anything is sent.

The library drops a parameter that is None without a word, and an empty id turns a request for one
object into one for all of them: so one customer's cancellation once cancelled other customers'.
"""

from __future__ import annotations

import re
from typing import Final

from billing.errors import GatewayMisuseError
from billing.reporting import IDENTIFIER_CHARS_MAX, KEY_CHARS_MAX

REPORT_CREDITS_MAX: Final = 10**15 - 1  # Stripe takes fifteen digits
# Stripe's own have some thirty signs, and more than 255 no name there has.
_STRIPE_ID: Final = re.compile(r"(?!\.+\Z)[!-~]{1,255}", re.ASCII)
SECONDS_MAX: Final = 10**11  # the year 5138; a time in milliseconds is beyond it since 1973


def is_stripe_id(text: str) -> bool:
    """Say whether something may be an id of Stripe: 1 to 255 visible ASCII signs, not only dots."""
    return _STRIPE_ID.fullmatch(text) is not None


def must_name(**names: str | None) -> None:
    """Refuse a name that is empty, or that an address takes for a way up (`..`)."""
    for argument, value in names.items():
        if not value or not value.strip().strip("."):
            raise GatewayMisuseError(f"{argument} is empty, or dots; nothing was sent to Stripe")


def must_say(**texts: str | None) -> None:
    """Refuse a text for people that is empty; whatever else it says is theirs."""
    for argument, value in texts.items():
        if not value or not value.strip():
            raise GatewayMisuseError(f"{argument} is empty; nothing was sent to Stripe")


def must_be_key(key: str) -> None:
    """Refuse an idempotency key that is empty or longer than Stripe takes."""
    must_name(key=key)
    if len(key) > KEY_CHARS_MAX:
        raise GatewayMisuseError(f"an idempotency key of {len(key)} signs: {KEY_CHARS_MAX} at most")


def must_be_seconds(**times: float) -> None:
    """Refuse a time that is no whole number of seconds; what looks like milliseconds, too."""
    for argument, value in times.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < SECONDS_MAX:
            raise GatewayMisuseError(f"{argument} {value!r} is no time in whole seconds since 1970")


def must_be_identifier(identifier: str) -> None:
    """Refuse the name of a usage event that is empty or longer than Stripe takes."""
    must_name(identifier=identifier)
    if len(identifier) > IDENTIFIER_CHARS_MAX:
        raise GatewayMisuseError(
            f"an identifier of {len(identifier)} signs: {IDENTIFIER_CHARS_MAX} at most"
        )


def must_be_credits(credits: float) -> None:
    """Refuse what is no whole number of credits, none at all, or more than Stripe takes."""
    if not isinstance(credits, int) or isinstance(credits, bool):
        raise GatewayMisuseError(f"credits {credits!r}: a whole number")
    if not 0 < abs(credits) <= REPORT_CREDITS_MAX:
        raise GatewayMisuseError(f"credits {credits}: not 0, and fifteen digits at most")
