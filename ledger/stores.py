"""Opening the stores that the settings name: one a shard, the first shard's first."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ledger.errors import StartRefusedError
from ledger.settings import Settings
from persistence import Reader, StoreError, WritableStore
from persistence.sqlite import FILE_NAME, SQLiteFileReader, SQLiteReader, SQLiteStore

if TYPE_CHECKING:
    from persistence.postgres import Database


class OpenStore(NamedTuple):
    """A shard's store, how to make a connection for reading, and how many there may be, 0: any."""

    store: WritableStore
    new_reader: Callable[[], Reader]
    pool_size: int = 0


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
        if settings.store == "postgres":
            _open_databases(settings, role, opened)
        else:
            for number in range(settings.shard_count):
                opened.append(_open_file(settings, number))  # noqa: PERF401  # closed if one fails
    except StoreError as error:
        for each in opened:
            each.store.close()
        raise StartRefusedError(str(error)) from error
    return opened


def open_readers(settings: Settings) -> list[Reader]:
    """Read every shard's store beside whoever has it open; StartRefusedError says what to change.

    Nothing is written, migrated or locked.
    """
    readers: list[Reader] = []
    try:
        if settings.store == "postgres":
            databases = databases_of(settings, "read")
            from persistence.postgres import PostgresDatabaseReader  # noqa: PLC0415  # an extra

            for database in databases:
                readers.append(PostgresDatabaseReader(database))  # noqa: PERF401  # as below
        elif settings.store == "memory":
            raise StartRefusedError('store is "memory", which only its own process can read')
        else:
            for number in range(settings.shard_count):
                path = data_dir_of(settings, number) / FILE_NAME
                readers.append(SQLiteFileReader(path))
    except StoreError as error:
        for reader in readers:
            reader.close()
        raise StartRefusedError(str(error)) from error
    return readers


def data_dir_of(settings: Settings, number: int) -> Path:
    """Give the folder of a shard that lies in a file."""
    return settings.data_dir if number == 0 else settings.data_dir / f"shard-{number}"


def databases_of(settings: Settings, role: str) -> list[Database]:
    """Give the databases of the shards; StartRefusedError when there are none."""
    try:
        from persistence.postgres import Database  # noqa: PLC0415  # an extra that most do without
    except ImportError as error:
        raise StartRefusedError(
            'store is "postgres", which needs more packages: pip install "usage-ledger[cluster]"'
        ) from error
    given = settings.postgres
    if not given.urls:
        raise StartRefusedError('store is "postgres", so set postgres.urls')
    return [Database(url, given.password_file, role=role) for url in given.urls]


def _open_file(settings: Settings, number: int) -> OpenStore:
    data_dir = None if settings.store == "memory" else data_dir_of(settings, number)
    sqlite = SQLiteStore(data_dir, synchronous=settings.sqlite.synchronous)
    return OpenStore(sqlite, lambda: SQLiteReader(sqlite))


def _open_databases(settings: Settings, role: str, opened: list[OpenStore]) -> None:
    databases = databases_of(settings, role)
    from persistence.postgres import PostgresReader, PostgresStore  # noqa: PLC0415  # as above

    given = settings.postgres
    ledger_id: str | None = None
    for number, database in enumerate(databases):
        store = PostgresStore(
            database,
            shard=number,
            ledger_id=ledger_id,
            pool_size=given.pool_size,
            migrate_at_start=given.migrate_at_start,
            allow_unsafe=given.allow_unsafe,
        )
        ledger_id = store.ledger_id
        opened.append(OpenStore(store, partial(PostgresReader, store), given.pool_size))
