"""The processes of a ledger: `serve`, which is all in one, and the roles that may run alone."""

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING

from cli.duties import duties_of, live_views_of
from cli.garbage import collect_garbage_rarely
from facade.edge import Edge
from facade.ledger_metrics import LedgerCollector
from facade.server import Service
from ledger.application import Ledger
from ledger.failpoints import failpoint_of_environment
from ledger.figures import Figures
from ledger.health import Probe
from ledger.probes import probes_of
from ledger.settings import Settings
from ledger.telemetry import configure_logging
from ledger.tracing import configure_tracing

if TYPE_CHECKING:
    from facade.http import HttpServer

log = logging.getLogger(__name__)


def run(settings: Settings, role: str = "serve") -> int:
    """Runs a role until SIGTERM or SIGINT; answers the exit code. Raises StartRefusedError."""
    configure_logging(settings.log)
    if role == "serve":
        main = _serve(settings)
    elif role == "faust":
        main = _fold_on_the_bus(settings)
    else:
        main = _work(settings, role)
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.run(main)
    return uvloop.run(main)


async def _serve(settings: Settings) -> int:
    stopping = _stopping()
    collect_garbage_rarely()
    # Before the ledger is opened: what must not be served at all is refused first.
    edge = Edge(settings)
    traces = configure_tracing(settings.tracing, role="serve")
    ledger = Ledger(
        settings,
        failpoint=traces.passing(failpoint_of_environment()),
        instruments=edge.instruments,
        projects="project" in settings.serve.parts,
    )
    duties, probes = duties_of(ledger, settings.serve.parts, role="serve")
    views, more_duties, more_probes = live_views_of(ledger)
    service = Service(
        ledger,
        [*duties, *more_duties],
        edge=edge,
        probes=[*probes, *more_probes],
        views=views,
    )
    try:
        await service.start()
    except BaseException:
        await asyncio.to_thread(ledger.close)
        raise
    _say(f"usage-ledger is serving on {_at(settings.listen, service.port)}")
    if settings.http.listen is not None and service.http is not None:
        _say(f"usage-ledger answers HTTP at {_at(settings.http.listen, service.http.port)}")
    await stopping.wait()
    await service.stop()
    await asyncio.to_thread(traces.close)
    return 0


async def _work(settings: Settings, role: str) -> int:
    """Run one role, without a gRPC port."""
    stopping = _stopping()
    collect_garbage_rarely()
    edge = Edge(settings, grpc=False)
    traces = configure_tracing(settings.tracing, role=role)
    ledger = Ledger(
        settings,
        failpoint=traces.passing(failpoint_of_environment()),
        instruments=edge.instruments,
        role=role,
        projects=role == "project",
    )
    edge.registry.register(LedgerCollector(Figures(ledger.shards)))
    http: HttpServer | None = None
    try:
        duties, more = duties_of(ledger, [role], role=role)
        probes = [*probes_of(ledger.shards), *more]
        ledger.start()
        if settings.http.listen is not None:
            http = await _open_http(edge, probes)
            _say(f"usage-ledger answers HTTP at {_at(settings.http.listen, http.port)}")
        tasks = [asyncio.create_task(duty()) for duty in duties]
        _say(f"usage-ledger {role} is running")
        await stopping.wait()
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.error("%s had failed", role, exc_info=outcome)
    finally:
        if http is not None:
            await http.stop()
        if ledger.billing is not None:
            await ledger.billing.close()
        await asyncio.to_thread(ledger.close)
        await asyncio.to_thread(traces.close)
    return 0


async def _fold_on_the_bus(settings: Settings) -> int:
    """Run the role that needs no store: it reads the bus and writes to it."""
    from consumers.live_worker import LiveWorker

    stopping = _stopping()
    edge = Edge(settings, grpc=False)
    traces = configure_tracing(settings.tracing, role="faust")
    worker = LiveWorker(settings, failpoint=traces.passing(failpoint_of_environment()))
    http: HttpServer | None = None
    try:
        if settings.http.listen is not None:
            http = await _open_http(edge, [worker.probe])
            _say(f"usage-ledger answers HTTP at {_at(settings.http.listen, http.port)}")
        _say("usage-ledger faust is running")
        return await worker.run(stopping)
    finally:
        if http is not None:
            await http.stop()
        await asyncio.to_thread(traces.close)


async def _open_http(edge: Edge, probes: list[Probe]) -> "HttpServer":
    # Late, for it costs a tenth of a second and most processes want none.
    from facade.http import HttpServer

    http = HttpServer(edge, probes)
    await http.start()
    return http


def _stopping() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


def _at(listen: str, port: int) -> str:
    """Name an address with the port that port 0 became."""
    return f"{listen.rpartition(':')[0]}:{port}"


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()
