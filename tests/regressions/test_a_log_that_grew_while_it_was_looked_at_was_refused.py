"""A process that started while others appended said that events were missing: restore a backup."""

from __future__ import annotations

from contextlib import closing
from typing import Any, cast

import pytest
from psycopg import Connection

from persistence.postgres import Database, PostgresStore
from persistence.postgres.opening import refuse_gaps
from persistence.sql import Row
from tests.store.facts import placed, run


class Busy:
    """A connection to a database in which somebody appends after each statement."""

    def __init__(self, connection: Connection[Row], store: PostgresStore) -> None:
        self._connection = connection
        self._store = store
        self._appended = 0

    @property
    def closed(self) -> bool:
        return self._connection.closed

    def execute(self, *arguments: Any, **options: Any) -> Any:
        answer = self._connection.execute(*arguments, **options)
        self._appended += 1
        event = placed(f"credit-note:{self._appended}")._replace(position=self._appended)
        run(self._store, lambda transaction: transaction.append([event]))
        return answer


@pytest.mark.postgres
def test_a_log_may_grow_while_a_process_starts(ledger_database: str) -> None:
    database = Database(ledger_database)
    with closing(PostgresStore(database)) as store, closing(database.connect("a test")) as reader:
        refuse_gaps(cast("Connection[Row]", Busy(reader, store)), database)
        assert store.progress().head > 2
