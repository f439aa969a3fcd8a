"""A pack as it is read: a folder or an archive, each file held to its hash in the manifest."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from ledger.audit.packs.layout import (
    FILES_MAX,
    MANIFEST,
    MANIFEST_BYTES_MAX,
    SUMS,
    File,
    Manifest,
    PackError,
    read_manifest,
    sums_bytes,
)

PIECE = 1 << 20
LINE_BYTES_MAX = 16 << 20  # an event has at most 256 KiB, which are a third more in base64

Row = TypeVar("Row")


class Pack:
    """A pack that somebody has handed over; PackError names what is wrong with it."""

    def __init__(self, path: Path) -> None:
        """Open it and read the manifest."""
        self.path = path
        self._tar: tarfile.TarFile | None = None
        self._members: dict[str, tarfile.TarInfo] = {}
        self._names: set[str] = set()
        try:
            if path.is_dir():
                self._look_into(path)
            elif path.exists() and not path.is_file():
                raise PackError(f"{path} is neither a folder nor a whole archive")
            else:
                self._open_archive(path)
            self._raw = self._read_manifest()
            self.manifest: Manifest = read_manifest(self._raw)
        except OSError as error:
            self.close()
            raise PackError(f"{path} cannot be read: {error.strerror}") from error
        except PackError:
            self.close()
            raise

    def _look_into(self, path: Path) -> None:
        for each in path.rglob("*"):
            if each.is_symlink() or not each.is_dir():
                self._add(each.relative_to(path).as_posix())

    def _open_archive(self, path: Path) -> None:
        try:
            # Nothing is unpacked: a small archive that is compressed may hold any amount.
            self._tar = tarfile.open(path, "r:")  # noqa: SIM115  # open until `close`
            while (each := self._tar.next()) is not None:
                is_file = each.type in {tarfile.REGTYPE, tarfile.AREGTYPE} and not each.issparse()
                # One with a size below 0 would be read for ever.
                if each.name in self._names or not is_file or each.size < 0:
                    raise PackError(f"{path} holds a file twice, or what is no file")
                self._add(each.name)
                self._members[each.name] = each
        except (tarfile.TarError, EOFError, RecursionError, ValueError) as error:
            raise PackError(
                f"{path} is neither a folder nor a whole archive that is not compressed: {error}"
            ) from error

    def _add(self, name: str) -> None:
        self._names.add(name)
        if len(self._names) > FILES_MAX:
            raise PackError(f"{self.path} has more than {FILES_MAX} files, as no pack has")

    def close(self) -> None:
        """Close the archive."""
        if self._tar is not None:
            self._tar.close()

    def _read_manifest(self) -> bytes:
        with self._open(MANIFEST) as file:
            raw = file.read(MANIFEST_BYTES_MAX + 1)
        if len(raw) > MANIFEST_BYTES_MAX:
            raise PackError(f"{MANIFEST} is longer than {MANIFEST_BYTES_MAX:,} bytes")
        return raw

    def _open(self, name: str) -> IO[bytes]:
        if name not in self._names:
            raise PackError(f"{name} is missing in {self.path}")
        try:
            if self._tar is None:
                if (self.path / name).is_symlink() or not (self.path / name).is_file():
                    raise PackError(f"{name} in {self.path} is a link, or no file at all")
                return (self.path / name).open("rb")
            file = self._tar.extractfile(self._members[name])
        except OSError as error:
            raise PackError(f"{name} cannot be read: {error.strerror}") from error
        assert file is not None, "only regular files are among the members"
        return file

    def check_files(self) -> None:
        """Compare every file with its hash, and refuse one that the manifest does not name."""
        named = {file.name for file in self.manifest.files} | {MANIFEST, SUMS}
        for name in sorted(self._names - named):
            raise PackError(f"{name} in {self.path} is not in the manifest")
        for file in self.manifest.files:
            self._check(file)
        digest = hashlib.sha256(self._raw).hexdigest()
        wanted = sums_bytes(self.manifest.files, digest)
        with self._open(SUMS) as sums:
            if sums.read(len(wanted) + 1) != wanted:
                raise PackError(f"{SUMS} is not what {MANIFEST} leads to: one was changed")

    def _check(self, told: File) -> None:
        digest = hashlib.sha256()
        with self._open(told.name) as file:
            size = self._size(told.name)
            if size != told.bytes:
                raise PackError(f"{told.name} has {size:,} bytes instead of {told.bytes:,}")
            while piece := file.read(PIECE):
                digest.update(piece)
        if digest.hexdigest() != told.sha256:
            raise PackError(f"{told.name} was changed: its SHA-256 is not the one in {MANIFEST}")

    def _size(self, name: str) -> int:
        if self._tar is None:
            return (self.path / name).stat().st_size
        return self._members[name].size

    def pages(self, name: str, kind: type[Row], size: int) -> Iterator[list[Row]]:
        """Give the rows of a file, some at a time, and hold the bytes to the manifest's hash.

        The file was compared before; whoever exchanges it meanwhile is found at its end.
        """
        told = next((file for file in self.manifest.files if file.name == name), None)
        if told is None:
            raise PackError(f"{name} is not in the manifest")
        decoder = msgspec.json.Decoder(kind)
        digest, page, number = hashlib.sha256(), [], 0
        with self._open(name) as file:
            while line := file.readline(LINE_BYTES_MAX):
                number += 1
                digest.update(line)
                try:
                    page.append(decoder.decode(line))
                except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
                    raise PackError(f"line {number:,} of {name}: {error}") from error
                if len(page) == size:
                    yield page
                    page = []
        if page:
            yield page
        if digest.hexdigest() != told.sha256:
            raise PackError(f"{name} was changed while it was read")
