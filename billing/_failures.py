"""Turns what the library raises into our errors, without a secret in their text.

Status first, class second: a proxy's page instead of an answer has the status and no class.
"""

from __future__ import annotations

import re
from typing import Any, Final

import httpx
import stripe

from billing.errors import (
    GatewayError,
    StripeCardError,
    StripeConflictError,
    StripeCredentialsError,
    StripeIdempotencyError,
    StripeMissingError,
    StripeRefusedError,
    StripeTimeoutError,
    StripeUnavailableError,
)
from billing.settings import Secret

SENTENCE_CHARS_MAX: Final = 200  # of Stripe's own sentence; enough to tell what it is about
WORD_CHARS_MAX: Final = 100  # of its codes and names
# Stripe repeats ids that it was asked for; to look for addresses takes the square of the length.
LOOKED_THROUGH_CHARS_MAX: Final = 2_000

RESOURCE_MISSING: Final = "resource_missing"
INTENT_STATE: Final = "payment_intent_unexpected_state"
DUPLICATE_METER_EVENT: Final = "duplicate_meter_event"
# Stripe says by it that it repeats what it answered to an earlier request of the same key.
REPLAYED: Final = "Idempotent-Replayed"

_SECRETS: Final = re.compile(
    r"[a-z]k_(?:test|live)_[\w*]+|whsec_[\w*]+|\w+_secret_\w+|Bearer\s+\S+", re.IGNORECASE
)
_ADDRESSES: Final = re.compile(r"\S+@\S+")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def failure(
    error: stripe.StripeError, *, writes: bool, retries: int, personal: bool, key: Secret
) -> GatewayError:
    """Give the error of ours.

    `writes`: the request changes something. `personal`: it held names or addresses, which Stripe
    likes to repeat, so its sentence is left out.
    """
    status = error.http_status
    if isinstance(error, stripe.APIConnectionError):
        return _unanswered(error, writes=writes)
    told: dict[str, Any] = {
        "status": status,
        "code": _word(error.code, key),
        "param": _word(getattr(error, "param", None), key),
        "request_id": _word(error.request_id, key),
    }
    sentence = "" if personal else _clean(error.user_message, key)
    if status in {401, 403}:
        # Its sentence repeats part of the key.
        return StripeCredentialsError(_text("refused our key", told, ""), **told)
    if status == 409:
        return StripeConflictError(
            _text("is at work on the same", told, sentence), outcome_unknown=writes, **told
        )
    if status == 429 or isinstance(error, stripe.RateLimitError):
        # An attempt before this one may have been lost on the way back.
        return StripeUnavailableError(
            _text("is asked too often", told, sentence),
            outcome_unknown=writes and retries > 0,
            **told,
        )
    if status is None or not 400 <= status < 500:
        return StripeUnavailableError(
            _text("failed to answer", told, ""),
            outcome_unknown=writes,
            is_stored_failure=_is_replayed(error),
            **told,
        )
    return _refusal(error, told, sentence)


def _is_replayed(error: stripe.StripeError) -> bool:
    # The names of headers have no case; which mapping they come in is the HTTP client's choice.
    headers = error.headers or {}
    return any(
        name.lower() == REPLAYED.lower() and value.lower() == "true"
        for name, value in headers.items()
    )


def _unanswered(error: stripe.APIConnectionError, *, writes: bool) -> GatewayError:
    cause = error.__cause__
    reason = type(cause).__name__ if cause is not None else "no connection"
    if isinstance(cause, httpx.TimeoutException | TimeoutError):
        return StripeTimeoutError(
            f"Stripe did not answer in time ({reason})", outcome_unknown=writes
        )
    return StripeUnavailableError(f"Stripe was not reached ({reason})", outcome_unknown=writes)


def _refusal(error: stripe.StripeError, told: dict[str, Any], sentence: str) -> GatewayError:
    if isinstance(error, stripe.IdempotencyError):
        return StripeIdempotencyError(
            _text("knows the idempotency key with another body", told, sentence), **told
        )
    if told["status"] == 402:
        return StripeCardError(_text("declined the card", told, sentence), **told)
    if told["code"] == RESOURCE_MISSING:
        return StripeMissingError(_text("does not have it", told, sentence), **told)
    return StripeRefusedError(_text("refused the request", told, sentence), **told)


def is_duplicate_identifier(error: GatewayError, identifier: str) -> bool:
    """Whether a usage event was refused because Stripe has one of this identifier.

    Its code is not documented for certain, so the sentence counts too, if it names our identifier.
    """
    said = str(error)
    return (
        error.status == 400
        and isinstance(error, StripeRefusedError)
        and (
            error.code == DUPLICATE_METER_EVENT or ("already exists" in said and identifier in said)
        )
    )


def _text(what: str, told: dict[str, Any], sentence: str) -> str:
    facts = [f"{name.replace('_', ' ')} {value}" for name, value in told.items() if value]
    ending = f": {sentence}" if sentence else ""
    return f"Stripe {what} ({', '.join(facts)}){ending}"


def _word(value: object, key: Secret) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    return _clean(value, key)[:WORD_CHARS_MAX]


def _clean(sentence: str | None, key: Secret) -> str:
    if not isinstance(sentence, str):
        return ""
    if len(sentence) > LOOKED_THROUGH_CHARS_MAX:
        # Without the word at the cut: half a secret would not be found out.
        sentence = sentence[:LOOKED_THROUGH_CHARS_MAX].rpartition(" ")[0]
    sentence = sentence.replace(key.reveal(), "[secret]")
    sentence = _SECRETS.sub("[secret]", sentence)
    sentence = _ADDRESSES.sub("[address]", sentence)
    return _CONTROLS.sub(" ", sentence)[:SENTENCE_CHARS_MAX]
