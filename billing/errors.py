"""What can go wrong between us and Stripe.

BillingError
├── GatewayError                  Stripe did not do what was asked, or did not say so
│   ├── StripeMissingError        what was named does not exist there (`resource_missing`)
│   ├── StripeUnavailableError    no connection, 5xx, 429, an answer nobody can read, failed search
│   ├── StripeTimeoutError        no answer in time
│   ├── StripeConflictError       409: another request for the same object or key is under way
│   ├── StripeCardError           402: the card was declined
│   ├── StripeRefusedError        any other refusal; definite, the same request fails again
│   ├── StripeCredentialsError    401, 403: our key is wrong or may not do this
│   ├── StripeIdempotencyError    the key was used before with another body
│   └── StripeAnswerError         Stripe answered, and the answer lacks what every answer must have
├── WebhookRefusedError           a body that does not come from Stripe, or not now
└── InvoiceQuantityError          the credits of an invoice cannot be told

GatewayMisuseError is none of these: it is a mistake of ours, found before anything was sent.
"""

from __future__ import annotations

from typing import ClassVar, Final

OK: Final = "ok"  # the outcome of a request that went well; the others name their error


class BillingError(Exception):
    """Its text is for operators and holds no secret and no personal data."""


class GatewayError(BillingError):
    """Stripe did not do what was asked, or did not say so.

    `outcome_unknown` tells whether the request may have had its effect all the same. It is never
    set for a request that only reads. `is_stored_failure`: Stripe repeated a failure that it has
    stored under the idempotency key. The request that failed is over, and its key gives nothing
    else for a day; what it did before it failed is there. `code`, `param` and `request_id` are
    Stripe's own words.
    """

    outcome: ClassVar[str]  # what a request that ends so is counted as

    def __init__(
        self,
        text: str,
        *,
        outcome_unknown: bool = False,
        is_stored_failure: bool = False,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """`text` is a sentence for people."""
        super().__init__(text)
        self.outcome_unknown = outcome_unknown
        self.is_stored_failure = is_stored_failure
        self.status = status
        self.code = code
        self.param = param
        self.request_id = request_id


class StripeMissingError(GatewayError):
    """What was named does not exist at Stripe."""

    outcome = "missing"


class StripeUnavailableError(GatewayError):
    """Stripe cannot be reached or cannot answer now."""

    outcome = "unavailable"


class StripeTimeoutError(GatewayError):
    """No answer came in time."""

    outcome = "timeout"


class StripeConflictError(GatewayError):
    """Another request for the same object, or with the same key, is under way."""

    outcome = "conflict"


class StripeCardError(GatewayError):
    """The card was declined."""

    outcome = "card"


class StripeRefusedError(GatewayError):
    """Stripe refused the request; sent again as it is, it is refused again."""

    outcome = "refused"


class StripeCredentialsError(GatewayError):
    """Our key is wrong, or may not do this."""

    outcome = "credentials"


class StripeIdempotencyError(GatewayError):
    """The idempotency key was used before with another body."""

    outcome = "idempotency"


class StripeAnswerError(GatewayError):
    """An answer lacks what every answer of its kind must have."""

    outcome = "answer"


class WebhookRefusedError(BillingError):
    """A delivery that is not from Stripe, not for us, or not from now; to be answered with 400."""


class InvoiceQuantityError(BillingError):
    """The metered lines of an invoice do not add up to whole credits."""


class GatewayMisuseError(ValueError):
    """We were about to send what must not be sent: an empty id, a fraction, two of one."""
