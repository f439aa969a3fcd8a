"""Opening the stores that the settings name: one a shard, the first shard's first."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ledger.errors import StartRefusedError
from ledger.settings import Settings
from persistence import Reader, StoreRefusedError, WritableStore
from persistence.sqlite import SQLiteReader, SQLiteStore


class OpenStore(NamedTuple):
    """A shard's store, and how to make a connection for reading."""

    store: WritableStore
    new_reader: Callable[[], Reader]


def open_stores(settings: Settings, role: str) -> list[OpenStore]:
    """Open every shard's store; StartRefusedError says what to change, and none stays open."""
    for number in settings.open_shards:
        if number >= settings.shard_count:
            raise StartRefusedError(
                f"shards.open names shard {number}, but there are {settings.shard_count}, numbered"
                " from 0"
            )
    opened: list[OpenStore] = []
    try:
        for number in range(settings.shard_count):
            opened.append(_open(settings, number, role))  # noqa: PERF401  # closed if one fails
    except StoreRefusedError as error:
        for each in opened:
            each.store.close()
        raise StartRefusedError(str(error)) from error
    return opened


def _open(settings: Settings, number: int, role: str) -> OpenStore:
    if settings.store == "postgres":
        return _open_postgres(settings, number, role)
    data_dir = settings.data_dir if number == 0 else settings.data_dir / f"shard-{number}"
    sqlite = SQLiteStore(
        None if settings.store == "memory" else data_dir, synchronous=settings.sqlite.synchronous
    )
    return OpenStore(sqlite, lambda: SQLiteReader(sqlite))


def _open_postgres(settings: Settings, number: int, role: str) -> OpenStore:
    raise NotImplementedError
