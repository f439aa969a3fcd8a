"""The double as a plain ASGI app: the API, and `/_double/` for tests and scripts."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote

from tests.stripe_double.control import control
from tests.stripe_double.courier import Courier
from tests.stripe_double.double import StripeDouble
from tests.stripe_double.errors import NoAnswer, TimedOut
from tests.stripe_double.exchange import Answer, Headers, Request

# Longer than any body that Stripe takes.
BODY_BYTES_MAX = 1 << 20
CONTROL = "/_double/"

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]


def asgi_app(double: StripeDouble, *, webhook_url: str | None = None) -> App:
    """Serve a double; with a URL its webhooks are POSTed there, else they go where they went."""
    served = _Served(double, webhook_url)

    # A function, for servers take a bound method for an app of the older kind.
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await served.answer(scope, receive, send)

    return app


class _Served:
    def __init__(self, double: StripeDouble, webhook_url: str | None) -> None:
        self._double = double
        self._courier = Courier(double, webhook_url)

    async def answer(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"the double speaks HTTP, not {scope['type']}")
        body = await _body_of(receive)
        path = scope.get("raw_path", scope["path"].encode()).split(b"?")[0].decode()
        query = scope["query_string"].decode()
        if path.startswith(CONTROL):
            await self._control(scope["method"], path.removeprefix(CONTROL), query, body, send)
            return
        headers = Headers({name.decode(): value.decode() for name, value in scope["headers"]})
        request = Request(scope["method"], path, query, headers, body)
        exchange = self._double.begin(request)
        try:
            answer = await exchange.finish_in_turn()
        except TimedOut:
            await _wait_until_left(receive)
        except NoAnswer:
            await _close(send)
        else:
            await _send(send, answer)
        finally:
            self._courier.deliver_soon()

    async def _control(self, method: str, path: str, query: str, body: bytes, send: Send) -> None:
        try:
            given = json.loads(body) if body else dict(parse_qsl(query))
        except ValueError:
            given = None
        if isinstance(given, dict):
            status, told = await control(self._double, self._courier, method, unquote(path), given)
        else:
            status, told = 400, {"error": "the body is not a JSON object"}
        headers = Headers({"Content-Type": "application/json"})
        await _send(send, Answer(status, json.dumps(told), headers))

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self._courier.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _body_of(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > BODY_BYTES_MAX:
            raise ValueError("a request is longer than any that Stripe takes")
        if not message.get("more_body", False):
            return body


async def _send(send: Send, answer: Answer) -> None:
    body = answer.body.encode()
    headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _close(send: Send) -> None:
    """End the connection within the answer, which no client takes for one."""
    headers = [(b"content-length", b"100")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": True})


async def _wait_until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
