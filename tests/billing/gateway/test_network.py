"""The real client of HTTP, against a peer on loopback that is slow, silent, gone or fine."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from billing import GatewaySettings, Secret, StripeTimeoutError, StripeUnavailableError
from billing.gateway import Gateway
from tests.billing.gateway.samples import PRICE, subscription

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BODY = json.dumps(PRICE).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@asynccontextmanager
async def gateway_to(peer: Peer, *, timeout_seconds: float) -> AsyncIterator[Gateway]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await peer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    settings = GatewaySettings(
        secret_key=Secret("sk_test_1"),
        base_url=f"http://{host}:{port}",
        timeout_seconds=timeout_seconds,
        retries=0,
    )
    async with server, Gateway(settings) as calls:
        yield calls


class TestPeers:
    async def test_one_that_answers(self) -> None:
        async def peer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD % len(BODY) + BODY)
            await writer.drain()

        async with gateway_to(peer, timeout_seconds=10) as calls:
            assert "price_1" == (await calls.price("price_1")).price_id

    async def test_one_that_is_asked_leaves_no_line_in_the_log(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One for each request, and in the address of a search the payer."""
        caplog.set_level(logging.INFO)

        async def peer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD % len(BODY) + BODY)
            await writer.drain()

        async with gateway_to(peer, timeout_seconds=10) as calls:
            await calls.price("price_1")
        assert [] == [record for record in caplog.records if record.name.startswith("httpx")]

    async def test_one_that_takes_the_request_and_is_silent(self) -> None:
        async def peer(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
            await asyncio.sleep(60)

        async with gateway_to(peer, timeout_seconds=0.2) as calls:
            with pytest.raises(StripeTimeoutError) as caught:
                await calls.set_automatic_tax("sub_1", enabled=True)
            assert caught.value.outcome_unknown

    async def test_one_that_sends_a_byte_now_and_then(self) -> None:
        body = json.dumps(subscription()).encode()

        async def peer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD % len(body))
            for number in range(len(body)):
                writer.write(body[number : number + 1])
                await writer.drain()
                await asyncio.sleep(0.1)

        # Each byte comes in time, and all together take far too long.
        async with gateway_to(peer, timeout_seconds=0.5) as calls:
            with pytest.raises(StripeTimeoutError) as caught:
                await calls.set_automatic_tax("sub_1", enabled=True)
            assert caught.value.outcome_unknown

    async def test_one_that_hangs_up(self) -> None:
        async def peer(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
            """Closes at once."""

        async with gateway_to(peer, timeout_seconds=10) as calls:
            with pytest.raises(StripeUnavailableError) as caught:
                await calls.set_automatic_tax("sub_1", enabled=True)
            assert caught.value.outcome_unknown

    async def test_one_that_is_gone(self) -> None:
        async def peer(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
            """Never asked."""

        async with gateway_to(peer, timeout_seconds=10) as calls:
            address = calls._session._settings.base_url
        settings = GatewaySettings(secret_key=Secret("sk_test_1"), base_url=address, retries=0)
        async with Gateway(settings) as calls:
            with pytest.raises(StripeUnavailableError, match="ConnectError"):
                await calls.price("price_1")

    async def test_a_call_that_is_cancelled_is_cancelled(self) -> None:
        asked = asyncio.Event()

        async def peer(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
            asked.set()
            await asyncio.sleep(60)

        async with gateway_to(peer, timeout_seconds=10) as calls:
            call = asyncio.create_task(calls.price("price_1"))
            await asked.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
