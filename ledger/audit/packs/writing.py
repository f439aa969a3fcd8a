"""A pack as it is written: beside its place, and moved there when all of it is on the disk."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ledger.audit.packs.layout import (
    MANIFEST,
    SUMS,
    File,
    Manifest,
    PackError,
    manifest_bytes,
    sums_bytes,
)

PARTIAL = ".partial"
_MARK = "usage-ledger-pack-unfinished"  # in a folder that may be thrown away
# As the ledger's own files may be: whoever makes a pack says who else may read it.
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600

_QUOTED = re.compile('[,"\r\n]')

_encode = msgspec.json.Encoder().encode


class Writing:
    """A pack that is not finished. Killed, it leaves a folder that the next one clears away."""

    def __init__(
        self, target: Path, *, archive: bool, failpoint: Callable[[str], None], durable: bool = True
    ) -> None:
        """Begin beside the target; PackError if it is there already.

        `durable`: whether it must survive a power cut once it is in its place.
        """
        self.target = target
        self._archive = archive
        self._failpoint = failpoint
        self._durable = durable
        self._partial = target.with_name(target.name + PARTIAL)
        self._folder = self._partial / "pack"
        self._whole = self._folder  # what is moved to its place
        self._open: list[OutFile] = []
        self.files: list[File] = []
        if target.exists():
            raise PackError(f"{target} is there already: name another place")
        try:
            self._clear()
            self._partial.mkdir(_FOLDER_MODE, parents=True)
            (self._partial / _MARK).touch(_FILE_MODE)
            self._folder.mkdir(_FOLDER_MODE)
        except OSError as error:
            raise PackError(f"{self._partial} cannot be made: {error.strerror}") from error

    def _clear(self) -> None:
        if not self._partial.exists():
            return
        # Killed after its first step, it has left an empty folder.
        if not (self._partial / _MARK).exists() and any(self._partial.iterdir()):
            raise PackError(f"{self._partial} is in the way, and is no pack: remove it")
        shutil.rmtree(self._partial)

    def file(self, name: str) -> OutFile:
        """Begin a file."""
        path = self._folder / name
        path.parent.mkdir(_FOLDER_MODE, exist_ok=True)
        out = OutFile(name, path, durable=self._durable)
        self._open.append(out)
        return out

    def put(self, name: str, content: bytes) -> None:
        """Write a whole file."""
        with self.file(name) as out:
            out.write(content)

    @contextmanager
    def scratch_folder(self) -> Iterator[Path]:
        """Give a folder to be thrown away; killed, it goes with the rest of what is unfinished."""
        with tempfile.TemporaryDirectory(prefix="folded-", dir=self._partial) as folder:
            yield Path(folder)

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, and with it all that is to be moved."""
        told = manifest_bytes(manifest)
        self.put(SUMS, sums_bytes(manifest.files, hashlib.sha256(told).hexdigest()))
        self.put(MANIFEST, told)
        self._sync(self._folder, *{out.path.parent for out in self._open})
        self._failpoint("pack-written")
        if self._archive:
            try:
                self._whole = self._packed()
            except OSError as error:
                raise self._refusal(error) from error

    def put_in_place(self) -> Path:
        """Move what is finished to its place."""
        try:
            self._whole.rename(self.target)
        except OSError as error:
            raise self._refusal(error) from error
        self._sync(self.target.parent)
        self._failpoint("pack-in-place")
        shutil.rmtree(self._partial, ignore_errors=True)
        return self.target

    def _refusal(self, error: OSError) -> PackError:
        return PackError(f"{self.target} cannot be written: {error.strerror}")

    def files_written(self) -> list[File]:
        """Give what was written and closed so far, by name."""
        return sorted((out.told for out in self._open if out.closed), key=lambda file: file.name)

    def _packed(self) -> Path:
        """Put everything into one file, the manifest first."""
        packed = self._partial / "pack.tar"
        names = [MANIFEST, SUMS, *(file.name for file in self.files_written())]
        with open(packed, "wb", opener=_private) as raw:
            with tarfile.open(fileobj=raw, mode="w") as tar:
                for name in dict.fromkeys(names):
                    path = self._folder / name
                    info = tarfile.TarInfo(name)
                    info.size, info.mode = path.stat().st_size, _FILE_MODE
                    with path.open("rb") as file:
                        tar.addfile(info, file)
            raw.flush()
            if self._durable:
                os.fsync(raw.fileno())
        return packed

    def _sync(self, *folders: Path) -> None:
        """Bring the names in folders to the disk."""
        for path in folders if self._durable else ():
            folder = os.open(path, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def abandon(self) -> None:
        """Leave nothing behind."""
        for out in self._open:
            out.abandon()
        shutil.rmtree(self._partial, ignore_errors=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, _FILE_MODE)


class OutFile(io.RawIOBase):
    """A file of a pack, hashed as it is written."""

    def __init__(self, name: str, path: Path, *, durable: bool) -> None:
        """Begin the file."""
        super().__init__()
        self._name = name
        self.path = path
        self._durable = durable
        self._file = open(path, "xb", 1 << 20, opener=_private)  # noqa: SIM115  # closed with this
        self._hash = hashlib.sha256()
        self._bytes = 0
        self.rows: int | None = None

    def writable(self) -> bool:
        """Say that it is written."""
        return True

    def write(self, content: Any) -> int:
        """Add to it."""
        if self._file.closed:  # whoever writes Parquet ends its file when it is forgotten
            return len(content)
        self._hash.update(content)
        size = self._file.write(content)
        self._bytes += size
        return size

    def tell(self) -> int:
        """Give how long it is; Parquet writes down where its parts begin."""
        return self._bytes

    def add_rows(self, count: int) -> None:
        """Count rows."""
        self.rows = (self.rows or 0) + count

    def close(self) -> None:
        """Bring it to the disk."""
        if not self.closed:
            self._file.flush()
            if self._durable:
                os.fsync(self._file.fileno())
            self._file.close()
        super().close()

    def abandon(self) -> None:
        """Close it without bringing it to the disk; nothing more is written."""
        self._durable = False
        self.close()

    @property
    def told(self) -> File:
        """Tell what was written."""
        return File(self._name, self._bytes, self._hash.hexdigest(), self.rows)


class Lines:
    """Rows as JSON lines."""

    def __init__(self, out: OutFile) -> None:
        """Write into a file, which is closed with this."""
        self._out = out
        out.add_rows(0)

    def add(self, rows: Iterable[Any]) -> None:
        """Add rows, each as a line."""
        lines = [_encode(row) for row in rows]
        if lines:
            self._out.write(b"\n".join((*lines, b"")))
            self._out.add_rows(len(lines))

    def close(self) -> None:
        """End the file."""
        self._out.close()


class Table:
    """Rows with a line of names, for spreadsheets."""

    def __init__(self, out: OutFile, names: Iterable[str]) -> None:
        """Write into a file, which is closed with this."""
        self._out = out
        out.add_rows(0)
        self._write([names])

    def add(self, rows: Iterable[Iterable[str]]) -> None:
        """Add rows."""
        self._out.add_rows(self._write(rows))

    def _write(self, rows: Iterable[Iterable[str]]) -> int:
        lines = [",".join(map(_cell, row)) for row in rows]
        self._out.write("".join(f"{line}\n" for line in lines).encode())
        return len(lines)

    def close(self) -> None:
        """End the file."""
        self._out.close()


def _cell(text: str) -> str:
    # Not by Python's own writer: whether that quotes a lone carriage return depends on its version,
    # and who reads a bare one may take it for the end of a row.
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text
