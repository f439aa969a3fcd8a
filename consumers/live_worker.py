"""The role `faust`: a worker that keeps live meters and alerts, from start to stop."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path

from kafka.errors import KafkaError

from consumers.connecting import BusUnavailableError, Cluster
from consumers.faust_app import Layout, LiveApp
from ledger.errors import StartRefusedError
from ledger.health import Part
from ledger.settings import Settings

WAIT_SECONDS = 2.0  # between two looks for the broker and its topics
# A worker that has failed may wait for itself: what it did not acknowledge is read again anyway.
STOP_SECONDS = 20.0

log = logging.getLogger(__name__)


class LiveWorker:
    """Runs one Faust worker in the event loop of its process."""

    def __init__(
        self, settings: Settings, *, failpoint: Callable[[str], None] = lambda _name: None
    ) -> None:
        """Prepare; StartRefusedError says what to change."""
        if settings.kafka.bootstrap_servers is None:
            raise StartRefusedError(
                "kafka.bootstrap_servers is not set: the role faust reads from the bus"
            )
        if settings.live_views.faust_store == "rocksdb" and not _has_rocksdb():
            raise StartRefusedError(
                'live_views.faust_store is "rocksdb", which needs the package rocksdict: install'
                ' it, or set it to "memory"'
            )
        self.probe = Part("live-views")
        self._settings = settings
        self._failpoint = failpoint
        self._failure: asyncio.Future[None] | None = None
        self.live: LiveApp | None = None

    async def run(self, stopping: asyncio.Event) -> int:
        """Work until told to stop; give the exit code, 1 when something could not be folded."""
        layout = await self._layout(stopping)
        if layout is None:
            return 0
        settings = self._settings
        failure = self._failure = asyncio.get_running_loop().create_future()
        live = self.live = LiveApp(
            settings.kafka,
            layout,
            store=settings.live_views.faust_store,
            data_dir=_made(settings.live_views.faust_data_dir or settings.data_dir / "faust"),
            on_failure=self._fail,
            failpoint=self._failpoint,
        )
        live.app.finalize()
        await live.app.start()
        self.probe.is_well()
        folding = asyncio.create_task(live.fold_forever())
        watching = asyncio.create_task(live.watch_forever())
        watch = asyncio.create_task(self._watch(live))
        told = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait([told, watch, failure], return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                self._fail(RuntimeError("Faust has stopped by itself; its log says why"))
        finally:
            told.cancel()
            watch.cancel()
            watching.cancel()
            # It goes on to the end: Faust waits for what was read and is not yet acknowledged.
            await self._stop(live)
            folding.cancel()
        return 1 if failure.done() else 0

    async def _layout(self, stopping: asyncio.Event) -> Layout | None:
        """Ask how the topics are, until somebody answers; None when told to stop before."""
        said = ""
        while not stopping.is_set():
            try:
                return await asyncio.to_thread(_look, self._settings)
            except BusUnavailableError as error:
                self.probe.waits(str(error))
                if str(error) != said:
                    log.error("live views wait: %s", error)  # noqa: TRY400  # the broker's trouble
                    said = str(error)
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await stopping.wait()
            except TimeoutError:
                continue
        return None

    async def _watch(self, live: LiveApp) -> None:
        """Return when the app has crashed or stopped."""
        while not (live.app.should_stop or live.app.crashed):
            await live.app.sleep(0.5)

    def _fail(self, error: BaseException) -> None:
        self.probe.died(f"live views have failed: {type(error).__name__}: {error}")
        log.error("the worker stops: %s: %s", type(error).__name__, error)
        if self.live is not None:
            # Faust would wait for what was read to be acknowledged, and that will never be.
            self.live.app.conf.stream_wait_empty = False
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(None)

    async def _stop(self, live: LiveApp) -> None:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await live.app.stop()
        except TimeoutError:
            log.warning("Faust did not stop in %d s; it is left behind", STOP_SECONDS)


def _look(settings: Settings) -> Layout:
    """Ask for the three topics; BusUnavailableError while one is not there."""
    topics = settings.kafka.topics
    wanted = [topics.ledger_events, topics.alerts, topics.meters]
    with Cluster(settings.kafka, "faust") as cluster:
        try:
            described = {one["name"]: one for one in cluster.admin().describe_topics(wanted)}
        except KafkaError as error:
            raise BusUnavailableError(cluster.sentence(error)) from error
    for name in wanted:
        if name not in described or described[name]["error_code"]:
            raise BusUnavailableError(
                f"topic {name!r} is not there: `usage-ledger topics create` makes it"
            )
    partitions = described[topics.ledger_events]["partitions"]
    return Layout(len(partitions), min(len(each["replica_nodes"]) for each in partitions))


def _made(folder: Path) -> Path:
    """Make a folder with those above it, which Faust does not; StartRefusedError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartRefusedError(
            f"{folder} cannot be made: {error.strerror}; set live_views.faust_data_dir to a folder"
            " that can"
        ) from error
    return folder


def _has_rocksdb() -> bool:
    return importlib.util.find_spec("rocksdict") is not None
