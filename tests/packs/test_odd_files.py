"""Packs of what is no file, or too much of one: folders and archives that nobody can read."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import os
import socket
import struct
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from ledger.audit.packs.layout import PackError
from tests.packs.scene import (
    NOT_PROVED,
    UNREADABLE,
    Doctored,
    Packed,
    taken_over,
    verified,
    with_checksum,
)

EVENTS = "shard-0/events.jsonl"
DEEP = "[" * 100_000


class TestAFolder:
    @pytest.fixture
    def pack(self, packed: Packed, tmp_path: Path) -> Doctored:
        return Doctored(packed.everything, tmp_path / "pack")

    def refused(self, pack: Path, packed: Packed, text: str, code: int = NOT_PROVED) -> None:
        # As a process that is ended when it hangs.
        assert text in verified(pack, packed.keys, code=code)
        with pytest.raises(PackError), taken_over(pack, packed):
            pass

    @pytest.mark.parametrize("name", ["balances.sql", EVENTS, "manifest.json", "SHA256SUMS"])
    @pytest.mark.parametrize("odd", ["link", "pipe", "socket", "folder"])
    def test_with_something_else_in_the_place_of_a_file(
        self, pack: Doctored, packed: Packed, tmp_path: Path, name: str, odd: str
    ) -> None:
        file = pack.folder / name
        file.rename(tmp_path / "moved")
        if odd == "link":
            file.symlink_to(tmp_path / "moved")
        elif odd == "pipe":
            os.mkfifo(file)
        elif odd == "folder":
            file.mkdir()
        else:
            with contextlib.chdir(file.parent), closing(socket.socket(socket.AF_UNIX)) as bound:
                bound.bind(file.name)  # the whole path would be too long
        code = UNREADABLE if name == "manifest.json" else NOT_PROVED
        self.refused(pack.folder, packed, name, code)

    def test_with_a_linked_folder(self, pack: Doctored, packed: Packed, tmp_path: Path) -> None:
        (pack.folder / "shard-0").rename(tmp_path / "elsewhere")
        (pack.folder / "shard-0").symlink_to(tmp_path / "elsewhere")
        self.refused(pack.folder, packed, "shard-0: the manifest does not name this file")

    def test_with_names_that_are_no_text(self, pack: Doctored, packed: Packed) -> None:
        for name in (b"\xff\xfe", b"a\x1b[2J\n"):
            Path(os.fsdecode(bytes(pack.folder) + b"/" + name)).touch()
        self.refused(pack.folder, packed, "a?[2J?: the manifest does not name this file")

    def test_with_a_file_of_holes(self, pack: Doctored, packed: Packed) -> None:
        """A million million bytes that take no room on a disk, and hours to read."""
        with (pack.folder / "shard-0/proof.bin").open("r+b") as file:
            file.truncate(1 << 40)
        self.refused(pack.folder, packed, "bytes instead of 0")

    def test_that_is_a_pipe(self, packed: Packed, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        self.refused(tmp_path / "pipe", packed, "neither a folder nor a whole archive", UNREADABLE)

    @pytest.mark.parametrize("name", ["entries.jsonl", EVENTS, "manifest.json", "SHA256SUMS"])
    @pytest.mark.parametrize(
        "content",
        [DEEP.encode(), b"\xff" * 99, b"1" * 99_999, b"\0" * 9_999],
        ids=("deep", "bytes", "number", "zeros"),
    )
    def test_with_noise(self, pack: Doctored, packed: Packed, name: str, content: bytes) -> None:
        (pack.folder / name).write_bytes(content + b"\n")
        if name not in {"manifest.json", "SHA256SUMS"}:
            pack.seal()
        code = UNREADABLE if name == "manifest.json" else NOT_PROVED
        assert name in verified(pack.folder, packed.keys, code=code)

    def test_with_a_rate_that_nobody_can_compute(self, pack: Doctored, packed: Packed) -> None:
        """As a fraction it has a thousand million digits."""
        lines = pack.lines(EVENTS)
        rates = (b"0.3333333333", b"1e9999999999")
        for line in lines:
            state = base64.b64decode(line["state"])
            line["state"] = base64.b64encode(state.replace(*rates)).decode()
        pack.write_lines(EVENTS, lines)
        pack.seal()
        self.refused(pack.folder, packed, "is no rate")


class TestAnArchive:
    def made(self, path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
        with tarfile.open(path, "w") as tar:
            for info, content in members:
                info.size = info.size or len(content)
                tar.addfile(info, io.BytesIO(content) if content else None)
        return path

    def refused(self, pack: Path, packed: Packed, text: str, code: int = UNREADABLE) -> None:
        assert text in verified(pack, packed.keys, code=code)
        with pytest.raises(PackError), taken_over(pack, packed):
            pass

    def test_that_is_compressed(self, archive: Path, packed: Packed, tmp_path: Path) -> None:
        """A thousand bytes would be a million ones, and those a million more."""
        path = tmp_path / "pack.tar.gz"
        path.write_bytes(gzip.compress(archive.read_bytes()))
        self.refused(path, packed, "a whole archive that is not compressed")

    @pytest.mark.parametrize(
        "kind",
        [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE],
    )
    @pytest.mark.parametrize("name", ["manifest.json", "balances.sql"])
    def test_with_something_else_than_a_file(
        self, archive: Path, packed: Packed, tmp_path: Path, kind: bytes, name: str
    ) -> None:
        path = tmp_path / "pack.tar"
        with tarfile.open(archive) as old, tarfile.open(path, "w") as new:
            for member in old:
                if member.name == name:
                    other = tarfile.TarInfo(name)
                    other.type, other.linkname = kind, "/etc/passwd"
                    new.addfile(other)
                else:
                    new.addfile(member, old.extractfile(member))
        code = UNREADABLE if name == "manifest.json" else NOT_PROVED
        self.refused(path, packed, name, code)

    def test_with_a_file_twice(self, archive: Path, packed: Packed, tmp_path: Path) -> None:
        path = tmp_path / "pack.tar"
        path.write_bytes(archive.read_bytes())
        with tarfile.open(path, "a") as tar:
            tar.addfile(tarfile.TarInfo("manifest.json"))
        self.refused(path, packed, "holds a file twice")

    def test_with_a_file_of_holes(self, packed: Packed, tmp_path: Path) -> None:
        info = tarfile.TarInfo("manifest.json")
        info.pax_headers = {
            "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "manifest.json",
            "GNU.sparse.size": f"{1 << 40}", "GNU.sparse.map": f"{1 << 39},1", "size": "1",
        }  # fmt: skip
        path = self.made(tmp_path / "pack.tar", (info, b"x"))
        self.refused(path, packed, "manifest.json is missing")

    def test_whose_file_begins_before_itself(self, archive: Path, packed: Packed) -> None:
        """A size below 0, which tarfile of Python 3.11 to 3.13 went back by, for ever."""
        raw = bytearray(archive.read_bytes())
        raw[124:136] = struct.pack(">BBBBq", 0xFF, 0xFF, 0xFF, 0xFF, -512)
        raw[:512] = with_checksum(bytes(raw[:512]))
        path = archive.with_name("negative.tar")
        path.write_bytes(raw)
        self.refused(path, packed, "what is no file")

    def test_with_names_without_end(self, packed: Packed, tmp_path: Path) -> None:
        members = [(tarfile.TarInfo(f"{number}"), b"") for number in range(10_001)]
        path = self.made(tmp_path / "pack.tar", *members)
        self.refused(path, packed, "more than 10000 files")

    def test_with_headers_of_headers(self, packed: Packed, tmp_path: Path) -> None:
        info = tarfile.TarInfo("x" * 90)
        info.type = tarfile.XHDTYPE
        header = info.tobuf(tarfile.USTAR_FORMAT)
        path = tmp_path / "pack.tar"
        path.write_bytes(header * 5_000)
        self.refused(path, packed, "neither a folder nor a whole archive")

    @pytest.mark.parametrize("part", [0.001, 0.3, 0.9])
    def test_that_is_cut(self, archive: Path, packed: Packed, tmp_path: Path, part: float) -> None:
        raw = archive.read_bytes()
        path = tmp_path / "pack.tar"
        path.write_bytes(raw[: int(len(raw) * part)])
        self.refused(path, packed, "cannot be read")
