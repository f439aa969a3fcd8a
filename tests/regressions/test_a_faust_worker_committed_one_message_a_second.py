"""Faust dropped messages around a recovery; sought again, they were committed one a second."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from faust.types import TP
from faust.types.tuples import ConsumerMessage

from consumers.faust_app import Layout, LiveApp
from ledger.settings import load_settings

PLACE = TP("ledger.events", 0)
COMMITTED = 112
END = 753


def test_what_was_sought_again_is_committed_at_once(tmp_path: Path) -> None:
    # 112 to 161 are read and dropped, 162 is handed over: 112 is sought.
    assert END == _committed(tmp_path, gap=(COMMITTED + 1, 162), acknowledged=COMMITTED)


def test_what_was_dropped_is_not_committed(tmp_path: Path) -> None:
    assert _committed(tmp_path, gap=(COMMITTED, 161), acknowledged=162) is None


def _committed(folder: Path, *, gap: tuple[int, int], acknowledged: int) -> int | None:
    """Give what is committed next, when all from some offset to the end was acknowledged."""

    async def run() -> int | None:
        kafka = load_settings(None, kafka={"bootstrap_servers": "127.0.0.1:1"}).kafka
        live = LiveApp(kafka, Layout(1, 1), store="memory", data_dir=folder, on_failure=_fail)
        consumer: Any = live.app.consumer
        consumer.app.topics.acks_enabled_for = lambda _topic: True
        try:
            consumer._committed_offset[PLACE] = COMMITTED
            await consumer._add_gap(PLACE, *gap)
            _acknowledge(consumer, range(acknowledged, END))
            offset: int | None = consumer._new_offset(PLACE)
            return offset
        finally:
            consumer._thread.thread_loop.close()

    return asyncio.run(run())


def _fail(error: BaseException) -> None:
    raise error


def _acknowledge(consumer: Any, offsets: Iterable[int]) -> None:
    for offset in offsets:
        consumer.ack(
            ConsumerMessage(
                topic=PLACE.topic,
                partition=PLACE.partition,
                offset=offset,
                timestamp=0.0,
                timestamp_type=0,
                headers={},
                key=b"",
                value=b"",
                checksum=None,
            )
        )
