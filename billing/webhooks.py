"""Checks that a webhook comes from Stripe and is for now, and takes from it what happened to what.

The library's parsers are not used beyond the signature: they build an object that holds the whole
body, and each refuses the other kind. Here both kinds give the same notice and the body is let go.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, Final

import stripe

from billing import _answers
from billing._session import silence_library
from billing.errors import GatewayMisuseError, StripeAnswerError, WebhookRefusedError
from billing.records import EventNotice
from billing.settings import Secret

BODY_BYTES_MAX: Final = 64 * 1024  # the original's; Stripe's own events are far smaller
# Stripe's own. In both directions: a body dated ahead could be sent again for as long.
TOLERANCE_SECONDS: Final = 300
SIGNATURE_CHARS_MAX: Final = 4096  # a header of dozens of signatures

_SNAPSHOT: Final = "event"
_THIN: Final = "v2.core.event"


def verify(
    body: bytes, signature: str | None, secret: Secret, *, now_seconds: float
) -> EventNotice:
    """Read a delivery; WebhookRefusedError says in a sentence why it was not taken.

    `signature` is the header `Stripe-Signature`. An `object_id` of None is legal, for some events
    are about nothing that has an id, or has one that no request could name.
    """
    if not secret:
        raise GatewayMisuseError("the secret of the webhook is empty: anybody could sign with it")
    silence_library()
    if len(body) > BODY_BYTES_MAX:
        raise WebhookRefusedError(f"the body has {len(body)} bytes: {BODY_BYTES_MAX} at most")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise WebhookRefusedError("the body is not UTF-8") from None
    _check_signature(text, signature, secret, now_seconds)
    return _notice(_parsed(text), now_seconds)


def _check_signature(text: str, signature: str | None, secret: Secret, now_seconds: float) -> None:
    if not signature:
        raise WebhookRefusedError("there is no signature")
    # The library compares texts, and trips over one that is not ASCII.
    if not signature.isascii() or len(signature) > SIGNATURE_CHARS_MAX:
        raise WebhookRefusedError("the signature cannot be read")
    failed = False
    try:
        # Without a tolerance, for it would be that of the machine's clock, and of the past only.
        stripe.WebhookSignature.verify_header(text, signature, secret.reveal(), tolerance=None)
    except stripe.SignatureVerificationError:
        failed = True
    if failed:  # raised here, because the library's error holds the body
        raise WebhookRefusedError("the signature is not that of this body under our secret")
    age = now_seconds - _signed_at(signature)
    if age > TOLERANCE_SECONDS:
        raise WebhookRefusedError(f"signed {age:.0f} s ago: {TOLERANCE_SECONDS} at most")
    if age < -TOLERANCE_SECONDS:
        raise WebhookRefusedError(f"signed {-age:.0f} s in the future: {TOLERANCE_SECONDS} at most")


def _signed_at(signature: str) -> int:
    """The time that the library has just checked: the first of the header."""
    times = [part[2:] for part in signature.split(",") if part.startswith("t=")]
    try:
        return int(times[0])
    except (IndexError, ValueError):
        raise WebhookRefusedError("the signature cannot be read") from None


def _parsed(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise WebhookRefusedError("the body is no JSON object")
    return fields


def _notice(fields: dict[str, Any], now_seconds: float) -> EventNotice:
    # What the original reads has a type and an object, and need not have more.
    kind = fields.get("object", _SNAPSHOT)
    try:
        if kind == _SNAPSHOT:
            return _answers.event({"created": int(now_seconds), **fields})
        if kind == _THIN:
            return _thin(fields)
    except StripeAnswerError as lacking:
        raise WebhookRefusedError(f"the body is no event: {lacking}") from None
    raise WebhookRefusedError("the body is no event")


def _thin(fields: dict[str, Any]) -> EventNotice:
    """Read an event of the second API, which says of what it is about only the id, or not even it.

    Meter errors come in this form only; `no_meter_found` is about no object.
    """
    return EventNotice(
        event_id=_answers.stripe_id(fields, "id"),
        type=_answers.line(fields, "type"),
        object_id=_answers.object_id(fields, "related_object"),
        created=_instant(_answers.text(fields, "created")),
        account=_answers.optional_text(fields, "context"),
    )


def _instant(text: str) -> int:
    """Read an RFC 3339 time; whole seconds since 1970, rounded down."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or moment.timestamp() < 0:
        raise WebhookRefusedError("the body is no event: its time cannot be read")
    return int(moment.timestamp() // 1)
