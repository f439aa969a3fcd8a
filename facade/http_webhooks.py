"""`POST /stripe/invoices/webhook`: checked, kept, answered, and done afterwards.

Path and answers are the original's, but for kinds that nobody handles (200, not 400: Stripe would
switch the endpoint off) and for a service without credentials (503, not 200: nothing is lost).
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from aiohttp import web

from ledger.application import Ledger
from ledger.errors import InvalidArgumentError, LedgerError
from ledger.invoicing.webhooks import BODY_BYTES_MAX

PATH = "/stripe/invoices/webhook"
SIGNATURE = "Stripe-Signature"
JSON = "application/json"
BODY_SECONDS_MAX = 10.0  # anybody may send one, and Stripe is fast


class NoWebhookSecretError(LedgerError):
    """Webhooks cannot be checked here."""


class NotJsonError(LedgerError):
    """The body is said to be something else."""


class NotConfiguredError(LedgerError):
    """The service has no Stripe credentials, so nothing could be done about a webhook."""


STATUS: dict[type[LedgerError], HTTPStatus] = {
    NotJsonError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    NoWebhookSecretError: HTTPStatus.NOT_IMPLEMENTED,
    NotConfiguredError: HTTPStatus.SERVICE_UNAVAILABLE,
}


class WebhookEndpoint:
    """Takes webhooks in for a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        """Serve a ledger."""
        self._ledger = ledger

    async def take(self, request: web.Request) -> web.Response:
        """Answer once the webhook is kept; what it asks for is done afterwards."""
        _must_be_json(request)
        billing = self._ledger.billing
        if billing is None:
            raise NotConfiguredError("billing is not configured: the service has no credentials")
        if not billing.webhooks.can_be_checked:
            raise NoWebhookSecretError("stripe.webhook_secret_file is not set")
        body = await _body_of(request)
        await billing.webhooks.take(body, request.headers.get(SIGNATURE))
        billing.webhooks.kick(self._ledger.operator)
        return web.json_response({"received": True})


def _must_be_json(request: web.Request) -> None:
    """Refuse what is said to be no JSON; what is not said to be anything is looked at."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip()
    if kind and kind.lower() != JSON:
        raise NotJsonError(f"content type {kind[:80]!r}: must be {JSON}")


async def _body_of(request: web.Request) -> bytes:
    """Read a body; of a longer one a byte too many, which is as good as all of it."""
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            while len(body) <= BODY_BYTES_MAX and not request.content.at_eof():
                body += await request.content.read(BODY_BYTES_MAX + 1 - len(body))
    except TimeoutError:
        raise InvalidArgumentError(
            f"the body did not come within {BODY_SECONDS_MAX:g} seconds"
        ) from None
    except (web.RequestPayloadError, ConnectionError):
        raise InvalidArgumentError("the body is cut off, or not packed as it says") from None
    return body
