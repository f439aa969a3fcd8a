"""Generations in a PostgreSQL database, built beside the roles that share it.

Building locks rows of the new generation only. Whoever compares or changes takes the locks that
folding takes, in the same order, for as long as the last events take to be folded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple

import psycopg
from psycopg import Connection

from persistence.errors import StoreRefusedError, StoreUnavailableError
from persistence.generations import FIRST, FoldRest, Generation, Promotion
from persistence.postgres.database import Database, discard, refuse_wrong_url
from persistence.postgres.line import Line, unknown
from persistence.postgres.opening import refuse_schema
from persistence.postgres.pool import ReaderPool
from persistence.postgres.reads import PostgresReader
from persistence.postgres.served import ANNOUNCED_SECONDS, Served
from persistence.postgres.session import PostgresSession
from persistence.postgres.transaction import LOCK_PROJECTIONS
from persistence.sql import Row, SqlTransaction
from persistence.sql.generations import (
    OF_A_GENERATION,
    POSITIONS,
    GenerationRows,
    SqlSwitch,
    name_in,
    progress_of,
    stands_at,
)
from persistence.store import Progress
from projections import PROJECTIONS, VERSION

ADVISORY_LOCK = 0x55534C48  # of whoever works on generations, in the ledger's own database
BATCH_SECONDS = 0.5  # nobody waits for a transaction that builds
READERS = 2
# So long a change waits for whoever folds, and others wait behind it; then it lets them pass.
LOCK_WAIT_MS = 1_000
LOCK_TRIES = 60
LOCK_PAUSE_SECONDS = 0.1
FROZEN_SECONDS_MAX = 2.0  # nobody else folds for so long while the last events are folded
LEVEL_TRIES = 50
OLDER_SECONDS_MAX = 60.0  # so long a drop waits for transactions that may read what it drops

_LOCK_SERVED = "SELECT version FROM served WHERE generation = ? ORDER BY version FOR UPDATE"
# Of another user's connections no more is told than whose they are; the server's own are nobody's.
_UNSEEN = "backend_type IS NULL AND usesysid IS NOT NULL"
_OLDER = (
    f"SELECT count(*), count(*) FILTER (WHERE {_UNSEEN}) FROM pg_stat_activity"
    f" WHERE datname = current_database() AND pid <> pg_backend_pid() AND ({_UNSEEN}"
    " OR backend_type = 'client backend' AND xact_start < ?::timestamptz)"
)
_PROJECTORS = "SELECT holder FROM leases WHERE name IN (?, ?) AND until > clock_timestamp()"
_OPTIONS = "SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = to_regclass(?)"


class _Readable(NamedTuple):
    readers: ReaderPool
    served: Served


class PostgresGenerations:
    """Implements `persistence.Generations`."""

    def __init__(self, database: Database) -> None:
        """Connect; StoreRefusedError says what to change."""
        refuse_wrong_url(database)
        self.name = database.name
        self._database = database
        try:
            # Its lock lasts as long as it does.
            self._claim: Connection[Row] = database.connect("rebuild")
        except psycopg.Error as error:
            raise StoreUnavailableError(
                f"{database.name} cannot be reached: {' '.join(str(error).split())}"
            ) from error
        try:
            refuse_schema(self._claim, database)
        except BaseException:
            discard(self._claim)
            raise
        self._folder = Line(database, "build")
        self._changer = Line(database, "change")
        self._readers = ReaderPool(database, READERS)

    # Looking -----------------------------------------------------------------------------------

    @contextmanager
    def _look(self) -> Iterator[GenerationRows]:
        with self._changer.transaction(FIRST) as session:
            yield GenerationRows(session)

    def all(self) -> list[Generation]:
        """Give every generation, by number; dropped ones, too."""
        with self._look() as rows:
            return rows.all()

    def served(self) -> dict[int, int]:
        """Give which generation each version of the folds serves."""
        with self._look() as rows:
            return rows.served()

    def promotions(self) -> list[Promotion]:
        """Give what was promoted, in order."""
        with self._look() as rows:
            return rows.promotions()

    def progress(self, generation: int) -> Progress:
        """Give where a generation stands; a dropped one stands nowhere."""
        with self._changer.transaction(generation) as session:
            head = session.one("SELECT head FROM log_head")[0]
            positions = name_in(POSITIONS, generation)
            if session.one("SELECT to_regclass(?)::text", (positions,))[0] is None:
                return Progress(head, {}, {})
            return progress_of(session, head)

    def reader(self) -> PostgresReader:
        """Give a connection for reading."""
        return PostgresReader(_Readable(self._readers, Served()))

    # Building ----------------------------------------------------------------------------------

    def claim(self) -> None:
        """Let no other process do the same; what one that was killed has announced is over."""
        row = self._claim.execute(
            b"SELECT pg_try_advisory_lock(%s)", (ADVISORY_LOCK,), prepare=False
        ).fetchone()
        if not row or not row[0]:
            raise StoreRefusedError(
                f"another process works on the generations of {self.name}: wait until it has ended"
            )
        with self._changer.transaction(FIRST) as session:
            session.change("UPDATE served SET coming = NULL WHERE coming IS NOT NULL")

    def begin(self, author: str) -> int:
        """Make the tables of a new generation of this version; give its number."""
        with self._folder.transaction(FIRST) as session:
            now = int(time.time() * 1_000)
            number = GenerationRows(session).begin(version=VERSION, begun_at=now, author=author)
            for table in OF_A_GENERATION:
                name = name_in(table, number)
                session.control(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)".encode())
                options = session.one(_OPTIONS, (table,))[0]
                if options:
                    session.control(f"ALTER TABLE {name} SET ({options})".encode())
            session.go_on_in(number)
            begun = [(name, VERSION, 0) for name in PROJECTIONS]
            session.insert(POSITIONS, ("name", "version", "position"), begun)
        return number

    @contextmanager
    def folding(self, generation: int) -> Iterator[SqlTransaction]:
        """Begin a transaction that folds into a generation."""
        with self._folder.transaction(generation) as session:
            session.all(LOCK_PROJECTIONS)
            yield SqlTransaction(session)

    def seconds_a_batch(self) -> float:
        """Give how long a transaction may be: nobody waits for it."""
        return BATCH_SECONDS

    def let_others(self) -> None:
        """Nobody waits."""

    @contextmanager
    def level(self, served: int, generation: int, fold_rest: FoldRest) -> Iterator[PostgresReader]:
        """Fold the last events; give a snapshot in which both stand at the same position."""
        reader = self.reader()
        with closing(reader), ExitStack() as stack:
            for _ in range(LEVEL_TRIES):
                with self._frozen(served) as session:
                    if self._folded_to(stands_at(session), generation, fold_rest):
                        stack.enter_context(reader.snapshot())
                        reader.stands_at(served)  # it is taken with the first question
                        break
            else:
                raise StoreUnavailableError(
                    f"generation {generation} did not come to where generation {served} stands: the"
                    " log grows faster than it is folded; try again when less comes in"
                )
            yield reader

    def _folded_to(self, target: int, generation: int, fold_rest: FoldRest) -> bool:
        until = time.monotonic() + FROZEN_SECONDS_MAX
        while time.monotonic() < until:
            with self.folding(generation) as transaction:
                if fold_rest(transaction, target) == target:
                    return True
        return False

    @contextmanager
    def _frozen(self, served: int) -> Iterator[PostgresSession]:
        """Let nobody fold into a generation until the transaction ends."""
        is_locked = False
        for _ in range(LOCK_TRIES):
            try:
                with self._changer.transaction(served) as session:
                    session.control(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}".encode())
                    session.all(_LOCK_SERVED, (served,))
                    session.all(LOCK_PROJECTIONS)
                    is_locked = True
                    yield session
                    return
            except StoreUnavailableError as error:
                if is_locked or not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                    raise
            time.sleep(LOCK_PAUSE_SECONDS)
        raise StoreUnavailableError(
            f"whoever folds generation {served} of {self.name} does not let go of it: look in"
            " pg_stat_activity who holds the rows of projections"
        )

    def keep_comparison(self, generation: Generation) -> None:
        """Keep when, with what and with what outcome a generation was compared."""
        with self._look() as rows:
            rows.keep_comparison(generation)

    def announce(self, generation: int | None) -> None:
        """Let every process ask what is served before it reads; None: believe again."""
        with self._changer.transaction(FIRST) as session:
            told = session.change(
                "UPDATE served SET coming = ? WHERE version = ?", (generation, VERSION)
            )
        if told and generation is not None:
            time.sleep(ANNOUNCED_SECONDS)

    @contextmanager
    def switch(self, served: int, generation: int) -> Iterator[SqlSwitch]:
        """Begin the transaction that changes to a generation."""
        with self._frozen(served) as session:
            coming = PostgresSession(session.connection, unknown, generation)
            coming.all(LOCK_PROJECTIONS)
            yield SqlSwitch(session, coming, SqlTransaction(coming))

    # Dropping ----------------------------------------------------------------------------------

    def drop(self, generation: int, author: str, dropped: Callable[[int], None]) -> None:
        """Forget a generation's rows, once nobody can read them any more."""
        with self._changer.transaction(generation) as session:
            self._refuse_projected(session, generation)
            GenerationRows(session).forget(generation, int(time.time() * 1_000), author)
            if session.one("SELECT to_regclass(?)::text", (name_in(POSITIONS, generation),))[0]:
                session.change("UPDATE projections SET position = 0")
        time.sleep(ANNOUNCED_SECONDS)
        self._await_older()
        for count, table in enumerate((*OF_A_GENERATION[1:], POSITIONS), start=1):
            name = name_in(table, generation)
            if generation != FIRST:
                self._alter(f"DROP TABLE IF EXISTS {name}")
            elif table != POSITIONS:  # later migrations want to find the tables
                self._alter(f"TRUNCATE {name}")
            dropped(count)

    def _refuse_projected(self, session: PostgresSession, generation: int) -> None:
        by_number = {each.number: each.version for each in GenerationRows(session).all()}
        version = by_number[generation]
        served = GenerationRows(session).served().get(version)
        row = session.one(_PROJECTORS, ("project", f"project-{version}"))
        if served == generation and row is not None:
            raise StoreRefusedError(
                f"{row[0]} folds generation {generation} of {self.name}: stop every role of that"
                " version first"
            )

    def _await_older(self) -> None:
        """Wait for transactions that began while the generation could be read."""
        with self._changer.transaction(FIRST) as session:
            began = session.one("SELECT clock_timestamp()::text")[0]
        until = time.monotonic() + OLDER_SECONDS_MAX
        while True:
            with self._changer.transaction(FIRST) as session:
                older, unseen = session.one(_OLDER, (began,))
            if not older:
                return
            if time.monotonic() > until:
                if unseen:
                    raise StoreUnavailableError(
                        f"{unseen} connections to {self.name} are another user's, of which it"
                        " cannot be seen whether they may read the generation: grant this one"
                        " pg_read_all_stats, or end them"
                    )
                raise StoreUnavailableError(
                    f"{older} transactions in {self.name} began before the generation was dropped"
                    " and may read it: give the command again when they have ended"
                )
            time.sleep(LOCK_PAUSE_SECONDS)

    def _alter(self, statement: str) -> None:
        """Change a table that nobody uses; autovacuum may, for a moment."""
        for _ in range(LOCK_TRIES):
            try:
                with self._changer.transaction(FIRST) as session:
                    session.control(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}".encode())
                    session.control(statement.encode())
            except StoreUnavailableError as error:
                if not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                    raise
            else:
                return
            time.sleep(LOCK_PAUSE_SECONDS)
        raise StoreUnavailableError(
            f"{statement!r} finds the table of {self.name} in use: give the command again later"
        )

    def close(self) -> None:
        """Close every connection; the claim ends with its own."""
        self._folder.close()
        self._changer.close()
        self._readers.close()
        discard(self._claim)
