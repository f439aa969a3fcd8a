"""Small files that are there whole or not at all, whenever the process or the machine dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

Failpoint = Callable[[str], None]


def make(path: Path, text: bytes, failpoint: Failpoint = lambda _name: None) -> None:
    """Make a file, for its owner alone; FileExistsError if there is one, which stays as it is."""
    with _alone_in(path.parent) as folder:
        # One that a killed process has left may be a second name of the file itself by now: it is
        # taken away, and never written into.
        beside = _beside(path)
        beside.unlink(missing_ok=True)
        try:
            _write(beside, text)
            failpoint("key-written")
            # Not a rename: that would put it into the place of one that is there.
            os.link(beside, path)
            os.fsync(folder)
            failpoint("key-in-place")
        finally:
            beside.unlink(missing_ok=True)


def replace(path: Path, text: bytes, failpoint: Failpoint = lambda _name: None) -> None:
    """Put a file in the place of the one before, if there is one; a link stays, and leads to it."""
    path = lying(path)
    with _alone_in(path.parent) as folder:
        beside = _beside(path)
        beside.unlink(missing_ok=True)
        try:
            _write(beside, text, mode=0o666)
            failpoint("key-list-written")
            beside.replace(path)
            os.fsync(folder)
            failpoint("key-list-in-place")
        finally:
            beside.unlink(missing_ok=True)


def lying(path: Path) -> Path:
    """Say where a file lies that a link may lead to: what took the link's place left it there."""
    return Path(os.path.realpath(path))


def move(source: Path, path: Path) -> None:
    """Put one file in the place of another of the same folder, and bring that to the disk."""
    with _alone_in(path.parent) as folder:
        source.replace(path)
        os.fsync(folder)


def tidy(*paths: Path) -> None:
    """Take away what a killed process has left beside files: of a key that would be a copy."""
    for path in paths:
        # Where nothing can be written nothing was left, and a folder that lacks need not be made.
        with contextlib.suppress(OSError):
            if path.parent.is_dir():
                with _alone_in(path.parent):
                    _beside(path).unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


@contextlib.contextmanager
def _alone_in(path: Path) -> Iterator[int]:
    """Let nobody else make or replace files in a folder; a dead process holds nothing up."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(folder)


def _write(path: Path, text: bytes, *, mode: int = 0o600) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
