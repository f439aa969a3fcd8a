"""Before a data directory is opened: the lock on it, and whose file it holds."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import IO

from persistence.errors import StoreRefusedError
from persistence.sqlite.migrations import SCHEMA_VERSION
from persistence.sqlite.schema import APPLICATION_ID

LOCK_NAME = "lock"


def refuse_foreign(path: Path, *, writes: bool = True) -> None:
    """Look at the file without changing a byte: opening it as a ledger would make it one."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return
    if writes and not os.access(path, os.W_OK):
        # SQLite would open it for reading, and every write would fail.
        raise StoreRefusedError(f"{path} is not writable; change its permissions")
    if not size:
        return
    # Without a write-ahead log nobody else writes here, and not even a lock file is made.
    left_log = path.with_name(path.name + "-wal").exists()
    look = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro{'' if left_log else '&immutable=1'}", uri=True
    )
    try:
        version, application, tables = look.execute(
            "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_master)"
            " FROM pragma_user_version, pragma_application_id"
        ).fetchone()
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:
            raise
        raise StoreRefusedError(
            f"{path} is not a ledger: {error}; name another data directory"
        ) from error
    finally:
        look.close()
    if application != APPLICATION_ID and (application or version or tables):
        raise StoreRefusedError(f"{path} is not a ledger; name another data directory")
    if version > SCHEMA_VERSION:
        raise StoreRefusedError(
            f"{path} has schema version {version}, this version knows {SCHEMA_VERSION}:"
            " use the newer version of usage-ledger that wrote it"
        )


def claim(data_dir: Path) -> IO[str]:
    """Make the data directory and take its lock; refuse with what to change."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreRefusedError(
            f"data directory {data_dir} cannot be made: {error.strerror}; name another one"
        ) from error
    try:
        lock_file = (data_dir / LOCK_NAME).open("a+", encoding="ascii")
    except OSError as error:
        raise StoreRefusedError(
            f"data directory {data_dir} is not writable: {error.strerror}; change its permissions"
            " or name another one"
        ) from error
    try:
        hold(
            lock_file,
            lambda holder: (
                f"data directory {data_dir} is in use by process {holder};"
                " stop it or name another one"
            ),
        )
    except OSError as error:
        with contextlib.suppress(OSError):  # it tries once more to write what it holds
            lock_file.close()
        raise StoreRefusedError(
            f"data directory {data_dir} cannot be written: {error.strerror}; free space or name"
            " another one"
        ) from error
    return lock_file


def hold(lock_file: IO[str], in_use: Callable[[str], str]) -> None:
    """Lock a file that is open, and write into it who holds it.

    If another process does, the file is closed, and StoreRefusedError says what `in_use` makes of
    its ID. OSError: it is locked, but cannot be written.
    """
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock_file.seek(0)
        holder = lock_file.read().strip() or "unknown"
        lock_file.close()
        raise StoreRefusedError(in_use(holder)) from error
    lock_file.truncate(0)
    lock_file.write(str(os.getpid()))
    lock_file.flush()
