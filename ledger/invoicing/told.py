"""What callers are told when Stripe does not do what was asked."""

from __future__ import annotations

import logging

from billing import (
    GatewayError,
    StripeAnswerError,
    StripeCardError,
    StripeConflictError,
    StripeCredentialsError,
    StripeIdempotencyError,
    StripeMissingError,
    StripeRefusedError,
    StripeTimeoutError,
    StripeUnavailableError,
)
from ledger.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    LedgerError,
    NotFoundError,
    OutcomeUnknownError,
    TroubleError,
    UnavailableError,
)

# The original's text, which clients show.
CARD_REFUSED = (
    "The provided payment method is invalid. Please provide working credit card information to"
    " proceed."
)

log = logging.getLogger(__name__)


def told(error: GatewayError, doing: str) -> LedgerError:
    """Give what a caller is told; what only operators can mend is logged as an error."""
    match error:
        case StripeMissingError():
            return NotFoundError(f"{doing}: Stripe does not have it")
        case StripeTimeoutError():
            return OutcomeUnknownError(f"{doing}: Stripe did not answer in time; try again")
        case StripeUnavailableError() | StripeConflictError():
            return UnavailableError(f"{doing}: Stripe cannot be asked now; try again later")
        case StripeCardError():
            return InvalidArgumentError(CARD_REFUSED)
        case StripeCredentialsError() | StripeIdempotencyError() | StripeAnswerError():
            log.error("%s: %s", doing, error)
            return TroubleError(f"{doing}: Stripe's answer cannot be worked with; see the log")
        case _:
            log.warning("%s: %s", doing, error)
            return FailedPreconditionError(f"{doing}: Stripe refuses it ({error.code})")


def is_hopeless(error: Exception) -> bool:
    """Say whether the same will be told however often it is tried, as far as that can be known.

    Either Stripe has said no to just this, or what it has is nothing that the ledger can use. What
    lies elsewhere may be mended: its being down, our key, the store, the directory, and with a
    newer version an answer that this one cannot read.
    """
    said = _by_stripe(error)
    if said is not None:
        return isinstance(said, StripeMissingError | StripeRefusedError | StripeCardError)
    return isinstance(
        error,
        NotFoundError
        | FailedPreconditionError
        | InvalidArgumentError
        | AlreadyExistsError
        | TroubleError,
    )


def _by_stripe(error: BaseException | None) -> GatewayError | None:
    """Give what of Stripe's is behind an error; None when it is our own."""
    while error is not None and not isinstance(error, GatewayError):
        error = error.__cause__
    return error
