"""What must not be opened: an exit code, a sentence that says what to change, nothing changed."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from persistence.sqlite import FILE_NAME
from tests.faults.mounts import mounted_full, mounted_read_only, unchangeable
from tests.harness import ServiceProcess

FAILED = 1


def refusal(data_dir: Path, *options: str) -> str:
    """Start the service; it must end by itself with exit code 1 and one sentence."""
    command = [sys.executable, "-m", "cli.main", "serve", "--no-jobs", "--data-dir", str(data_dir)]
    if "--listen" not in options:
        command += ["--listen", "127.0.0.1:0"]
    ended = subprocess.run([*command, *options], capture_output=True, timeout=20, check=False)
    assert FAILED == ended.returncode, ended.stderr.decode()
    lines = ended.stderr.decode().splitlines()
    assert 1 == len(lines), ended.stderr.decode()
    return lines[0]


def contents(folder: Path) -> dict[str, str]:
    """Every file with its digest, but for the lock and SQLite's index of its write-ahead log."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in {"lock", FILE_NAME + "-shm"}
    }


@contextlib.contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    before = contents(folder)
    yield
    assert before == contents(folder)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A ledger that was shut down."""
    with ServiceProcess(tmp_path / "data"):
        pass
    return tmp_path / "data"


def alter(data_dir: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(data_dir / FILE_NAME)) as ledger, ledger:
        for statement in statements:
            ledger.execute(statement)


class TestDataDirectory:
    def test_a_file_stands_in_its_place(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("mine")
        with unchanged(tmp_path):
            assert "cannot be made" in refusal(tmp_path / "data")

    def test_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("mine")
        with unchanged(tmp_path):
            assert "cannot be made" in refusal(tmp_path / "data" / "deeper")

    def test_read_only(self, data_dir: Path) -> None:
        with unchanged(data_dir), mounted_read_only(data_dir):
            assert "is not writable: Read-only file system" in refusal(data_dir)

    def test_a_ledger_file_that_cannot_be_written(self, data_dir: Path) -> None:
        with unchanged(data_dir), unchangeable(data_dir / FILE_NAME):
            assert f"{FILE_NAME} is not writable" in refusal(data_dir)

    def test_full_before_the_first_start(self, tmp_path: Path) -> None:
        with mounted_full(tmp_path / "data"):
            assert "No space left" in refusal(tmp_path / "data")

    def test_full_after_a_crash(self, tmp_path: Path) -> None:
        with mounted_full(tmp_path / "data", room=96 * 1024):
            sentence = refusal(tmp_path / "data")
            assert "full" in sentence or "No space left" in sentence

    def test_locked_by_another_process(self, tmp_path: Path) -> None:
        with ServiceProcess(tmp_path / "data") as other:
            assert other.process is not None
            sentence = refusal(tmp_path / "data")
            assert f"in use by process {other.process.pid};" in sentence
            other.calls.reconcile()
            # The one that was refused has not taken the lock's file from the other.
            assert sentence == refusal(tmp_path / "data")


class TestFile:
    def test_from_a_newer_version(self, data_dir: Path) -> None:
        alter(data_dir, "PRAGMA user_version = 99")
        with unchanged(data_dir):
            assert "schema version 99, this version knows" in refusal(data_dir)

    def test_from_a_newer_version_that_was_killed(self, tmp_path: Path) -> None:
        """Its write-ahead log is left, and the version stands only there."""
        with ServiceProcess(tmp_path / "data") as newer:
            alter(tmp_path / "data", "PRAGMA user_version = 99")
            newer.kill()
        with unchanged(tmp_path / "data"):
            assert "schema version 99, this version knows" in refusal(tmp_path / "data")

    def test_another_application_s_database(self, data_dir: Path) -> None:
        (data_dir / FILE_NAME).unlink()
        alter(data_dir, "CREATE TABLE theirs (a)", "INSERT INTO theirs VALUES (1)")
        with unchanged(data_dir):
            assert "is not a ledger" in refusal(data_dir)

    def test_another_application_s_database_that_names_itself(self, data_dir: Path) -> None:
        alter(data_dir, "PRAGMA application_id = 7")
        with unchanged(data_dir):
            assert "is not a ledger" in refusal(data_dir)

    def test_a_text_file(self, data_dir: Path) -> None:
        (data_dir / FILE_NAME).write_text("not a database, but long enough to be looked at\n" * 99)
        with unchanged(data_dir):
            assert "is not a ledger" in refusal(data_dir)

    def test_a_folder(self, data_dir: Path) -> None:
        (data_dir / FILE_NAME).unlink()
        (data_dir / FILE_NAME).mkdir()
        with unchanged(data_dir):
            assert "cannot be opened" in refusal(data_dir)

    def test_gaps_in_the_log(self, data_dir: Path) -> None:
        with ServiceProcess(data_dir) as service:
            for _ in range(3):
                service.calls.reconcile()
        alter(data_dir, "DELETE FROM stored_events WHERE position = 2")
        with unchanged(data_dir):
            assert "events are missing; restore a backup" in refusal(data_dir)

    def test_the_log_cut_short(self, data_dir: Path) -> None:
        with ServiceProcess(data_dir) as service:
            for _ in range(3):
                service.calls.reconcile()
        alter(data_dir, "DELETE FROM stored_events WHERE position > 2")
        with unchanged(data_dir):
            assert "restore a backup" in refusal(data_dir)

    def test_an_event_of_a_newer_version(self, data_dir: Path) -> None:
        alter(data_dir, "UPDATE stored_events SET topic = 'from-the-future'")
        with unchanged(data_dir):
            assert "from-the-future" in refusal(data_dir)


class TestSurroundings:
    def test_port_taken(self, data_dir: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with unchanged(data_dir):
                assert "the address cannot be used" in refusal(data_dir, "--listen", address)

    def test_secrets_that_cannot_be_made(self, data_dir: Path) -> None:
        (data_dir / "secrets" / "free-credit.key").unlink()
        (data_dir / "secrets").rmdir()
        (data_dir / "secrets").write_text("in the way")
        with unchanged(data_dir):
            assert "free_credit_key_file" in refusal(data_dir)

    def test_a_secret_cut_short(self, data_dir: Path) -> None:
        (data_dir / "secrets" / "free-credit.key").write_bytes(b"short")
        with unchanged(data_dir):
            assert "has 5 bytes: at least 32" in refusal(data_dir)

    def test_secrets_on_a_read_only_disk(self, data_dir: Path) -> None:
        (data_dir / "secrets" / "free-credit.key").unlink()
        with unchanged(data_dir), mounted_read_only(data_dir / "secrets"):
            assert "Read-only file system" in refusal(data_dir)

    def test_other_rates_under_a_recorded_revision(self, data_dir: Path, tmp_path: Path) -> None:
        config = tmp_path / "other.toml"
        config.write_text("[prices]\ncredits_per_minute = { default = 0.5 }\n")
        with unchanged(data_dir):
            sentence = refusal(data_dir, "--config", str(config))
            assert "raise prices.revision" in sentence
