"""Disks that are full or read-only. They need root and Linux; else tests skip loudly."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SIZE = 3 * 1024 * 1024


def _run(*command: str) -> None:
    ended = subprocess.run(command, capture_output=True, check=False)
    if ended.returncode:
        pytest.skip(f"NOT RUN: {' '.join(command)}: {ended.stderr.decode().strip()}")


@contextlib.contextmanager
def mounted_read_only(folder: Path) -> Iterator[None]:
    """Mount a folder over itself, read-only."""
    _run("mount", "--bind", str(folder), str(folder))
    try:
        _run("mount", "-o", "remount,ro,bind", str(folder))
        yield
    finally:
        _run("umount", str(folder))


@contextlib.contextmanager
def unchangeable(file: Path) -> Iterator[None]:
    """Forbid every change to a file, to root too."""
    _run("chattr", "+i", str(file))
    try:
        yield
    finally:
        _run("chattr", "-i", str(file))


class SmallDisk:
    """A disk of three megabytes that can be filled and emptied."""

    def __init__(self, folder: Path) -> None:
        """Take the folder it is mounted on."""
        self._ballast = folder / "ballast"

    def fill(self, room: int = 0) -> None:
        """Leave only `room` bytes free."""
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        if room:
            with self._ballast.open("r+b") as file:
                file.truncate(max(0, self._ballast.stat().st_size - room))

    def empty(self) -> None:
        """Free what was filled."""
        self._ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def mounted(folder: Path, size: int = SIZE) -> Iterator[SmallDisk]:
    """Mount a small disk on a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield SmallDisk(folder)
    finally:
        _run("umount", str(folder))


@contextlib.contextmanager
def mounted_full(folder: Path, room: int = 0) -> Iterator[None]:
    """Mount a small disk that is full but for `room` bytes."""
    with mounted(folder) as disk:
        disk.fill(room)
        yield
