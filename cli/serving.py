"""`usage-ledger serve`: wires ledger, service and jobs, and runs them until told to stop."""

import asyncio
import gc
import signal
import sys

from facade.edge import Edge
from facade.server import Service
from jobs import Scheduler
from ledger.application import Ledger
from ledger.failpoints import failpoint_of_environment
from ledger.metrics import Instruments
from ledger.settings import Settings
from ledger.telemetry import configure_logging
from ledger.tracing import configure_tracing

GC_THRESHOLD = 20_000  # objects made before the collector looks at the youngest


def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT; answers the exit code. Raises StartRefusedError."""
    configure_logging(settings.log)
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.run(_serve(settings))
    return uvloop.run(_serve(settings))


def collect_garbage_rarely() -> None:
    """What was imported stays, and what events leave behind is mostly not cyclic.

    Python's defaults cost a twentieth of the throughput.
    """
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 50, 100)


async def _serve(settings: Settings) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    collect_garbage_rarely()
    # Before the ledger is opened: what must not be served at all is refused first.
    edge = Edge(settings, Instruments())
    traces = configure_tracing(settings.tracing, role="serve")
    ledger = Ledger(
        settings,
        failpoint=traces.passing(failpoint_of_environment()),
        instruments=edge.instruments,
    )
    scheduler = Scheduler(ledger)
    service = Service(ledger, [scheduler.run], edge=edge)
    try:
        await service.start()
    except BaseException:
        await asyncio.to_thread(ledger.close)
        raise
    _say_where(service, settings)
    await stopping.wait()
    await service.stop()
    await asyncio.to_thread(traces.close)
    return 0


def _say_where(service: Service, settings: Settings) -> None:
    host = settings.listen.rpartition(":")[0]
    sys.stderr.write(f"usage-ledger is serving on {host}:{service.port}\n")
    if service.http is not None:
        assert settings.http.listen is not None
        host = settings.http.listen.rpartition(":")[0]
        sys.stderr.write(f"usage-ledger answers HTTP at {host}:{service.http.port}\n")
    sys.stderr.flush()
