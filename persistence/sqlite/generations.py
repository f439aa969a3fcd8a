"""Generations in a SQLite file, built beside the service that has it open.

SQLite has one turn to write for everybody. Who builds takes short turns, asks for them often, for a
writer in full swing leaves gaps of a millisecond, and lets others go first after each of its own.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import RLock
from typing import IO

from persistence.errors import StoreRefusedError, StoreUnavailableError
from persistence.generations import FIRST, FoldRest, Generation, Promotion
from persistence.sql import Columns, SqlTransaction, listed
from persistence.sql.generations import (
    OF_A_GENERATION,
    READ_MODEL,
    GenerationRows,
    SqlSwitch,
    name_in,
    progress_of,
    stands_at,
)
from persistence.sql.tables import SEALED_TABLES
from persistence.sqlite.definitions import make_tables
from persistence.sqlite.first import write_down_first
from persistence.sqlite.opening import hold, refuse_foreign
from persistence.sqlite.reads import ReadableFile, SQLiteReader
from persistence.sqlite.session import SQLiteSession
from persistence.sqlite.store import FILE_NAME
from persistence.sqlite.trouble import is_trouble
from persistence.store import Progress
from projections import PROJECTIONS, VERSION

LOCK_NAME = "rebuild.lock"
TURN_SECONDS_MAX = 30.0  # a service's groups take a fifth of a second; what takes so long hangs
ASK_SECONDS = 0.0003  # between two questions for the turn
# Whoever waits for a turn in SQLite asks after 1, 3, 8 and 18 ms: with turns and rests of twelve
# nobody waits longer than that.
TURN_SECONDS = 0.012
LONG_TURN_SECONDS = 0.08  # while others take long turns themselves
ALONE_SECONDS = 0.5  # a transaction where nobody else writes
# While two processes write, the write-ahead log hardly ever happens to be copied to its end, from
# where on it would begin anew. So it is done for both.
CHECKPOINT_SECONDS = 2.0
FRAMES_KEPT = 16_384  # pages of the write-ahead log, 64 MiB, that need not be done away with
CACHE_KIB = 65_536
# A ledger whose disk is full takes nothing in: a rebuild must not be what fills it.
FREE_SHARE_MIN = 0.05
ROOM_LOOKED_AT_SECONDS = 1.0
LEVEL_TRIES = 200
DROPPED_ROWS_FIRST = 500


log = logging.getLogger(__name__)


class SQLiteGenerations:
    """Implements `persistence.Generations`."""

    def __init__(self, data_dir: Path, *, alone: bool = False) -> None:
        """Open the file beside its service; `alone`: there is none, so nobody waits."""
        self._data_dir = data_dir
        path = data_dir / FILE_NAME
        if not path.exists() or not path.stat().st_size:
            raise StoreRefusedError(f"{data_dir} holds no ledger; name its data directory")
        refuse_foreign(path)
        self.path = str(path)
        self.name = str(data_dir)
        self._alone = alone
        self._lock_file: IO[str] | None = None
        self._waited = 0.0  # for the last turn
        self._held = 0.0  # how long the last turn was
        self._room_looked_at = 0.0
        self._checkpointed = 0.0
        try:
            self._connection = _opened(self.path)
        except sqlite3.Error as error:
            raise StoreRefusedError(f"{path} cannot be opened: {error}") from error

    # Looking -----------------------------------------------------------------------------------

    def all(self) -> list[Generation]:
        """Give every generation, by number; dropped ones, too."""
        if self._has_rows():
            return GenerationRows(self._session()).all()
        # Of a version that knew of none.
        return [
            Generation(FIRST, version, None, 0, "", None, None, None, "", None)
            for version in self._versions()
        ]

    def served(self) -> dict[int, int]:
        """Give which generation each version of the folds serves."""
        if self._has_rows():
            return GenerationRows(self._session()).served()
        return dict.fromkeys(self._versions(), FIRST)

    def promotions(self) -> list[Promotion]:
        """Give what was promoted, in order."""
        return GenerationRows(self._session()).promotions() if self._has_rows() else []

    def progress(self, generation: int) -> Progress:
        """Give where a generation stands; a dropped one stands nowhere."""
        if not self._has_table(name_in("projections", generation)):
            return Progress(self._head(), {}, {})
        return progress_of(self._session(generation), self._head())

    def reader(self) -> SQLiteReader:
        """Give a connection for reading."""
        return SQLiteReader(ReadableFile(self.path))

    def _session(self, generation: int = FIRST) -> SQLiteSession:
        return SQLiteSession(self._connection, generation)

    def _head(self) -> int:
        head: int = self._session().one("SELECT coalesce(max(position), 0) FROM stored_events")[0]
        return head

    def _versions(self) -> list[int]:
        rows = self._connection.execute("SELECT min(version) FROM projections").fetchall()
        return [row[0] for row in rows]

    def _has_table(self, name: str) -> bool:
        statement = "SELECT 1 FROM sqlite_master WHERE name = ? AND type = 'table'"
        return self._connection.execute(statement, (name,)).fetchone() is not None

    def _has_rows(self) -> bool:
        return self._has_table("generations")

    # Turns -------------------------------------------------------------------------------------

    def claim(self) -> None:
        """Let no other process do the same; the file of an older version is told of generations."""
        lock_file = (self._data_dir / LOCK_NAME).open("a+", encoding="ascii")
        hold(
            lock_file,
            lambda holder: (
                f"process {holder} works on the generations of {self.name}: wait until it has ended"
            ),
        )
        self._lock_file = lock_file
        if not self._has_rows():
            with self._turn() as connection:
                write_down_first(connection)

    @contextmanager
    def _turn(self, *, takes_room: bool = True) -> Iterator[sqlite3.Connection]:
        """Write; commit at the end, or undo when the block raises."""
        connection = self._connection
        try:
            if takes_room:
                self._refuse_full_disk()
            self._waited = self._ask()
            began = time.monotonic()
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                self._held = time.monotonic() - began
        except sqlite3.DatabaseError as error:
            if not is_trouble(error):
                raise
            raise StoreUnavailableError(f"{self.path}: {error}") from error

    def _ask(self) -> float:
        """Begin as the one who writes; give how long that took."""
        began = time.monotonic()
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                waited = time.monotonic() - began
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or (
                    waited > TURN_SECONDS_MAX
                ):
                    raise
                time.sleep(ASK_SECONDS)
            else:
                return time.monotonic() - began

    def _refuse_full_disk(self) -> None:
        now = time.monotonic()
        if now - self._room_looked_at < ROOM_LOOKED_AT_SECONDS:
            return
        self._room_looked_at = now
        disk = shutil.disk_usage(self._data_dir)
        if disk.free < disk.total * FREE_SHARE_MIN:
            raise StoreUnavailableError(
                f"the disk of {self.name} has {disk.free >> 20} MiB left, and the service needs"
                " them: free space"
            )

    def seconds_a_batch(self) -> float:
        """Give how long a turn may be: longer where others take long ones themselves."""
        if self._alone:
            return ALONE_SECONDS
        return min(max(self._waited / 3, TURN_SECONDS), LONG_TURN_SECONDS)

    def let_others(self) -> None:
        """Wait until somebody else has written, or nobody wanted to."""
        self._checkpoint()
        if self._alone:
            return
        seen = self._data_version()
        until = time.monotonic() + max(self._held, TURN_SECONDS)
        while time.monotonic() < until and self._data_version() == seen:
            time.sleep(0.001)

    def _checkpoint(self) -> None:
        """Move pages from the write-ahead log to the file, and let the log begin anew."""
        now = time.monotonic()
        if now - self._checkpointed < CHECKPOINT_SECONDS:
            return
        execute = self._connection.execute
        try:
            # This keeps nobody from writing, and leaves little for what does.
            _, frames, _ = execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if frames > FRAMES_KEPT:
                execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        except sqlite3.OperationalError:
            log.info("a checkpoint is put off", exc_info=True)
        self._checkpointed = time.monotonic()

    def _data_version(self) -> int:
        version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        return version

    # Building ----------------------------------------------------------------------------------

    def begin(self, author: str) -> int:
        """Make the tables of a new generation of this version; give its number."""
        with self._turn() as connection:
            now = int(time.time() * 1_000)
            rows = GenerationRows(self._session())
            number = rows.begin(version=VERSION, begun_at=now, author=author)
            make_tables(connection, number)
            begun = [(name, VERSION, 0) for name in PROJECTIONS]
            self._session(number).insert("projections", ("name", "version", "position"), begun)
        return number

    @contextmanager
    def folding(self, generation: int) -> Iterator[SqlTransaction]:
        """Take a turn that folds into a generation."""
        with self._turn():
            yield SqlTransaction(self._session(generation))

    @contextmanager
    def level(self, served: int, generation: int, fold_rest: FoldRest) -> Iterator[SQLiteReader]:
        """Fold the last events; give a snapshot in which both stand at the same position."""
        for _ in range(LEVEL_TRIES):
            with self.folding(generation) as transaction:
                target = stands_at(self._session(served))
                reached = fold_rest(transaction, target)
                # A statement that is not at its end keeps what this transaction commits in sight,
                # whatever others commit right behind it.
                kept = self._connection.execute("SELECT name FROM projections")
                kept.fetchone()
            with closing(kept):
                if reached == target:
                    yield SQLiteReader(ReadableFile(self.path, (self._connection, RLock())))
                    return
            self.let_others()
        raise StoreUnavailableError(
            f"generation {generation} did not come to where generation {served} stands: the log"
            " grows faster than it is folded; try again when less comes in"
        )

    def keep_comparison(self, generation: Generation) -> None:
        """Keep when, with what and with what outcome a generation was compared."""
        with self._turn():
            GenerationRows(self._session()).keep_comparison(generation)

    def announce(self, generation: int | None) -> None:
        """Nobody need know before: each read and each write asks what is served."""

    @contextmanager
    def switch(self, served: int, generation: int) -> Iterator[SqlSwitch]:
        """Take the turn in which this version changes to a generation."""
        self._connection.execute("PRAGMA synchronous = full")  # it survives a power cut
        try:
            with self._turn(takes_room=False):
                yield SqlSwitch(
                    self._session(served),
                    self._session(generation),
                    SqlTransaction(self._session(generation)),
                )
        finally:
            self._connection.execute("PRAGMA synchronous = normal")

    # Dropping ----------------------------------------------------------------------------------

    def drop(self, generation: int, author: str, dropped: Callable[[int], None]) -> None:
        """Forget a generation's rows, some in each turn."""
        with self._turn(takes_room=False):
            GenerationRows(self._session()).forget(generation, int(time.time() * 1_000), author)
            self._session(generation).change("UPDATE projections SET position = 0")
        count = 0
        for table in (*READ_MODEL, *SEALED_TABLES):
            if self._has_table(name_in(table, generation)):
                for removed in self._emptied(table, generation):
                    count += removed
                    dropped(count)
        if generation != FIRST:  # whose tables later migrations want to find
            with self._turn(takes_room=False) as connection:
                for table in OF_A_GENERATION:
                    connection.execute(f"DROP TABLE IF EXISTS {name_in(table, generation)}")

    def _emptied(self, table: str, generation: int) -> Iterator[int]:
        name = name_in(table, generation)
        rows = self._connection.execute(
            "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", (name,)
        )
        key: Columns = tuple(row[0] for row in rows)
        limit = DROPPED_ROWS_FIRST
        while True:
            with self._turn(takes_room=False) as connection:
                removed = connection.execute(
                    f"DELETE FROM {name} WHERE ({listed(key)}) IN"
                    f" (SELECT {listed(key)} FROM {name} ORDER BY {listed(key)} LIMIT ?)",
                    (limit,),
                ).rowcount
            if not removed:
                return
            limit = max(int(limit * min(self.seconds_a_batch() / self._held, 2.0)), 50)
            yield removed
            self.let_others()

    def close(self) -> None:
        """Close the connection and let others do the same."""
        self._connection.close()
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None


def _opened(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{Path(path).absolute().as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        timeout=0,
        check_same_thread=False,
        cached_statements=512,
    )
    for pragma in (
        # A power cut may take the last turns: what was folded is folded again.
        "synchronous = normal",
        f"cache_size = -{CACHE_KIB}",
        "temp_store = memory",
        "wal_autocheckpoint = 0",
        "secure_delete = on",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection
