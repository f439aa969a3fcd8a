"""Webhooks over HTTP, for a double that is served: POSTed in order, tried again later."""

from __future__ import annotations

import asyncio

import httpx

from tests.stripe_double.double import StripeDouble

# A receiver that is slower has not taken the event.
ANSWER_SECONDS_MAX = 20.0


class Courier:
    """Takes what is due from a double to a URL; without a URL it stays in the outbox."""

    def __init__(self, double: StripeDouble, url: str | None) -> None:
        """Deliver nothing yet."""
        self._double = double
        self._url = url
        self._turn = asyncio.Lock()
        self._moving = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None
        double.webhooks.is_served = url is not None

    async def deliver(self) -> None:
        """Deliver what is due, one after the other."""
        if self._url is None:
            self._double.deliver()
            return
        async with self._turn:
            while (delivery := self._double.webhooks.take()) is not None:
                delivery.done(await self._post(self._url, delivery.body, delivery.signature))

    async def _post(self, url: str, body: bytes, signature: str) -> int | None:
        if self._client is None:
            # Loopback only: no proxy of the environment is asked.
            self._client = httpx.AsyncClient(timeout=ANSWER_SECONDS_MAX, trust_env=False)
        headers = {"Content-Type": "application/json", "Stripe-Signature": signature}
        try:
            answer = await self._client.post(url, content=body, headers=headers)
        except httpx.HTTPError:
            return None
        return answer.status_code

    def deliver_soon(self) -> None:
        """Deliver after the answer that is being made: who waits for it may be the receiver."""
        task = asyncio.get_running_loop().create_task(self.deliver())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def advance_to(self, target_ms: int) -> None:
        """Let time pass; webhooks are answered before the next thing happens."""
        async with self._moving:
            await self.deliver()
            while self._double.clock.step(target_ms):
                await self.deliver()

    async def close(self) -> None:
        """End what is under way."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()
