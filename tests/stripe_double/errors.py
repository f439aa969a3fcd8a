"""What the double refuses, and the ways in which no answer comes.

StripeError            an answer with a status of 400 or more
NoAnswer               none
├── Unreachable        nothing was done
├── AnswerLost         it was done, and nobody was told
└── TimedOut           nobody answers in time; `done` says whether it was done
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_STATUS_TYPES: Final = {402: "card_error", 500: "api_error", 504: "api_error"}


class StripeError(Exception):
    """An answer in the form of Stripe's errors."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str | None = None,
        code: str | None = None,
        param: str | None = None,
        stored: bool = True,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Say what is refused; `stored`: a repeat with the same idempotency key is told the same.

        Only what was refused before anything was executed is not stored.
        """
        super().__init__(message)
        self.status = status
        self.kind = kind or _STATUS_TYPES.get(status, "invalid_request_error")
        self.message = message
        self.code = code
        self.param = param
        self.stored = stored
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def body(self) -> dict[str, Any]:
        """Give the answer."""
        error: dict[str, Any] = {"type": self.kind, "message": self.message}
        if self.code is not None:
            error["code"] = self.code
        if self.param is not None:
            error["param"] = self.param
        return {"error": error | self.more}


class NoAnswer(Exception):
    """The connection ended without an answer."""


class Unreachable(NoAnswer):
    """The request never arrived."""


class AnswerLost(NoAnswer):
    """The request was executed; its answer did not arrive."""


class TimedOut(NoAnswer, TimeoutError):
    """Nobody answered in time."""


def malformed(message: str, param: str | None = None, code: str | None = None) -> StripeError:
    """Refuse parameters before anything is executed."""
    return StripeError(400, message, code=code, param=param, stored=False)


def missing(what: str, name: str, *, param: str | None = None) -> StripeError:
    """Say that an object is not there: 404 for the one in the path, 400 for one in a parameter."""
    return StripeError(
        404 if param is None else 400,
        f"No such {what}: '{name}'",
        code="resource_missing",
        param=param or "id",
    )
