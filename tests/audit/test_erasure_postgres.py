"""Erasing where a server keeps the rows."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import psycopg
import pytest

from tests.audit.test_erased_files import NAME, fill, reject
from tests.cluster.processes import wait_until
from tests.contract.audit.erasing import erase, erased, erasures
from tests.contract.data.scene import Scene
from tests.harness.backends import POSTGRES, choose
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.postgres

TABLES = ("personal", "dead_letters", "erasures")


@pytest.fixture
def ledger(postgres_server: PostgresServer) -> Iterator[tuple[Scene, psycopg.Connection]]:
    with choose(POSTGRES, postgres_server) as backend:
        with Scene() as scene:
            (url,) = scene.service.settings.postgres.urls
            with psycopg.connect(url, autocommit=True) as connection:
                yield scene, connection
        backend.close()


def copies(connection: psycopg.Connection) -> int:
    """In the data files of the tables, those of long values included."""
    connection.execute("CHECKPOINT")
    files = connection.execute(
        "SELECT pg_read_binary_file(pg_relation_filepath(c.oid::regclass)) FROM pg_class c"
        " WHERE c.relname = ANY(%s) OR c.oid IN"
        " (SELECT reltoastrelid FROM pg_class WHERE relname = ANY(%s))",
        (list(TABLES), list(TABLES)),
    ).fetchall()
    return sum(bytes(file).count(NAME.encode()) for (file,) in files)


def test_earlier_states_are_given_back_at_once_and_gone_after_the_tables_are_written_anew(
    ledger: tuple[Scene, psycopg.Connection],
) -> None:
    scene, connection = ledger
    rows, letters = fill(scene), reject(scene)
    before = copies(connection)
    assert before > rows  # long values are compressed

    assert (rows, letters) == erased(scene)

    vacuumed = "SELECT count(*) FROM pg_stat_user_tables WHERE relname = ANY(%s) AND vacuum_count"
    wait_until(lambda: connection.execute(vacuumed + " > 0", (list(TABLES),)).fetchone() == (3,))
    assert copies(connection) < before
    # What docs/erasure.md says to do where the bytes have to leave the data files, too.
    for table in TABLES:
        connection.execute(f"VACUUM FULL {table}".encode())
    assert 0 == copies(connection)


def test_is_refused_while_a_role_may_run_that_cannot_read_its_events(
    ledger: tuple[Scene, psycopg.Connection],
) -> None:
    scene, connection = ledger
    connection.execute("UPDATE migrations SET finished_at = NULL WHERE number = 5")

    with pytest.raises(grpc.RpcError) as refused:
        erase(scene)

    assert grpc.StatusCode.FAILED_PRECONDITION == refused.value.code()
    assert "run `usage-ledger migrate --finish`" in (refused.value.details() or "")
    assert [] == erasures(scene)
    connection.execute("UPDATE migrations SET finished_at = 1 WHERE number = 5")
    erase(scene)
