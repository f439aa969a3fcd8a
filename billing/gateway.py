"""The gateway: typed calls in, records or errors of ours out.

It translates and decides nothing. It retries within one call as often as it was told, with one
idempotency key, and never beyond; a call that failed with `outcome_unknown` is for the caller to
resolve. Ids are refused when empty, before anything is sent: GatewayMisuseError. All other errors
are `billing.errors.GatewayError`. Lists are read to their end.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import stripe

from billing._customers import CustomerCalls
from billing._invoices import InvoiceCalls
from billing._session import STRIPE_VERSION, Count, Session
from billing._usage import UsageCalls
from billing.settings import GatewaySettings

__all__ = ["STRIPE_VERSION", "Gateway"]


class Gateway(CustomerCalls, UsageCalls, InvoiceCalls):
    """One per process and event loop; to be closed, or used in `async with`."""

    def __init__(
        self, settings: GatewaySettings, *, http_client: stripe.HTTPClient | None = None
    ) -> None:
        """Nothing is sent yet. `http_client` stands in for the network in tests."""
        self._session = Session(settings, http_client)

    def count_by(self, count: Count) -> None:
        """Tell of every request from now on what was asked, and what came of it."""
        self._session.count = count

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
