"""Watching a topic: its ID, where its partitions begin and end, and whether the cluster answers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from consumers.connecting import BusUnavailableError, Cluster, TopicState
from ledger.settings import KafkaSettings

LOOK_SECONDS = 5.0  # between two looks; a topic that was made anew is noticed within so long
TROUBLE_SECONDS = 1.0  # ... and while no broker answers
SAID_AGAIN_SECONDS = 30.0

log = logging.getLogger(__name__)


class TopicWatch:
    """Looks at a topic on a thread of its own; its attributes are replaced whole."""

    def __init__(
        self, kafka: KafkaSettings, topic: str, on_look: Callable[[], None] = lambda: None
    ) -> None:
        """Prepare; `start` begins to look. `on_look` is told on that thread after each look."""
        self._on_look = on_look
        self._cluster = Cluster(kafka, "watch")
        self._group = kafka.group_id
        self._topic = topic
        self._wake = threading.Event()
        self._stopping = False
        self._said = 0.0
        self._thread = threading.Thread(target=self._run, name="topic-watch", daemon=True)
        self.state: TopicState | None = None
        self.looked_at = 0.0  # when the newest look began, by the monotonic clock
        self.trouble = ""  # why the cluster cannot be asked, while that is so

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._cluster.close()

    def look_now(self) -> None:
        """Do not wait for the next time; from any thread."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            self._look()
            self._on_look()
            self._wake.wait(TROUBLE_SECONDS if self.trouble else LOOK_SECONDS)

    def _look(self) -> None:
        began = time.monotonic()
        try:
            self.state = self._cluster.look(self._topic, self._group)
            self.looked_at = began
        except BusUnavailableError as error:
            self._say(str(error))
            return
        except Exception as error:
            log.exception("the cluster could not be asked; trying again")
            self._say(f"{type(error).__name__}: {error}")
            return
        if self.trouble:
            log.info("the cluster answers again: topic %s", self._topic)
        self.trouble = ""

    def _say(self, trouble: str) -> None:
        now = time.monotonic()
        if not self.trouble or now - self._said > SAID_AGAIN_SECONDS:
            log.error("intake waits: %s", trouble)
            self._said = now
        self.trouble = trouble
