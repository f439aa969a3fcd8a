"""The double as the SDK's HTTP client: no sockets, but the SDK's encoding, errors and retries."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn
from urllib.parse import urlsplit

import stripe

from tests.stripe_double.errors import NoAnswer
from tests.stripe_double.exchange import Answer, Headers, Request

if TYPE_CHECKING:
    from tests.stripe_double.double import StripeDouble


class DoubleHTTPClient(stripe.HTTPClient):
    """`waits` are the pauses between tries that the SDK asked for, in seconds; none is made."""

    name: ClassVar[str] = "double"

    def __init__(self, double: StripeDouble) -> None:
        """Answer from a double."""
        super().__init__()
        self._double = double
        self.waits: list[float] = []
        self.is_closed = False

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        """Execute one request at once."""
        exchange = self._double.begin(_request(method, url, headers, post_data))
        try:
            answer = exchange.finish()
        except NoAnswer as silence:
            _fail(silence)
        finally:
            self._double.deliver()
        return _triple(answer)

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Execute one request after others had their turns, so that several can be under way.

        One whose caller is cancelled meanwhile takes effect nevertheless: it had been sent.
        """
        exchange = self._double.begin(_request(method, url, headers, post_data))
        try:
            answer = await exchange.finish_in_turn()
        except NoAnswer as silence:
            _fail(silence)
        finally:
            self._double.deliver()
        body, status, received = _triple(answer)
        return body.encode(), status, received

    def _sleep_time_seconds(self, num_retries: int) -> float:
        self.waits.append(super()._sleep_time_seconds(num_retries))
        return 0.0

    async def sleep_async(self, secs: float) -> None:
        """Let others have a turn."""
        await asyncio.sleep(0)

    def request_stream(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> NoReturn:
        """Refuse: nothing that the ledger asks of Stripe is streamed."""
        raise NotImplementedError(f"the double streams nothing, and {method} {url} asks for it")

    async def request_stream_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> NoReturn:
        """Refuse, as above."""
        raise NotImplementedError(f"the double streams nothing, and {method} {url} asks for it")

    def close(self) -> None:
        """Note it; there is nothing to close."""
        self.is_closed = True

    async def close_async(self) -> None:
        """Note it."""
        self.is_closed = True


def _request(method: str, url: str, headers: Mapping[str, str] | None, post_data: Any) -> Request:
    split = urlsplit(url)
    body = post_data.encode() if isinstance(post_data, str) else post_data or b""
    return Request(method.upper(), split.path, split.query, Headers(headers or {}), body)


def _triple(answer: Answer) -> tuple[str, int, Mapping[str, str]]:
    return answer.body, answer.status, answer.headers


def _fail(silence: NoAnswer) -> NoReturn:
    # As the SDK's own clients say of a closed connection and of a timeout.
    message = f"Unexpected error communicating with Stripe: {silence}"
    error = stripe.APIConnectionError(message, should_retry=True)  # type: ignore[no-untyped-call]  # as the SDK has it
    raise error from silence
