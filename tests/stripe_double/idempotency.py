"""What was answered under an idempotency key, and which keys are being worked on."""

from __future__ import annotations

from dataclasses import dataclass

from tests.stripe_double.clock import DAY
from tests.stripe_double.errors import StripeError, malformed

KEPT_SECONDS = DAY
KEY_CHARACTERS_MAX = 255


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What a repeat of the request is told again; `request` is method, path and parameters."""

    request: str
    at: int
    status: int
    body: str
    request_id: str


class IdempotencyKeys:
    """One account's keys."""

    def __init__(self) -> None:
        """Know none."""
        self._answers: dict[str, StoredAnswer] = {}
        self._busy: dict[str, str] = {}

    def take(self, key: str, request: str, now: int) -> StoredAnswer | None:
        """Give the stored answer, else hold the key until it is released.

        Raises 409 while another request holds it, 400 if it stands for another request.
        """
        if len(key) > KEY_CHARACTERS_MAX:
            raise malformed(f"Idempotency keys have at most {KEY_CHARACTERS_MAX} characters.")
        stored = self._answers.get(key)
        if stored is not None and now - stored.at >= KEPT_SECONDS:
            del self._answers[key]
            stored = None
        known = stored.request if stored is not None else self._busy.get(key, request)
        if known != request:
            raise StripeError(
                400,
                "Keys for idempotent requests can only be used with the same parameters they were"
                f" first used with. Try using a key other than '{key}'.",
                kind="idempotency_error",
                stored=False,
            )
        if key in self._busy:
            raise StripeError(
                409,
                f"There is currently another in-progress request using the key '{key}'.",
                kind="idempotency_error",
                code="idempotency_key_in_use",
                stored=False,
            )
        if stored is None:
            self._busy[key] = request
        return stored

    def release(self, key: str, answer: StoredAnswer | None) -> None:
        """Let go of a key, with what repeats shall be told if anything is to be kept."""
        self._busy.pop(key, None)
        if answer is not None:
            self._answers[key] = answer
