"""The service: one process, one event loop, the writer beside it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from facade import admin, billing, billing_status, live, publishing, queries, usage
from facade.audit import service as audit
from facade.boundary import Boundary
from facade.edge import Edge
from facade.ledger_metrics import LedgerCollector
from ledger.application import Ledger
from ledger.errors import StartRefusedError
from ledger.figures import Figures
from ledger.health import Part, Probe
from ledger.live_views import EmbeddedViews, LiveViews
from ledger.probes import probes_of

if TYPE_CHECKING:
    from facade.http import HttpServer

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
HEALTH_SECONDS = 1  # how often writes' health is looked at
# Health of writes alone: reads go on while nothing can be stored.
WRITES = "usage_ledger.writes"
SERVICES = (
    "usage.v1.UsageService",
    "usage.v1.BillingService",
    "usage_ledger.v1.PublishingService",
    "usage_ledger.v1.QueryService",
    "usage_ledger.v1.AdminService",
    "usage_ledger.v1.BillingStatusService",
    "usage_ledger.v1.AuditService",
)

log = logging.getLogger(__name__)


class Service:
    """A ledger's gRPC and HTTP servers, and what runs in the background beside them."""

    def __init__(
        self,
        ledger: Ledger,
        background: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
        *,
        edge: Edge | None = None,
        probes: Sequence[Probe] = (),
        views: LiveViews | None = None,
    ) -> None:
        """Take an open ledger; `background` runs from start to stop, `probes` tell of that.

        Live views are the ledger's own rows unless given.
        """
        self.ledger = ledger
        self.views = views or EmbeddedViews(ledger.shards, ledger.placing)
        self.edge = edge or Edge(ledger.settings, ledger.instruments)
        self.edge.registry.register(LedgerCollector(Figures(ledger.shards)))
        self._serving = Part("grpc")
        self.probes: list[Probe] = [self._serving, *probes_of(ledger.shards), *probes]
        self.http: HttpServer | None = None
        self._beside = background
        self._settings = ledger.settings
        self._background: list[asyncio.Task[None]] = []
        self._health = health.aio.HealthServicer()
        self.port = 0

    async def start(self) -> None:
        """Serve; the port opens when every call can be answered."""
        server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                (
                    "grpc.so_reuseport",
                    0,
                ),  # a second service on the same port must fail, not share it
            )
        )
        publisher = publishing.PublishingServicer(self.ledger)
        boundary = Boundary(self.edge.access, self.edge.calls)
        server.add_generic_rpc_handlers(
            tuple(
                boundary.handlers(calls)
                for calls in (
                    usage.handler(self.ledger),
                    billing.handler(self.ledger),
                    billing_status.handler(self.ledger),
                    publishing.handler(publisher),
                    queries.handler(queries.QueryServicer(self.ledger)),
                    live.handler(live.LiveServicer(self.ledger, self.views)),
                    admin.handler(admin.AdminServicer(self.ledger), publisher),
                    audit.handler(self.ledger),
                )
            )
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        try:
            self.port = self._open_port(server)
        except RuntimeError as error:
            raise StartRefusedError(
                f"listen {self._settings.listen}: the address cannot be used; is another service"
                " there? name another one"
            ) from error
        self._server = server
        self.ledger.start()
        await self.ledger.until_current()
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)
        await server.start()
        self._serving.is_well()
        if self._settings.http.listen is not None:
            await self._serve_http()
        self._background = [
            asyncio.create_task(run()) for run in (self._watch_writes, *self._beside)
        ]

    def _open_port(self, server: grpc.aio.Server) -> int:
        if self.edge.tls is None:
            return server.add_insecure_port(self._settings.listen)
        # It calls back for certificates as long as it is there, so it must not be collected.
        self._credentials = self.edge.tls.for_grpc()
        return server.add_secure_port(self._settings.listen, self._credentials)

    async def _serve_http(self) -> None:
        # A tenth of a second, seldom wanted.
        from facade.http import HttpServer  # noqa: PLC0415
        from facade.http_webhooks import WebhookEndpoint  # noqa: PLC0415

        self.http = HttpServer(
            self.edge,
            self.probes,
            publish=self.ledger.publish,
            webhooks=WebhookEndpoint(self.ledger),
            operator=self.ledger.operator,
        )
        try:
            await self.http.start()
        except BaseException:
            await self._server.stop(None)
            raise

    async def stop(self) -> None:
        """Take no new calls, finish those that run, finish what was submitted, close the store."""
        self._serving.waits("the service is stopping")
        await self._health.enter_graceful_shutdown()
        for task in self._background:
            task.cancel()
        for outcome in await asyncio.gather(*self._background, return_exceptions=True):
            if isinstance(outcome, Exception):  # it must not keep the rest from being stopped
                log.error("a background task had failed", exc_info=outcome)
        if self.http is not None:
            await self.http.stop()
        await self._server.stop(self._settings.shutdown_grace / 1000)
        if self.ledger.billing is not None:
            await self.ledger.billing.close()
        await asyncio.to_thread(self.ledger.close)

    async def _set_health(self, status: int) -> None:
        for name in ("", *SERVICES, WRITES):
            await self._health.set(name, status)

    async def _watch_writes(self) -> None:
        refused = False
        while True:
            if bool(self.ledger.refused) != refused:
                refused = not refused
                serving = health_pb2.HealthCheckResponse
                await self._health.set(WRITES, serving.NOT_SERVING if refused else serving.SERVING)
            await asyncio.sleep(HEALTH_SECONDS)
