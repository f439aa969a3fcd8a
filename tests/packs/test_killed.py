"""Killed anywhere, an export leaves no pack or a whole one, and an import nothing or all of it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from ledger.failpoints import OF_PACKS
from persistence.sqlite import SQLiteReader, SQLiteStore
from tests.packs.scene import KILLED, Packed, usage_ledger, verified
from tests.packs.test_importing import CARRIED, FOLDED, rows

OF_IMPORTS = [name for name in OF_PACKS if "import" in name or "shard" in name]
OF_EXPORTS = [name for name in OF_PACKS if name not in OF_IMPORTS]


class TestExport:
    @pytest.mark.parametrize("archive", [False, True], ids=("folder", "archive"))
    @pytest.mark.parametrize("failpoint", OF_EXPORTS)
    def test_leaves_no_pack_or_a_whole_one(
        self, packed: Packed, tmp_path: Path, failpoint: str, archive: bool
    ) -> None:
        target = tmp_path / "pack"
        command = ("export", target, "--everything", "--data-dir", packed.folder / "ledger")
        more = ("--archive",) if archive else ()
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        died = usage_ledger(*command, *more, failpoint=failpoint, TMPDIR=str(temporary))
        assert KILLED == died
        assert [] == list(temporary.iterdir())  # nobody would find, and throw away, what it folded
        temporary.rmdir()
        if not target.exists():
            assert 0 == usage_ledger(*command, *more)
        verified(target, packed.keys)
        left = [path for path in tmp_path.iterdir() if path != target]
        assert [] == left or failpoint == "pack-in-place"
        assert 1 == usage_ledger(*command, *more)  # it is there


class TestImport:
    @pytest.mark.parametrize("failpoint", OF_IMPORTS)
    def test_leaves_nothing_or_all(self, packed: Packed, tmp_path: Path, failpoint: str) -> None:
        new = tmp_path / "new"
        command = ("import-pack", packed.everything, "--keys", packed.keys, "--data-dir", new)
        assert KILLED == usage_ledger(*command, failpoint=failpoint)
        with closing(SQLiteStore(new)) as store, store.transaction() as transaction:
            is_committed = failpoint == "pack-shard-imported"
            assert is_committed == bool(transaction.packs.holdings())
        assert 0 == usage_ledger(*command)
        with closing(SQLiteStore(new)) as store, closing(SQLiteReader(store)) as reader:
            live = packed.ledger.reader
            assert rows(live, *CARRIED, *FOLDED) == rows(reader, *CARRIED, *FOLDED)
