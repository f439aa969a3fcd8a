"""Stripe's library over httpx, by the library's own port for it.

Its own client of httpx sends bodies in a way that httpx has deprecated, and its timeout is one for
each phase: a peer that sends a byte now and then would hold a call for ever.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Final

import httpx
import stripe

# One call of a payer at a time, and a few payers at once; a burst waits for a free connection.
CONNECTIONS_MAX: Final = 20


class HttpxClient(stripe.HTTPClient):
    """Sends one attempt after the other; each ends within `timeout_seconds`, answered or not."""

    name = "httpx"

    def __init__(self, timeout_seconds: float) -> None:
        super().__init__()
        self._timeout_seconds = timeout_seconds
        self._client = httpx.AsyncClient(
            verify=ssl.create_default_context(cafile=stripe.ca_bundle_path),
            timeout=timeout_seconds,
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
        )

    async def request_async(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        post_data: str | bytes | None = None,
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Make one attempt; what goes wrong below is the cause of the error."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._client.request(method, url, headers=headers, content=post_data)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, RuntimeError) as error:
            # A RuntimeError is that of a loop that ended, with its connections.
            raise stripe.APIConnectionError(  # type: ignore[no-untyped-call]  # theirs has no types
                f"no answer ({type(error).__name__})", should_retry=True
            ) from error
        return answer.content, answer.status_code, answer.headers

    async def sleep_async(self, secs: float) -> None:
        """Wait before the next attempt."""
        await asyncio.sleep(secs)

    async def close_async(self) -> None:
        """Close the connections."""
        await self._client.aclose()
