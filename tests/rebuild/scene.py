"""A ledger on either store, with a service, and `usage-ledger` beside it."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from persistence.sqlite import FILE_NAME
from tests.cluster.processes import PROGRAM, RoleProcess, toml_of

# By its path: the folder of the tests is on no path where the installed wheel is tried.
NEXT = (str(Path(__file__).with_name("next_version.py")),)
SECONDS_MAX = 100
WITHOUT_JOBS = {"ledger_enabled": False, "reset_enabled": False}


Sql = Callable[[str], Sequence[Any]]  # runs a statement; gives the rows it answers with


class Ran(NamedTuple):
    """How a command ended; both streams as one text."""

    code: int
    text: str


class Place:
    """A ledger of one shard: in a file, or in a database."""

    def __init__(self, folder: Path, url: str = "") -> None:
        """Prepare; `url` is the database's."""
        self.folder = folder
        self.url = url
        self.data_dir = folder / "data"
        store: dict[str, Any] = {"data_dir": str(self.data_dir)}
        if url:
            store |= {"store": "postgres", "postgres": {"urls": [url]}}
        self.settings: dict[str, Any] = {"jobs": WITHOUT_JOBS, **store}
        self.config = folder / "usage-ledger.toml"
        self.config.write_text(toml_of(self.settings))

    def role(
        self,
        role: str = "serve",
        *parts: str,
        program: Sequence[str] = PROGRAM,
        failpoint: str = "",
    ) -> RoleProcess:
        """A process of the ledger; `with` starts it."""
        settings = self.settings | {"serve": {"parts": list(parts or ("project",))}}
        return RoleProcess(role, settings, self.folder, program=program, failpoint=failpoint)

    def run(
        self, *arguments: str, program: Sequence[str] = PROGRAM, failpoint: str = "", **more: str
    ) -> Ran:
        """Run a command beside the service; `more` are variables."""
        ran = subprocess.run(
            [sys.executable, *program, *arguments, "--config", str(self.config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "USAGE_LEDGER_FAILPOINT": failpoint, **more},
            timeout=SECONDS_MAX,
            check=False,
            text=True,
        )
        return Ran(ran.returncode, ran.stdout)

    def do(self, *arguments: str, program: Sequence[str] = PROGRAM) -> str:
        """Run a command that must do what it is asked."""
        ran = self.run(*arguments, program=program)
        assert 0 == ran.code, ran.text
        return ran.text

    def dies(self, *arguments: str, failpoint: str) -> None:
        """Run a command that is killed at a failpoint."""
        ran = self.run(*arguments, failpoint=failpoint)
        assert -signal.SIGKILL == ran.code, f"{failpoint} was not passed: {ran.text}"

    def compare(self, program: Sequence[str] = PROGRAM) -> int:
        """Fold the log anew and compare every live row; give how many."""
        text = self.do("replay", "--compare", program=program)
        assert "not compared" not in text
        found = re.search(r"✓ ([\d,]+) rows of", text)
        assert found is not None, text
        return int(found[1].replace(",", ""))

    def states(self, program: Sequence[str] = PROGRAM) -> dict[int, str]:
        """The state of every generation, by its number."""
        rows = self.do("projections", "status", program=program).split("Promotions")[0]
        found = re.findall(r"^0 +(\d+) +\d+ +(.*?) {2,}", rows.replace("─", ""), re.MULTILINE)
        return {int(number): state for number, state in found}

    @contextmanager
    def database(self) -> Iterator[Sql]:
        """The store itself, to look at and to tamper with."""
        if self.url:
            with psycopg.connect(self.url, autocommit=True) as connection:
                yield lambda statement: _rows(connection.execute(statement.encode()))
            return
        path = self.data_dir / FILE_NAME
        with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
            yield lambda statement: connection.execute(statement).fetchall()


def _rows(cursor: psycopg.Cursor[Any]) -> Sequence[Any]:
    return cursor.fetchall() if cursor.description else ()
