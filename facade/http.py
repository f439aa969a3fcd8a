"""HTTP: health, metrics, and events for those without Kafka or gRPC.

It serves any role: it knows the parts of a process by their probes, and takes events only if it is
told who takes them in.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

import grpc
import msgspec
from aiohttp import web
from prometheus_client.exposition import choose_encoder

from facade.access import names_in_certificate
from facade.boundary import author, status_of
from facade.edge import Edge
from facade.http_events import (
    NotUnderstoodError,
    Read,
    TooManyEventsError,
    UnknownContentTypeError,
    reader_of,
)
from facade.http_webhooks import PATH as WEBHOOK_PATH
from facade.http_webhooks import STATUS as WEBHOOK_STATUS
from facade.http_webhooks import WebhookEndpoint
from facade.metrics import ProbeCollector
from facade.publishing import LINES_BYTES_MAX, checked_name
from ledger import tracing
from ledger.application import HTTP_PREFIX
from ledger.errors import LedgerError, StartRefusedError
from ledger.health import Probe
from ledger.intake import Receipt, TooManyLinesError

BODY_BYTES_MAX = LINES_BYTES_MAX  # 3 MiB, as a request over gRPC; unpacked, if it came packed
BODY_SECONDS_MAX = 60.0  # a body that comes more slowly holds memory for nobody's benefit
BODIES_AT_ONCE = 16  # 48 MiB of bodies at most; others wait before theirs is read
CONNECTIONS_NAMED = 10_000  # whose events are counted under one name each
RETRY_AFTER_SECONDS = "1"
DELIVERY_HEADER = "Usage-Ledger-Delivery"
_CHUNK = 65_536

Publish = Callable[[Read, str], Awaitable[Receipt]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_STATUS: dict[grpc.StatusCode, HTTPStatus] = {
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    grpc.StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.CONFLICT,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}
_encode = msgspec.json.Encoder().encode


class BodyTooLargeError(LedgerError):
    """More bytes than a request may have."""


class BodyTooSlowError(LedgerError):
    """The body did not come in time."""


class BodyCutOffError(LedgerError):
    """The body did not come to its end, or cannot be unpacked."""


# What only HTTP can tell apart.
_OWN_STATUS: dict[type[LedgerError], HTTPStatus] = {
    NotUnderstoodError: HTTPStatus.BAD_REQUEST,
    UnknownContentTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    TooManyEventsError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    TooManyLinesError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    BodyCutOffError: HTTPStatus.BAD_REQUEST,
    BodyTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    BodyTooSlowError: HTTPStatus.REQUEST_TIMEOUT,
    **WEBHOOK_STATUS,
}


class HttpServer:
    """Listens on `http.listen`."""

    def __init__(
        self,
        edge: Edge,
        probes: Sequence[Probe],
        *,
        publish: Publish | None = None,
        webhooks: WebhookEndpoint | None = None,
        operator: str = "",
    ) -> None:
        """Serve these parts' health; `publish` takes events in, `webhooks` what Stripe tells.

        `operator` is the author of what comes over loopback when nobody is authenticated.
        """
        address = edge.settings.http_address
        assert address is not None
        self._host, self._wanted_port = address
        self._edge = edge
        self._probes = list(probes)
        self._publish = publish
        self._webhooks = webhooks
        self._operator = operator
        self._bodies = asyncio.Semaphore(BODIES_AT_ONCE)
        self._names: OrderedDict[Any, str] = OrderedDict()
        self._runner: web.AppRunner | None = None
        self.port = 0
        edge.registry.register(ProbeCollector(self._probes))

    async def start(self) -> None:
        """Open the port; StartRefusedError if it cannot be had."""
        application = web.Application(middlewares=[self._answer])
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/readyz/{part}", self._readyz_of_part)
        application.router.add_get("/metrics", self._metrics)
        if self._publish is not None:
            application.router.add_post("/events", self._events)
        if self._webhooks is not None:
            application.router.add_post(WEBHOOK_PATH, self._webhooks.take)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=self._edge.settings.shutdown_grace / 1000,
        )
        await self._runner.setup()
        tls = self._edge.tls.for_http() if self._edge.tls is not None else None
        site = web.TCPSite(self._runner, self._host, self._wanted_port, ssl_context=tls)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise StartRefusedError(
                f"http.listen {self._edge.settings.http.listen}: the address cannot be used; is "
                "another service there? name another one"
            ) from error
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Take no new requests, and finish those that run within `shutdown_grace`."""
        if self._runner is not None:
            await self._runner.cleanup()

    # What every request passes -----------------------------------------------------------------

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else "other"
        began = time.perf_counter()
        with tracing.current().serving(
            f"{request.method} {path}",
            {"traceparent": request.headers.get("traceparent", "")},
            **{"http.request.method": request.method, "http.route": path},
        ) as span:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = _told(HTTPStatus(error.status), _sentence(error, request))
                response.headers.update(
                    {name: value for name, value in error.headers.items() if name == "Allow"}
                )
            except Exception as error:  # noqa: BLE001  # the table tells what becomes of it
                response = _refusal(error)
            span.set("http.response.status_code", response.status)
            if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.fail(HTTPStatus(response.status).phrase)
        response.headers["Server"] = "usage-ledger"
        method = request.method if resource is not None else "other"
        self._edge.requests.end(path, method, response.status, time.perf_counter() - began)
        return response

    def _admit(self, request: web.Request, call: str) -> str:
        """Give the author of what a request does, if it may do it."""
        caller = self._edge.access.admit(
            call,
            request.headers.get("Authorization"),
            lambda: names_in_certificate(_of_transport(request, "peercert")),
        )
        return author(caller.name, self._operator, is_local=_is_local(request))

    # Health and metrics ------------------------------------------------------------------------

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _health(self._probes, all(probe.alive for probe in self._probes))

    async def _readyz(self, _request: web.Request) -> web.Response:
        needed = [probe for probe in self._probes if probe.is_needed]
        return _health(self._probes, all(probe.alive and probe.ready for probe in needed))

    async def _readyz_of_part(self, request: web.Request) -> web.Response:
        name = request.match_info["part"]
        found = [probe for probe in self._probes if probe.name == name]
        if not found:
            raise web.HTTPNotFound
        return _health(found, all(probe.alive and probe.ready for probe in found))

    async def _metrics(self, request: web.Request) -> web.Response:
        self._admit(request, "GET /metrics")
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # On a thread: what is read of the store must not keep calls waiting.
        text = await asyncio.to_thread(encode, self._edge.registry)
        return web.Response(body=text, headers={"Content-Type": content_type})

    # Events ------------------------------------------------------------------------------------

    async def _events(self, request: web.Request) -> web.Response:
        assert self._publish is not None
        by = self._admit(request, "POST /events")
        delivery = checked_name(request.headers.get(DELIVERY_HEADER, "")) or self._named(request)
        headers = {}
        for name in request.headers:
            values = request.headers.getall(name)
            if len(values) > 1 and name.lower().startswith("ce-"):
                raise NotUnderstoodError(f"header {name[:80]} is given more than once")
            headers[name.lower()] = values[0]
        async with self._bodies:
            body = await _body_of(request)
            read = reader_of(headers.get("content-type", ""), headers, body, delivery)
            receipt = await self._publish(read, by)
        return web.Response(body=_encode(_receipt(receipt)), content_type="application/json")

    def _named(self, request: web.Request) -> str:
        """Name a connection for what comes over it: a name for each request would be too many."""
        peer = _of_transport(request, "peername")
        name = self._names.get(peer)
        if name is None:
            name = self._names[peer] = f"{HTTP_PREFIX}{uuid.uuid4()}"
            if len(self._names) > CONNECTIONS_NAMED:
                self._names.popitem(last=False)
        return name


async def _body_of(request: web.Request) -> bytes:
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            async for piece in request.content.iter_chunked(_CHUNK):
                size += len(piece)
                if size > BODY_BYTES_MAX:
                    raise BodyTooLargeError(
                        f"a body of more than {BODY_BYTES_MAX:,} bytes: send fewer events in it"
                    )
                pieces.append(piece)
    except TimeoutError:
        raise BodyTooSlowError(
            f"the body did not come within {BODY_SECONDS_MAX:g} seconds: send fewer events in it"
        ) from None
    except (web.RequestPayloadError, ConnectionError):
        raise BodyCutOffError(
            "the body is cut off, or not packed as content-encoding says"
        ) from None
    return b"".join(pieces)


def _receipt(receipt: Receipt) -> dict[str, Any]:
    return {
        **receipt.counts._asdict(),
        "rejects": [
            {"index": one.line - 1, "reason": one.reason, "deadLetterId": one.dead_letter_id}
            for one in receipt.rejects
        ],
        "position": {"shard": min(receipt.positions), "number": receipt.position},
        "positions": [
            {"shard": shard, "number": number}
            for shard, number in sorted(receipt.positions.items())
        ],
    }


def _health(probes: Sequence[Probe], is_well: bool) -> web.Response:  # noqa: FBT001
    parts = {
        probe.name: {
            "alive": probe.alive,
            "ready": probe.ready,
            "reason": probe.reason,
            **({} if probe.lag is None else {"lag": probe.lag}),
        }
        for probe in probes
    }
    status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
    body = _encode({"ok": is_well, "parts": parts})
    return web.Response(status=status, body=body, content_type="application/json")


def _refusal(error: Exception) -> web.Response:
    for kind in type(error).__mro__:
        if kind in _OWN_STATUS:
            return _told(_OWN_STATUS[kind], str(error))
    code, sentence = status_of(error)
    return _told(_STATUS.get(code, HTTPStatus.INTERNAL_SERVER_ERROR), sentence)


def _told(status: HTTPStatus, sentence: str) -> web.Response:
    response = web.Response(
        status=status, body=_encode({"error": sentence}), content_type="application/json"
    )
    if status is HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        response.force_close()  # the rest of the body is not read
    return response


def _sentence(error: web.HTTPException, request: web.Request) -> str:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return f"{request.method} is not possible at {request.path[:80]}: only {allowed}"
    if isinstance(error, web.HTTPNotFound):
        return (
            f"there is nothing at {request.path[:80]}: ask for /healthz, /readyz or /metrics, or "
            "POST to /events"
        )
    return error.reason


def _of_transport(request: web.Request, name: str) -> Any:
    return None if request.transport is None else request.transport.get_extra_info(name)


def _is_local(request: web.Request) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(request.remote or "").is_loopback
    return False
