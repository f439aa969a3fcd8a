"""Sums that were emptied, in part or while a follower was at work: no answer is wrong for that."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from ledger.audit.clocks import Moment, look
from ledger.audit.sealing import Sealing
from ledger.errors import FailedPreconditionError
from ledger.folding import fold_events
from ledger.queries import Queries
from persistence import PositionMovedError
from persistence.postgres import Database, PostgresReader, PostgresStore
from persistence.sql.tables import SEALED_TABLES
from tests.clocks.comparing import log_of, plain_says, product_says, usage_of
from tests.clocks.plain import Log
from tests.clocks.sealed import seal
from tests.clocks.test_every_moment import KEY, _void, act, publish
from tests.contract.data.scene import at, ran
from tests.laws.adapter import ProductLedger
from tests.laws.test_postgres import copy_log
from tests.oracle import instant
from tests.oracle.operations import PublishPrices
from tests.servers.postgres import PostgresServer
from tests.store.test_transactions import LONG_S, beside, waits

EVERYTHING = 1_000
TIME_TRAVEL = Path(__file__).parents[2] / "docs" / "time-travel.md"
EMPTIED = ("sealed_blocks", "sealed_sums", "sealed_spans", "tails")


@pytest.fixture
def ledger() -> Iterator[ProductLedger]:
    with closing(ProductLedger()) as opened:
        opened.apply(PublishPrices(at_ns=instant(at("10-20 11:00")), revision=1, rates=()))
        yield opened


def told(
    ledger: ProductLedger, time_: str, happens: Callable[[ProductLedger, int], object]
) -> None:
    ledger.clock.set_ns(instant(at(time_)))
    happens(ledger, instant(at(time_)))


def instances(name: str, day: int) -> Callable[[ProductLedger, int], object]:
    """Eight of them, over a midnight or not."""
    lines = []
    for n in range(8):
        lines += ran(f"{name}{n}", f"10-{day} 1{n % 2}:00", f"10-{day + n % 2} 2{n % 3}:00")
    return publish(*lines)


def as_of(time_: str) -> Moment:
    return Moment(instant(at(time_)) // 1_000_000)


def is_true(ledger: ProductLedger, *times: str) -> None:
    log = Log(KEY, log_of(ledger.reader))
    for moment in map(as_of, times):
        assert plain_says(log, moment.as_of) == product_says(ledger.queries, KEY, moment), moment


def refuses(ledger: ProductLedger, time_: str) -> None:
    with pytest.raises(FailedPreconditionError, match="sealed_sums"):
        product_says(ledger.queries, KEY, as_of(time_))


def emptied(ledger: ProductLedger, tables: Sequence[str]) -> None:
    for table in tables:
        which = " WHERE name = 'clocks'" if table == "tails" else ""
        ledger.store.connection.execute(f"DELETE FROM {table}{which}")


class TestInPart:
    @pytest.mark.parametrize("upto", range(1, len(EMPTIED)))
    @pytest.mark.parametrize("turned", [False, True])
    def test_while_the_follower_steps_between_two_statements(
        self, ledger: ProductLedger, upto: int, turned: bool
    ) -> None:
        tables = EMPTIED[::-1] if turned else EMPTIED
        told(ledger, "10-22 00:00", instances("x", 20))
        seal(ledger, Sealing(block_events=4))
        emptied(ledger, tables[:upto])
        told(ledger, "10-25 00:00", instances("y", 23))
        seal(ledger, Sealing(block_events=4))
        is_true(ledger, "10-21 00:00", "10-24 12:00", "10-25 12:00")
        emptied(ledger, tables[upto:])
        is_true(ledger, "10-21 00:00", "10-24 12:00", "10-25 12:00")
        seal(ledger, Sealing(block_events=4))
        told(ledger, "10-27 00:00", instances("z", 25))
        seal(ledger, Sealing(block_events=4))
        is_true(ledger, "10-21 00:00", "10-24 12:00", "10-25 12:00", "10-27 12:00")

    def test_of_the_newest_block_alone(self, ledger: ProductLedger) -> None:
        """A block that is made anew may end elsewhere; what went in it had a span before."""
        hour = ("10-20 10:00", "10-20 11:00")
        told(ledger, "10-24 00:00", publish(*ran("p0", *hour), *ran("p1", *hour)))
        seal(ledger, Sealing(block_events=2))
        told(
            ledger,
            "10-24 01:00",
            publish(*ran("p2", *hour), *ran("long", "10-20 10:00", "10-23 11:00")),
        )
        seal(ledger, Sealing(block_events=2))
        assert [(2,)] == ledger.select("SELECT count(*) FROM sealed_blocks")
        ledger.store.connection.execute(
            "DELETE FROM sealed_blocks WHERE position = (SELECT max(position) FROM sealed_blocks)"
        )
        told(ledger, "10-24 02:00", act(_void("long")))
        told(ledger, "10-24 03:00", publish(*ran("p3", *hour), *ran("p4", *hour)))
        seal(ledger, Sealing(block_events=3))
        assert [(2,)] == ledger.select("SELECT count(*) FROM sealed_blocks")
        is_true(ledger, "10-21 12:00")

    def test_of_the_sums_alone(self, ledger: ProductLedger) -> None:
        """It is said, also when the follower has gone on; what needs none of them is answered."""
        told(ledger, "10-22 00:00", instances("x", 20))
        seal(ledger, Sealing(block_events=4))
        emptied(ledger, ["sealed_sums"])
        refuses(ledger, "10-21 12:00")
        told(ledger, "10-24 00:00", instances("y", 21))
        seal(ledger, Sealing(block_events=4))
        refuses(ledger, "10-21 12:00")
        with ledger.reader.snapshot():
            at_ = look(ledger.queries, KEY, Moment())
            with pytest.raises(FailedPreconditionError, match="sealed_sums"):
                usage_of(at_)
            assert Log(KEY, log_of(ledger.reader)).balance(None) == at_.balance()
        emptied(ledger, EMPTIED[::-1])
        is_true(ledger, "10-21 12:00", "10-24 12:00")

    @pytest.mark.parametrize("table", SEALED_TABLES)
    def test_of_one_table(self, ledger: ProductLedger, table: str) -> None:
        """Sums and spans without their blocks' others are only read with their blocks."""
        told(ledger, "10-22 00:00", instances("x", 20))
        seal(ledger, Sealing(block_events=4))
        emptied(ledger, [table])
        told(ledger, "10-22 01:00", act(_void("x1")))
        # What is asked is answered, whatever it says, until all of them are emptied.
        if table == "sealed_sums":
            refuses(ledger, "10-21 12:00")
        else:
            product_says(ledger.queries, KEY, as_of("10-21 12:00"))
        emptied(ledger, EMPTIED[::-1])
        is_true(ledger, "10-21 12:00")


class TestClearedForAFold:
    """While the follower has read the entries and not kept their sums yet, they are emptied."""

    @pytest.mark.parametrize("steps", [0, 1])
    def test_in_a_file(self, ledger: ProductLedger, steps: int) -> None:
        for day in (20, 21, 22):
            told(ledger, f"10-{day + 2} 00:00", instances(f"d{day}", day))
        sealing = Sealing(batch_max=30, block_events=4)
        seal(ledger, sealing, steps=steps)
        step = sealing.look(ledger.reader)
        ledger.store.clear_read_model()
        with pytest.raises(PositionMovedError), ledger.store.transaction() as transaction:
            sealing.keep(transaction, step)
        assert [] == ledger.select("SELECT * FROM sealed_blocks")
        with ledger.store.folding() as transaction:
            fold_events(transaction, transaction.log(after=0, limit=EVERYTHING))
        seal(ledger, Sealing(batch_max=30, block_events=4))
        is_true(ledger, "10-21 12:00", "10-23 12:00")

    @pytest.mark.postgres
    @pytest.mark.parametrize("steps", [0, 1])
    def test_in_a_database(
        self, ledger: ProductLedger, postgres_server: PostgresServer, steps: int
    ) -> None:
        for day in (20, 21, 22):
            told(ledger, f"10-{day + 2} 00:00", instances(f"d{day}", day))
        url = postgres_server.new_ledger()
        with (
            closing(PostgresStore(Database(url))) as store,
            closing(PostgresReader(store)) as reader,
        ):
            copy_log(ledger.reader, store, batch_events=20)
            sealing = Sealing(batch_max=30, block_events=4)
            self._follow(store, reader, sealing, steps)
            step = sealing.look(reader)
            clearing = threading.Thread(target=store.clear_read_model)
            with store.beside() as transaction:
                sealing.keep(transaction, step)
                clearing.start()
                time.sleep(1.0)  # it goes as far as it can
            clearing.join()
            for table in SEALED_TABLES:
                assert reader._one(f"SELECT count(*) FROM {table}") == (0,)
            assert {} == reader.tails()
            with store.folding() as transaction:
                fold_events(transaction, transaction.log(after=0, limit=EVERYTHING))
            self._follow(store, reader, Sealing(batch_max=30, block_events=4), EVERYTHING)
            queries = Queries(reader, ledger.clock, dict)
            log = Log(KEY, log_of(ledger.reader))
            for moment in (as_of("10-21 12:00"), as_of("10-23 12:00")):
                expected = plain_says(log, moment.as_of)
                assert expected == product_says(queries, KEY, moment), moment
        postgres_server.drop_database(url)

    def _follow(
        self, store: PostgresStore, reader: PostgresReader, sealing: Sealing, steps: int
    ) -> None:
        while steps and (step := sealing.look(reader)).events:
            with store.beside() as transaction:
                sealing.keep(transaction, step)
            steps -= 1


def documented() -> list[bytes]:
    """What an operator of a database is told to run, statement by statement."""
    (block,) = re.findall(r"On PostgreSQL.*?```sql\n(.*?)```", TIME_TRAVEL.read_text(), re.DOTALL)
    return [statement.strip().encode() for statement in block.split(";") if statement.strip()]


@pytest.mark.postgres
class TestAsDocumented:
    """An operator empties them while the follower keeps a step."""

    @contextmanager
    def _copied(
        self, ledger: ProductLedger, server: PostgresServer
    ) -> Iterator[tuple[PostgresStore, PostgresReader, psycopg.Connection]]:
        for day in (20, 21, 22):
            told(ledger, f"10-{day + 2} 00:00", instances(f"d{day}", day))
        url = server.new_ledger()
        with (
            closing(PostgresStore(Database(url))) as store,
            closing(PostgresReader(store)) as reader,
            psycopg.connect(url, autocommit=True) as operator,
        ):
            copy_log(ledger.reader, store, batch_events=20)
            yield store, reader, operator
        server.drop_database(url)

    def _is_true(self, ledger: ProductLedger, reader: PostgresReader) -> None:
        queries = Queries(reader, ledger.clock, dict)
        log = Log(KEY, log_of(ledger.reader))
        for moment in map(as_of, ("10-21 00:00", "10-21 12:00", "10-23 12:00")):
            assert plain_says(log, moment.as_of) == product_says(queries, KEY, moment), moment

    @pytest.mark.parametrize("first", range(1, 6))
    def test_whose_first_step_ends_between_two_statements(
        self, ledger: ProductLedger, postgres_server: PostgresServer, first: int
    ) -> None:
        with self._copied(ledger, postgres_server) as (store, reader, operator):
            statements = documented()
            sealing = Sealing(batch_max=1_000, block_events=4)
            step = sealing.look(reader)
            assert step.after == 0
            assert step.sealed
            with store.beside() as transaction:
                sealing.keep(transaction, step)
                for statement in statements[:first]:
                    operator.execute(statement)
            for statement in statements[first:]:
                operator.execute(statement)
            self._is_true(ledger, reader)

    def test_whose_later_step_goes_first_is_told_and_done_again(
        self, ledger: ProductLedger, postgres_server: PostgresServer
    ) -> None:
        def empty() -> None:
            for statement in documented():
                operator.execute(statement)

        with self._copied(ledger, postgres_server) as (store, reader, operator):
            sealing = Sealing(batch_max=20, block_events=4)
            for is_first in (True, False):
                step = sealing.look(reader)
                assert (step.after == 0) == is_first
                with store.beside() as transaction:
                    sealing.keep(transaction, step)
                    if not is_first:
                        emptying = beside(empty)
                        assert waits(emptying)
            with pytest.raises(psycopg.errors.SerializationFailure):
                emptying.result(LONG_S)
            operator.rollback()
            self._is_true(ledger, reader)
            empty()
            for table in SEALED_TABLES:
                assert reader._one(f"SELECT count(*) FROM {table}") == (0,)
            self._is_true(ledger, reader)
