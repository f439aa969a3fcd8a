"""After a write was refused the store was tried again only when somebody wrote.

Clients that look at health first never did.
"""

from __future__ import annotations

import asyncio

import pytest

from ledger.core import Core
from ledger.errors import UnavailableError
from ledger.group import Group
from ledger.writer import RETRY_SECONDS, Writer
from tests.faults.stores import FailingStore
from tests.harness import ManualClock


async def test_the_writer_tries_again_without_a_caller() -> None:
    store = FailingStore()
    writer = Writer(Core(store, ManualClock()))
    writer.start()
    store.transactions_left = 0
    with pytest.raises(UnavailableError):
        await writer.command(_nothing, "test")
    assert writer.refused
    await asyncio.sleep(2 * RETRY_SECONDS)
    assert writer.refused

    store.transactions_left = None
    for _ in range(50):
        await asyncio.sleep(RETRY_SECONDS / 10)
        if not writer.refused:
            break
    assert not writer.refused
    await asyncio.to_thread(writer.stop)
    store.close()


async def test_work_that_stores_nothing_proves_nothing() -> None:
    store = FailingStore()
    writer = Writer(Core(store, ManualClock()))
    writer.start()
    store.transactions_left = 0
    with pytest.raises(UnavailableError):
        await writer.command(_nothing, "test")

    store.transactions_left = 1  # for the command, none for a write
    await writer.command(_nothing, "test")

    assert writer.refused
    await asyncio.to_thread(writer.stop)
    store.close()


def _nothing(_group: Group) -> None:
    """Even this needs a transaction."""
