"""On PostgreSQL, too, answers at any moment are those of a plain fold of the cut log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.audit.sealing import Sealing
from ledger.queries import Queries
from persistence.postgres import Database, PostgresReader, PostgresStore
from tests.clocks.comparing import log_of, plain_says, product_says
from tests.clocks.dense import PAYERS, Dense, Step, steps
from tests.clocks.plain import Log
from tests.clocks.test_any_moment import moments
from tests.laws.acts import payer_bytes
from tests.laws.adapter import ProductLedger
from tests.laws.histories import examples
from tests.laws.test_postgres import copy_log, empty
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.postgres

# The examples share a database, which each of them empties.
shared_database = settings(
    parent=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def module_database(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.new_ledger()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def store(module_database: str) -> Iterator[PostgresStore]:
    with closing(PostgresStore(Database(module_database), pool_size=1)) as opened:
        # The pool throws dice when it connects, which Hypothesis must not notice in an example.
        opened.progress()
        yield opened


def seal(store: PostgresStore, reader: PostgresReader, sealing: Sealing) -> None:
    while (step := sealing.look(reader)).events:
        with store.beside() as transaction:
            sealing.keep(transaction, step)


class TestAnyMoment:
    @shared_database
    @given(steps, st.data())
    def test_says_what_a_plain_fold_says(
        self, store: PostgresStore, taken: list[Step], data: st.DataObject
    ) -> None:
        empty(store)
        sealing = Sealing(
            batch_max=data.draw(st.integers(1, 20)), block_events=data.draw(st.integers(1, 9))
        )
        with (
            closing(ProductLedger()) as ledger,
            closing(PostgresReader(store)) as reader,
        ):
            Dense(ledger).take(taken)
            copy_log(ledger.reader, store, batch_events=data.draw(st.integers(1, 30)))
            if data.draw(st.booleans()):
                seal(store, reader, sealing)
            queries = Queries(reader, ledger.clock, dict)
            events = log_of(ledger.reader)
            for payer in map(payer_bytes, PAYERS):
                for _ in range(3):
                    moment, cut = data.draw(moments(events))
                    expected = plain_says(Log(payer, cut), moment.as_of)
                    assert expected == product_says(queries, payer, moment), moment
