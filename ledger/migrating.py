"""Bringing the tables of every shard up to this version, and saying when all roles run it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from ledger.errors import StartRefusedError
from ledger.settings import Settings
from ledger.stores import data_dir_of, databases_of
from persistence import Act, MigrationRow, StoreError
from persistence.sqlite import FILE_NAME, SQLiteStore, migrations_of


class ShardSchema(NamedTuple):
    """The migrations of a shard, by number."""

    shard: int
    migrations: list[MigrationRow]
    indexes: Sequence[str] = ()  # that are missing, or were; they are made behind the migrations

    @property
    def missing(self) -> list[MigrationRow]:
        """Those that are not applied yet."""
        return [row for row in self.migrations if row.applied_at is None]

    @property
    def unfinished(self) -> list[MigrationRow]:
        """Those that older roles may not know yet."""
        return [
            row for row in self.migrations if row.applied_at is not None and row.finished_at is None
        ]


def schemas(settings: Settings) -> list[ShardSchema]:
    """Look at every shard and change nothing; StartRefusedError says what to change."""
    try:
        return _schemas(settings)
    except StoreError as error:
        raise StartRefusedError(str(error)) from error


def migrate(settings: Settings, author: str) -> list[ShardSchema]:
    """Apply what is missing on every shard and give it."""
    try:
        looked = _schemas(settings)
        before = [schema.missing for schema in looked]
        if settings.store == "postgres":
            from persistence.postgres import migrate_shards  # noqa: PLC0415  # an extra

            applied = migrate_shards(databases_of(settings, "migrate"), author)
        else:
            for number, missing in enumerate(before):
                if missing:  # opening applies it, with the folder locked
                    store = SQLiteStore(data_dir_of(settings, number))
                    detail = f"up to migration {missing[-1].number}"
                    with closing(store), store.transaction() as transaction:
                        transaction.add_act(
                            Act(int(time.time() * 1_000), author, "migrate", detail)
                        )
            numbers = [{row.number for row in missing} for missing in before]
            applied = [
                [row for row in schema.migrations if row.number in numbers[schema.shard]]
                for schema in _schemas(settings)
            ]
    except StoreError as error:
        raise StartRefusedError(str(error)) from error
    return [schema._replace(migrations=rows) for schema, rows in zip(looked, applied, strict=True)]


def finish(settings: Settings, author: str) -> list[ShardSchema]:
    """Mark what is applied as known to every role, on every shard, and give it.

    From then on newer forms of events may be written. In files nobody else reads, so what is
    applied there is finished.
    """
    if settings.store != "postgres":
        return [schema._replace(migrations=[]) for schema in schemas(settings)]
    from persistence.postgres import finish as finish_database  # noqa: PLC0415  # an extra

    try:
        return [
            ShardSchema(number, finish_database(database, author))
            for number, database in enumerate(databases_of(settings, "migrate"))
        ]
    except StoreError as error:
        raise StartRefusedError(str(error)) from error


def _schemas(settings: Settings) -> list[ShardSchema]:
    if settings.store == "memory":
        raise StartRefusedError('store is "memory", which has nothing to migrate')
    if settings.store == "postgres":
        from persistence.postgres import missing_indexes, state  # noqa: PLC0415  # an extra

        return [
            ShardSchema(number, state(database), missing_indexes(database))
            for number, database in enumerate(databases_of(settings, "migrate"))
        ]
    return [
        ShardSchema(number, migrations_of(_file(settings, number)))
        for number in range(settings.shard_count)
    ]


def _file(settings: Settings, number: int) -> Path:
    return data_dir_of(settings, number) / FILE_NAME
