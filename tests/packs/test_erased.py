"""Packs of a ledger in which a user was erased."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ledger.audit.erased import erasure_laws
from ledger.audit.keys import read_key_list
from ledger.audit.packs.exporting import Wanted
from ledger.audit.packs.exporting import export as make_pack
from ledger.audit.packs.importing import import_pack
from ledger.audit.packs.layout import PackError
from ledger.audit.packs.reading import Pack
from ledger.replay import compare_with_log
from ledger.stores import OpenStore
from persistence.sqlite import FILE_NAME, SQLiteReader, SQLiteStore
from tests.contract.audit.erasing import broken_laws, erase, metadata
from tests.contract.data.scene import PAYER, Scene, ran
from tests.laws.acts import payer_bytes
from tests.packs.scene import MADE_BY, Doctored, verified
from tests.proofs.scene import Signing
from tests.proofs.test_commands import usage_ledger

PERSONAL = "shard-0/personal.jsonl"
OTHER = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(tmp_path / "keys")


@pytest.fixture
def ledger(tmp_path: Path, signing: Signing) -> Path:
    """Two users, one of them erased; and a head over all of it."""
    data_dir = tmp_path / "ledger"
    with Scene(data_dir, tree=True, **signing.settings) as scene:
        scene.record(*ran("first", "06:00", "07:00", userName="Zoë"))
        scene.record(*ran("second", "06:00", "07:00", userName="Adam", userId=OTHER))
        assert 1 == erase(scene).personal_rows
        signing.sign(scene)
    return data_dir


def export(ledger: Path, pack: Path, *more: str) -> Path:
    usage_ledger("export", str(pack), *more, "--with-personal", "--data-dir", str(ledger))
    return pack


def rows(pack: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (pack / PERSONAL).read_text().splitlines()]


@contextmanager
def taken_over(pack: Path, data_dir: Path, signing: Signing) -> Iterator[SQLiteStore]:
    with closing(SQLiteStore(data_dir)) as store, closing(Pack(pack)) as opened:
        keys = read_key_list(signing.keys_file, may_lack=False)
        import_pack(opened, keys, [OpenStore(store, lambda: SQLiteReader(store))])
        yield store


def test_a_payers_pack_has_nothing_of_an_erased_user(
    ledger: Path, tmp_path: Path, signing: Signing
) -> None:
    pack = export(ledger, tmp_path / "pack", "--payer", PAYER)
    (row,) = rows(pack)
    assert b"Adam" in base64.b64decode(row["fields"])
    assert f"{PERSONAL}: 1 rows, each as its event commits to\n" in verified(
        pack, signing.keys_file
    )


def test_a_pack_of_everything_says_what_was_erased(
    ledger: Path, tmp_path: Path, signing: Signing
) -> None:
    pack = export(ledger, tmp_path / "pack", "--everything")
    assert "and 1 that were erased by a recorded request" in verified(pack, signing.keys_file)
    with (
        taken_over(pack, tmp_path / "new", signing) as store,
        closing(SQLiteReader(store)) as reader,
    ):
        assert [] == [breach for _, _, found in compare_with_log(reader) for breach in found]
        personal = store.connection.execute("SELECT * FROM personal ORDER BY 1").fetchall()
    with closing(SQLiteStore(ledger)) as store:
        kept = store.connection.execute("SELECT * FROM personal ORDER BY 1").fetchall()
    assert kept == personal


def test_fields_that_nobody_asked_to_erase_are_found(
    ledger: Path, tmp_path: Path, signing: Signing
) -> None:
    pack = export(ledger, tmp_path / "pack", "--everything")
    told = rows(pack)
    number = next(n for n, row in enumerate(told) if b"Adam" in base64.b64decode(row["fields"]))
    doctored = Doctored(pack, tmp_path / "doctored")
    nobody = bytes(8) + (told[number]["position"] + 1).to_bytes(8)
    length = len(base64.b64decode(told[number]["fields"]))
    doctored.change(
        PERSONAL,
        number,
        salt=base64.b64encode(nobody).decode(),
        fields=base64.b64encode(bytes(length)).decode(),
    )
    doctored.seal()
    said = verified(doctored.folder, signing.keys_file, code=1)
    assert "is erased, and no event asked for that" in said
    with (
        pytest.raises(PackError, match="where nobody asked for that"),
        taken_over(doctored.folder, tmp_path / "new", signing),
    ):
        pass


class TestAnErasureBehindTheHead:
    """Its request is not in the pack, so nobody could be shown why the fields are gone."""

    @pytest.fixture
    def behind(self, tmp_path: Path, signing: Signing) -> Path:
        data_dir = tmp_path / "ledger"
        with Scene(data_dir, tree=True, **signing.settings) as scene:
            scene.record(*ran("first", "06:00", "07:00", userName="Zoë"))
            scene.record(*ran("second", "06:00", "07:00", userName="Adam", userId=OTHER))
            signing.sign(scene)
            assert 1 == erase(scene).personal_rows
        return data_dir

    def test_is_refused_until_a_head_covers_it(
        self, behind: Path, tmp_path: Path, signing: Signing
    ) -> None:
        wanted = ("export", str(tmp_path / "pack"), "--everything", "--data-dir", str(behind))
        said = usage_ledger(*wanted, "--with-personal", code=1)
        assert "personal fields were erased behind head 1" in said
        assert "sign a head first, `usage-ledger heads sign`" in said
        assert not (tmp_path / "pack").exists()
        with Scene(behind, tree=True, **signing.settings) as scene:
            signing.sign(scene)
        pack = export(behind, tmp_path / "pack", "--everything")
        assert "and 1 that were erased by a recorded request" in verified(pack, signing.keys_file)
        with taken_over(pack, tmp_path / "new", signing):
            pass

    def test_does_not_matter_where_no_erased_fields_are_shown(
        self, behind: Path, tmp_path: Path, signing: Signing
    ) -> None:
        bare = ("export", str(tmp_path / "bare"), "--everything", "--data-dir", str(behind))
        usage_ledger(*bare)
        verified(tmp_path / "bare", signing.keys_file)
        pack = export(behind, tmp_path / "pack", "--payer", PAYER)
        (row,) = rows(pack)
        assert b"Adam" in base64.b64decode(row["fields"])
        verified(pack, signing.keys_file)


class TestPersonalFieldsThatStayedBehind:
    """A ledger that was taken over without them lacks nothing that it ever had."""

    @pytest.fixture
    def new(self, ledger: Path, tmp_path: Path, signing: Signing) -> Path:
        pack = tmp_path / "bare"
        usage_ledger("export", str(pack), "--everything", "--data-dir", str(ledger))
        with taken_over(pack, tmp_path / "new", signing):
            return tmp_path / "new"

    def test_are_not_told_as_lost_or_brought_back(self, new: Path, signing: Signing) -> None:
        assert [] == breaches(new)
        with Scene(new, tree=True, **signing.settings) as scene:
            assert [] == broken_laws(scene)
            assert erase(scene).repeated
            scene.record(*ran("third", "06:00", "07:00", userName="Zoë"))
            later = erase(scene)
            assert (2, 1) == (later.number, later.personal_rows)
            assert [] == broken_laws(scene)

    def test_of_later_events_are_looked_at_as_ever(self, new: Path) -> None:
        with Scene(new) as scene:
            scene.record(*ran("third", "06:00", "07:00", userName="Ada"))
            assert ("Ada", "", "") in metadata(scene, PAYER)
            assert [] == broken_laws(scene)
        changed(new, "DELETE FROM personal")
        (breach,) = breaches(new)
        assert "the fields of instance:" in breach
        assert "are lost" in breach

    def test_are_a_breach_when_somebody_brings_them_back(self, new: Path, ledger: Path) -> None:
        with closing(sqlite3.connect(new / FILE_NAME)) as connection, connection:
            connection.execute(f"ATTACH '{ledger / FILE_NAME}' AS old")
            connection.execute("INSERT INTO personal SELECT * FROM old.personal ORDER BY 1 LIMIT 1")
        assert any("there are personal fields at position" in breach for breach in breaches(new))

    def test_stay_behind_when_it_is_taken_over_again(
        self, new: Path, tmp_path: Path, signing: Signing
    ) -> None:
        with Scene(new, tree=True, **signing.settings) as scene:
            scene.record(*ran("third", "06:00", "07:00", userName="Ada"))
            signing.sign(scene)
        pack = export(new, tmp_path / "later", "--everything")
        assert 1 == len(rows(pack))
        with taken_over(pack, tmp_path / "newer", signing):
            pass
        assert [] == breaches(tmp_path / "newer")

    def test_are_lost_where_others_before_them_came(
        self, ledger: Path, tmp_path: Path, signing: Signing
    ) -> None:
        pack = Doctored(export(ledger, tmp_path / "pack", "--everything"), tmp_path / "doctored")
        told = rows(pack.folder)
        pack.write_lines(PERSONAL, told[:1] + told[2:])
        pack.seal()
        with taken_over(pack.folder, tmp_path / "new", signing):
            pass
        (breach,) = breaches(tmp_path / "new")
        assert "are lost" in breach


def breaches(data_dir: Path) -> list[str]:
    with closing(SQLiteStore(data_dir)) as store, closing(SQLiteReader(store)) as reader:
        laws = [*reader.audit(), *erasure_laws(reader), *compare_with_log(reader)]
    return [f"{law}: {breach}" for law, _, found in laws for breach in found]


def changed(data_dir: Path, statement: str) -> None:
    with closing(sqlite3.connect(data_dir / FILE_NAME)) as connection, connection:
        connection.execute(statement)


class TestAnErasureWhileAPackIsMade:
    """A copy that was begun before is made after it, as whoever asked for the erasure sees it."""

    @pytest.fixture
    def scene(self, tmp_path: Path, signing: Signing) -> Iterator[Scene]:
        with Scene(tmp_path / "live", tree=True, **signing.settings) as scene:
            scene.record(*ran("first", "06:00", "07:00", userName="Zoë"))
            signing.sign(scene)
            yield scene

    def made(self, scene: Scene, target: Path, failpoint: str, **wanted: Any) -> Path:
        waiting = [failpoint]

        def erase_there(name: str) -> None:
            if name in waiting:
                waiting.remove(name)
                assert 1 == erase(scene).personal_rows

        with closing(scene.service.ledger.shards[0].new_queries().reader) as reader:
            made = make_pack(
                [reader],
                Wanted(**wanted),
                target,
                made_by=MADE_BY,
                archive=target.suffix == ".tar",
                durable=False,
                failpoint=erase_there,
            )
        assert [] == waiting
        return made.path

    @pytest.mark.parametrize("name", ["pack", "pack.tar"])
    @pytest.mark.parametrize("payer", [None, payer_bytes(PAYER)], ids=("everything", "payer"))
    @pytest.mark.parametrize("failpoint", ["pack-events-written", "pack-folded", "pack-written"])
    def test_lets_no_personal_fields_out(
        self, scene: Scene, tmp_path: Path, failpoint: str, payer: bytes | None, name: str
    ) -> None:
        with pytest.raises(PackError, match="a user was erased while the pack was made"):
            self.made(scene, tmp_path / name, failpoint, payer=payer, with_personal=True)
        assert not [path for path in tmp_path.iterdir() if path.name.startswith("pack")]

    def test_does_not_matter_without_them(self, scene: Scene, tmp_path: Path) -> None:
        assert self.made(scene, tmp_path / "pack", "pack-folded").exists()

    def test_that_was_over_before_it_began_does_not_matter(
        self, scene: Scene, tmp_path: Path
    ) -> None:
        """Even when no head covers the request yet, and the tree has not heard of it."""
        erase(scene)
        with closing(scene.service.ledger.shards[0].new_queries().reader) as reader:
            wanted = Wanted(payer=payer_bytes(PAYER), with_personal=True)
            make_pack([reader], wanted, tmp_path / "pack", made_by=MADE_BY, durable=False)
        assert [] == rows(tmp_path / "pack")
