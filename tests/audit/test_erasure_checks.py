"""`check` tells what was erased from what was lost, and notices what came back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ledger.replay import compare_with_log
from persistence.sqlite import FILE_NAME, SQLiteReader, SQLiteStore
from tests.contract.audit.erasing import broken_laws, erase
from tests.contract.data.scene import USER, Scene, note, ran
from tests.laws.adapter import ProductLedger
from tests.laws.replay import READ_MODEL, rows_of
from tests.laws.test_seeded_run import history
from tests.oracle.events import named_uuid


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A ledger in which a user was erased and another one was not."""
    with Scene(tmp_path) as scene:
        scene.record(*ran("a", "06:00", "07:00", userName="Ada"), note(3, description="kept"))
        scene.record(*ran("b", "06:00", "07:00", userId=named_uuid("bob"), userName="Bob"))
        erase(scene)
        assert [] == broken_laws(scene)
    return tmp_path


def change(data_dir: Path, statement: str) -> None:
    with closing(sqlite3.connect(data_dir / FILE_NAME)) as connection, connection:
        assert connection.execute(statement).rowcount > 0


def found(data_dir: Path) -> list[str]:
    with Scene(data_dir) as scene:
        return broken_laws(scene)


def test_a_row_that_is_gone_without_an_erasure_is_lost(data_dir: Path) -> None:
    change(data_dir, "DELETE FROM personal WHERE position = (SELECT max(position) FROM personal)")

    (breach,) = found(data_dir)
    assert breach.startswith("personal fields are those that their events commit to")
    assert "are lost" in breach


def test_a_row_that_was_erased_and_is_gone_is_missed(data_dir: Path) -> None:
    change(data_dir, "DELETE FROM personal WHERE substr(salt, 1, 8) = zeroblob(8)")

    breaches = found(data_dir)
    assert any("1 rows were erased, 0 are" in breach for breach in breaches)


def test_a_row_that_came_back_is_noticed_until_the_user_is_erased_again(
    data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As when the table is restored from a backup."""
    other = tmp_path_factory.mktemp("backup")
    with Scene(other) as scene:
        scene.record(*ran("a", "06:00", "07:00", userName="Ada"))
    with closing(sqlite3.connect(data_dir / FILE_NAME)) as connection, connection:
        connection.execute(f"ATTACH '{other / FILE_NAME}' AS backup")
        connection.execute(
            "UPDATE personal SET (salt, fields) ="
            " (SELECT salt, fields FROM backup.personal b WHERE b.position = 2)"
            " WHERE position = 2"
        )

    breaches = found(data_dir)
    assert any("restoring a backup brings rows back; erase the user again" in b for b in breaches)
    with Scene(data_dir) as scene:
        assert (2, 1) == ((again := erase(scene)).number, again.personal_rows)
        assert [] == broken_laws(scene)


def test_a_mark_that_names_no_erasure_is_a_breach(data_dir: Path) -> None:
    change(
        data_dir,
        "UPDATE personal SET salt = x'00000000000000000000000000000003'"
        " WHERE substr(salt, 1, 8) <> zeroblob(8)",
    )

    assert any("rows name position 3" in breach for breach in found(data_dir))


def test_an_erasure_changes_no_row_that_is_folded(tmp_path: Path) -> None:
    """Of a long history: erased are all of its users, one after the other."""
    with closing(ProductLedger(tmp_path)) as ledger:
        ledger.apply_all(history(20260801))
        users = [row[0] for row in ledger.select("SELECT DISTINCT user FROM entries")]
    with closing(SQLiteStore(tmp_path)) as store:
        before = rows_of(store, READ_MODEL)
        inbox = rows_of(store, ("inbox", "deliveries"))
    with Scene(tmp_path, default_spending_limit={"for_teams": 0}) as scene:
        for user in filter(None, users):
            erase(scene, user.hex())
    with closing(SQLiteStore(tmp_path)) as store, closing(SQLiteReader(store)) as reader:
        after = rows_of(store, READ_MODEL)
        # The clock has folded the erasures, and nothing else has.
        assert {**before, "clock": after["clock"]} == after
        assert inbox == rows_of(store, ("inbox", "deliveries"))
        laws = [*reader.audit(), *compare_with_log(reader)]
        assert [] == [f"{law}: {breach}" for law, _, breaches in laws for breach in breaches]
        assert USER not in {user.hex() for user in users}
