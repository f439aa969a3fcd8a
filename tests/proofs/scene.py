"""A service whose tree is kept, and whoever has the database and changes rows behind its back."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from events import decode
from ledger.audit.keys import KeyList, ListedKey, load_signer, new_key_file, write_key_list
from ledger.audit.notes import Checkpoint
from persistence import Head
from persistence.sqlite import FILE_NAME
from tests.contract.data.scene import Scene, note
from tests.oracle.events import payer_of
from tests.proofs import naive

WAIT_SECONDS = 30.0


class BackDoor:
    """The database of a ledger, for somebody who may write into it."""

    def __init__(self, data_dir: Path, url: str) -> None:
        self.data_dir = data_dir
        self.url = url

    def run(self, *statements: str, values: tuple[Any, ...] = ()) -> None:
        """Run statements in one transaction; the values are the first one's, in both databases."""
        bound = [values] + [()] * (len(statements) - 1)
        if self.url:
            with psycopg.connect(self.url) as connection:
                for statement, given in zip(statements, bound, strict=True):
                    connection.execute(statement.replace("?", "%s").encode(), given)
            return
        with closing(sqlite3.connect(self.data_dir / FILE_NAME, timeout=20)) as ledger, ledger:
            for statement, given in zip(statements, bound, strict=True):
                ledger.execute(statement, given)

    def replace(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        """Put other rows in the place of a table's."""
        marks = ", ".join("?" * len(rows[0]))
        insert = f"INSERT INTO {table} VALUES ({marks})"
        if self.url:
            with psycopg.connect(self.url) as connection, connection.cursor() as cursor:
                cursor.execute(f"DELETE FROM {table}".encode())
                cursor.executemany(insert.replace("?", "%s").encode(), rows)
            return
        with closing(sqlite3.connect(self.data_dir / FILE_NAME, timeout=20)) as ledger, ledger:
            ledger.execute(f"DELETE FROM {table}")
            ledger.executemany(insert, rows)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Give what a statement answers."""
        if self.url:
            with psycopg.connect(self.url) as connection:
                return connection.execute(statement.encode()).fetchall()
        with closing(sqlite3.connect(self.data_dir / FILE_NAME, timeout=20)) as ledger:
            return ledger.execute(statement).fetchall()

    def events(self) -> list[tuple[Any, ...]]:
        """Give the log: position, stream, version, topic, state."""
        return self.rows(
            "SELECT position, originator_id, originator_version, topic, state FROM stored_events"
            " ORDER BY position"
        )

    def leaves(self) -> list[bytes]:
        """Hash every event."""
        return [leaf_of(*row[1:]) for row in self.events()]

    def size(self) -> int:
        """Count the tree's leaves."""
        rows = self.rows("SELECT size FROM tree")
        return int(rows[0][0]) if rows else 0

    def fault(self) -> str:
        """Give what the ledger knows to be wrong with its tree."""
        return str(self.rows("SELECT fault FROM tree")[0][0])

    def root(self, size: int) -> bytes:
        """Compute the root over the first events of the log."""
        return naive.root(self.leaves()[:size])


def leaf_of(stream: str, version: int, topic: str, state: bytes) -> bytes:
    """Hash an event by what docs/proofs.md says, with none of the product's hashing."""
    recorded = decode(topic, state).recorded_at
    parts = (
        b"\x01",
        _sized(stream.encode()),
        version.to_bytes(8),
        _sized(topic.encode()),
        recorded.to_bytes(8, signed=True),
        _sized(state),
    )
    return naive.leaf(b"".join(parts))


def _sized(field: bytes) -> bytes:
    return len(field).to_bytes(4) + field


class Signing:
    """A key that signs heads, and the list that it stands in."""

    name = "test-key"

    def __init__(self, folder: Path) -> None:
        self.key_file, self.keys_file = folder / "signing.key", folder / "keys.json"
        self.keys = KeyList(())
        self._begin(self.name)
        files = {"signing_key_file": str(self.key_file), "keys_file": str(self.keys_file)}
        self.settings: dict[str, Any] = {"audit": files}

    def sign(self, scene: Scene) -> list[Head]:
        """Sign a head of every shard; give the newest ones."""
        heads, uncovered = scene.service.wait(scene.service.ledger.heads.sign("somebody"))
        assert 0 == uncovered
        return [head for _, head in heads]

    def rotate(self, name: str) -> None:
        """Put another key in the place of the one before, which stays listed."""
        self.key_file.unlink()
        self._begin(name)

    def _begin(self, name: str) -> None:
        public = new_key_file(self.key_file)
        key = ListedKey(name, public, "2026-11-01T00:00:00.000Z", "local:root", None)
        self.keys = self.keys.with_key(key)
        write_key_list(self.keys_file, self.keys)

    def note(self, checkpoint: Checkpoint) -> str:
        """Sign whatever is given, as a thief of the key would."""
        return load_signer(self.key_file, self.keys_file).sign(checkpoint)


def tree_scene(place: BackDoor, **settings: Any) -> Scene:
    """A service whose tree is kept."""
    return Scene(place.data_dir, tree=True, **settings)


def add_notes(scene: Scene, count: int, *, first: int = 0) -> None:
    """Record credit notes of twenty payers."""
    scene.record(
        *(
            note(1, event_id=f"note {number}", payer=payer_of(f"payer {number % 20}"))
            for number in range(first, first + count)
        )
    )


def wait_for(what: str, holds: Any, *, seconds: float = WAIT_SECONDS) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come within {seconds} s"
        time.sleep(0.02)


def until_current(place: BackDoor) -> int:
    """Wait until the tree has every event; give how many those are."""
    count = len(place.events())
    wait_for("a tree of all events", lambda: place.size() == count)
    return count
