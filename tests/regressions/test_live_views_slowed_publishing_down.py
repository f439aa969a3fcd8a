"""Folding live views counted as a command, so it ended every group of published events early.

Short groups cost a fifth more an event.
"""

from __future__ import annotations

import asyncio
import threading

import pytest

from ledger import writer as writing
from ledger.core import Core
from ledger.group import Group
from ledger.writer import BULK_WITH_COMMAND_SECONDS_MAX, Writer
from tests.faults.stores import FailingStore
from tests.harness import ManualClock

WAIT_SECONDS_MAX = 10


async def test_work_in_the_background_ends_no_group_of_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A machine that stalls for longer than a group may last at most would end it as well.
    monkeypatch.setattr(writing, "BULK_SECONDS_MAX", WAIT_SECONDS_MAX)
    store = FailingStore()
    writer = Writer(Core(store, ManualClock()))
    writer.start()
    did: list[tuple[str, int]] = []  # what was done, in which transaction
    begun, go_on = threading.Event(), threading.Event()

    def act(name: str, group: Group) -> None:
        if name == "first":
            begun.set()
            assert go_on.wait(WAIT_SECONDS_MAX)
        did.append((name, id(group)))

    first = asyncio.create_task(writer.bulk(lambda group: act("first", group), "test"))
    await asyncio.to_thread(begun.wait, WAIT_SECONDS_MAX)
    others = [
        asyncio.create_task(writer.background(lambda group: act("views", group))),
        asyncio.create_task(writer.bulk(lambda group: act("second", group), "test")),
        asyncio.create_task(writer.bulk(lambda group: act("third", group), "test")),
    ]
    # Longer than a group lasts while a command waits.
    await asyncio.sleep(2 * BULK_WITH_COMMAND_SECONDS_MAX)
    go_on.set()
    await asyncio.gather(first, *others)

    assert ["first", "second", "third", "views"] == [name for name, _ in did]
    assert 1 == len({group for _, group in did})
    await asyncio.to_thread(writer.stop)
    store.close()


async def test_a_command_that_comes_meanwhile_has_a_clock_of_its_own() -> None:
    store, clock = FailingStore(), ManualClock("2026-11-01T08:00:00Z")
    writer = Writer(Core(store, clock))
    writer.start()
    times: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def fold(_group: Group) -> None:
        begun.set()
        assert go_on.wait(WAIT_SECONDS_MAX)

    views = asyncio.create_task(writer.background(fold))
    await asyncio.to_thread(begun.wait, WAIT_SECONDS_MAX)
    clock.set("2026-11-01T09:00:00Z")
    command = asyncio.create_task(writer.command(lambda group: times.append(group.now), "test"))
    await asyncio.sleep(2 * BULK_WITH_COMMAND_SECONDS_MAX)
    go_on.set()
    await asyncio.gather(views, command)

    assert [clock.now_ns() // 1_000_000] == times
    await asyncio.to_thread(writer.stop)
    store.close()
