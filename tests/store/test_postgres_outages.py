"""The database goes away and comes back: nothing stays of a half, and nobody restarts."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeVar

import psycopg
import pytest

from persistence import (
    Inboxed,
    Personal,
    PositionMovedError,
    SourceKey,
    StoreUnavailableError,
    Transaction,
)
from persistence.postgres import Database, PostgresReader, PostgresStore
from projections import BalanceDelta
from tests.servers.cut_line import CutLine
from tests.servers.postgres import PostgresServer, StartedServer, started_server
from tests.store.facts import PAYER, placed, run
from tests.store.test_transactions import LONG_S, beside

pytestmark = pytest.mark.postgres

SOURCE = SourceKey("cluster", "topic id", 3)
SMALL_DISK_BYTES = 48 * 1024 * 1024  # a database without rows takes a sixth of it

_Answer = TypeVar("_Answer")


@pytest.fixture(scope="module")
def own_server() -> Iterator[StartedServer]:
    """A server that a test may stop; it runs again afterwards."""
    with started_server() as server:
        yield server


@pytest.fixture
def store(own_server: StartedServer) -> Iterator[PostgresStore]:
    url = own_server.new_ledger()
    with closing(PostgresStore(Database(url), pool_size=2)) as opened:
        yield opened
    own_server.drop_database(url)


@pytest.fixture
def reader(store: PostgresStore) -> Iterator[PostgresReader]:
    with closing(PostgresReader(store)) as opened:
        yield opened


def append(store: PostgresStore, stream: str) -> int:
    with store.transaction() as transaction:
        return transaction.append([placed(stream)])[0].position


def streams(reader: PostgresReader) -> list[str]:
    return [event.stream for event in reader.log(after=0, limit=99_999)]


def restart(server: StartedServer) -> None:
    server.stop()
    server.start()


def kill_and_start(server: StartedServer) -> None:
    server.kill()
    server.start()


Breaks = Callable[[StartedServer], None]
every_break = pytest.mark.parametrize("breaks", [restart, kill_and_start])


class TestAServerThatGoesAway:
    @every_break
    def test_between_transactions_is_not_noticed_once_it_is_back(
        self,
        own_server: StartedServer,
        store: PostgresStore,
        reader: PostgresReader,
        breaks: Breaks,
    ) -> None:
        append(store, "a")
        assert store.hold_lease("jobs", "one", 60)
        assert ["a"] == streams(reader)
        breaks(own_server)
        append(store, "b")
        assert ["a", "b"] == streams(reader)
        with store.folding() as transaction:
            assert 2 == transaction.head
        with store.beside() as transaction:
            assert 0 == transaction.tail_position("relay")
        assert store.hold_lease("jobs", "one", 60)

    @every_break
    def test_inside_a_transaction_leaves_nothing_of_it(
        self,
        own_server: StartedServer,
        store: PostgresStore,
        reader: PostgresReader,
        breaks: Breaks,
    ) -> None:
        append(store, "a")
        with pytest.raises(StoreUnavailableError):
            run(
                store,
                lambda transaction: transaction.append([placed("b")]),
                lambda _transaction: breaks(own_server),
                lambda transaction: transaction.append([placed("c")]),
            )
        assert 2 == append(store, "d")
        assert ["a", "d"] == streams(reader)

    def test_is_told_to_everybody_and_they_recover(
        self, own_server: StartedServer, store: PostgresStore, reader: PostgresReader
    ) -> None:
        append(store, "a")
        assert ["a"] == streams(reader)
        asks: list[Callable[[], object]] = [
            lambda: append(store, "b"),
            lambda: streams(reader),
            store.progress,
            store.probe,
            store.finished_schema,
            lambda: store.hold_lease("jobs", "one", 60),
        ]
        own_server.stop()
        try:
            for ask in asks:
                with pytest.raises(StoreUnavailableError):
                    ask()
        finally:
            own_server.start()
        store.probe()
        assert 2 == append(store, "c")
        # The pool of readers looks for the server at intervals of its own.
        assert ["a", "c"] == eventually(lambda: streams(reader))
        assert 2 == eventually(store.progress).head

    def test_inside_a_snapshot_is_told_and_the_next_one_sees_everything(
        self, own_server: StartedServer, store: PostgresStore, reader: PostgresReader
    ) -> None:
        append(store, "a")

        def look_twice() -> None:
            with reader.snapshot():
                assert ["a"] == streams(reader)
                restart(own_server)
                streams(reader)

        with pytest.raises(StoreUnavailableError):
            look_twice()
        with reader.snapshot():
            assert ["a"] == eventually(lambda: streams(reader))

    def test_inside_a_fold_is_not_the_folds_mistake(
        self, own_server: StartedServer, store: PostgresStore
    ) -> None:
        append(store, "a")

        def fold(transaction: Transaction) -> None:
            with transaction.rows.savepoint():
                transaction.rows.add_balances({PAYER: BalanceDelta(booked_cents=5)})
                restart(own_server)
                transaction.rows.add_balances({PAYER: BalanceDelta(booked_cents=5)})

        with pytest.raises(StoreUnavailableError), store.folding() as transaction:
            fold(transaction)
        with store.folding() as transaction:
            assert (0, 0) == transaction.balance(PAYER)


class TestAConnectionThatIsEnded:
    def test_inside_a_transaction_leaves_nothing_of_it(
        self, own_server: StartedServer, store: PostgresStore, reader: PostgresReader
    ) -> None:
        with pytest.raises(StoreUnavailableError):
            run(
                store,
                lambda transaction: transaction.append([placed("a")]),
                lambda _transaction: end_connections(own_server, store),
                lambda transaction: transaction.streams(["a"]),
            )
        assert 1 == append(store, "b")
        assert ["b"] == streams(reader)

    def test_before_a_commit_leaves_nothing(
        self, own_server: StartedServer, store: PostgresStore, reader: PostgresReader
    ) -> None:
        with pytest.raises(StoreUnavailableError):
            run(
                store,
                lambda transaction: transaction.append([placed("a")]),
                lambda _transaction: end_connections(own_server, store),
            )
        assert [] == streams(reader)


class TestACommitWhoseAnswerIsLost:
    """The caller hears UNAVAILABLE either way, tries again, and it counts once."""

    @pytest.mark.parametrize("arrives", [True, False])
    def test_is_found_out_by_trying_again(
        self, own_server: StartedServer, store: PostgresStore, arrives: bool
    ) -> None:
        url = store.database.url
        with (
            CutLine(own_server.folder, "COMMIT", arrives=arrives) as line,
            closing(PostgresStore(Database(line.url_of(url)), pool_size=1)) as far,
        ):
            line.arm()
            with pytest.raises(StoreUnavailableError):
                take_in(far)
        with store.beside() as transaction:
            assert (1 if arrives else 0) == transaction.head
            assert ({(1, b"id"): Inboxed(b"digest", 1)} if arrives else {}) == transaction.inbox(
                [(1, b"id")]
            )
        if arrives:
            with pytest.raises(PositionMovedError):
                take_in(store)
        else:
            take_in(store)
        with store.beside() as transaction:
            assert (1, 5) == (transaction.head, transaction.intake_position(SOURCE))


class TestAFullDisk:
    @pytest.mark.slow
    def test_takes_nothing_by_halves_and_takes_all_again_once_there_is_room(
        self, own_server: StartedServer
    ) -> None:
        url = own_server.new_ledger()
        with (
            own_server.on_a_small_disk(url, SMALL_DISK_BYTES) as disk,
            closing(PostgresStore(Database(url), pool_size=2)) as store,
            closing(PostgresReader(store)) as reader,
        ):
            append(store, "a")
            disk.fill()
            with pytest.raises(StoreUnavailableError, match="No space left on device"):
                fill_up(store)
            told = streams(reader)
            assert store.progress().head == len(told)
            with pytest.raises(StoreUnavailableError):
                store.probe()
            assert told == streams(reader)
            disk.empty()
            store.probe()
            assert len(told) + 1 == append(store, "z")
            assert [*told, "z"] == streams(reader)


class TestAZombie:
    @pytest.mark.slow
    def test_that_sleeps_in_a_transaction_loses_its_lock_and_its_work(
        self, store: PostgresStore, reader: PostgresReader
    ) -> None:
        asleep, awake = threading.Event(), threading.Event()

        def sleep() -> None:
            with store.transaction() as transaction:
                transaction.append([placed("a")])
                asleep.set()
                assert awake.wait(60)
                transaction.append([placed("b")])

        zombie = beside(sleep)
        assert asleep.wait(LONG_S)
        with closing(PostgresStore(store.database, pool_size=1)) as other:
            assert 1 == eventually(lambda: append(other, "c"))
        awake.set()
        with pytest.raises(StoreUnavailableError):
            zombie.result(LONG_S)
        assert ["c"] == streams(reader)
        assert 2 == append(store, "d")


def take_in(store: PostgresStore) -> None:
    """Record an event with its id and the position of the partition it came from."""
    with store.transaction() as transaction:
        transaction.advance_intake(SOURCE, topic="events", expected=None, position=5)
        (appended,) = transaction.append([placed("a")])
        source = transaction.source_number("/a")
        transaction.add_inbox([(source, b"id", b"digest", appended.position)])


def fill_up(store: PostgresStore) -> None:
    """Append until there is no room."""
    for batch in range(1_000):
        with store.transaction() as transaction:
            events = [placed(f"{batch}:{n}") for n in range(20)]
            appended = transaction.append(events)
            transaction.add_personal(
                [Personal(event.position, b"", os.urandom(2_000)) for event in appended]
            )


def end_connections(server: PostgresServer, store: PostgresStore) -> None:
    """End every session of the store's database but ours."""
    with psycopg.connect(server.admin_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s",
            (psycopg.conninfo.conninfo_to_dict(store.database.url)["dbname"],),
        )


def eventually(ask: Callable[[], _Answer]) -> _Answer:
    """Ask until the store is there again."""
    waiting = threading.Event()
    for _ in range(100):
        try:
            return ask()
        except StoreUnavailableError:
            waiting.wait(0.3)
    return ask()
