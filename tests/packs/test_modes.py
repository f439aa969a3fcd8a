"""What is in a pack is for whoever made it, and for whom they give it to."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.audit.packs.exporting import Wanted, export
from tests.packs.scene import MADE_BY, Packed


@pytest.fixture(autouse=True)
def everybody() -> Iterator[None]:
    """An operator whose files are for all to read and write."""
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    """What others may read, but for what is folded in a folder that is shut."""
    return [
        f"{path} {path.stat().st_mode:o}"
        for path in folder.rglob("*")
        if path.stat().st_mode & 0o077 and not path.parent.name.startswith("folded-")
    ]


@pytest.mark.parametrize("with_personal", [False, True])
@pytest.mark.parametrize("archive", [False, True], ids=("folder", "archive"))
def test_nobody_else_can_read_a_pack_or_a_part_of_it(
    packed: Packed, tmp_path: Path, archive: bool, with_personal: bool
) -> None:
    seen: list[str] = []

    def look(name: str) -> None:
        seen.append(name)
        assert [] == open_to_others(tmp_path), name

    made = export(
        [packed.ledger.reader],
        Wanted(with_personal=with_personal),
        tmp_path / "pack",
        made_by=MADE_BY,
        archive=archive,
        failpoint=look,
    )
    assert {"pack-events-written", "pack-written", "pack-in-place"} <= set(seen)
    assert made.path.exists()
    assert [] == open_to_others(tmp_path)


def test_nor_what_is_unpacked_of_an_archive(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        assert {0o600} == {member.mode for member in opened}
