"""Reads a file, or standard input as it comes, without a buffer of its own."""

import os
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.exits import USAGE, CommandFailed
from cli.values import printable

# While a pipe brings more within this time a block goes on filling; what came before is not kept
# waiting for longer.
PIPE_PAUSE_SECONDS = 0.02

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Source:
    """What is read: `read(n)` answers 1 to n bytes, none at the end."""

    name: str
    size_bytes: int | None
    read: Callable[[int], bytes]
    # Changes when the file does; nothing for a pipe.
    stamp: tuple[int, int] | None


@contextmanager
def opened(path: str) -> Iterator[Source]:
    """Opens the file, or standard input for `-`."""
    if path == STANDARD_INPUT:
        yield Source(name="stdin", size_bytes=None, read=_pipe_reader(0), stamp=None)
        return
    try:
        # Unbuffered: a thread that reads must not hold a buffer's lock when the process ends.
        file = Path(path).open("rb", buffering=0)  # noqa: SIM115 - closed by the with below
    except OSError as error:
        raise CommandFailed(
            f"{printable(path)} cannot be read: {error.strerror}.", exit_code=USAGE
        ) from None
    with file:
        status = os.fstat(file.fileno())
        name = os.fsencode(Path(path).name).decode(errors="replace")
        is_file = bool(status.st_size)
        yield Source(
            name=f"file:{name}",
            size_bytes=status.st_size if is_file else None,
            read=file.read if is_file else _pipe_reader(file.fileno()),
            stamp=(status.st_size, status.st_mtime_ns),
        )


def _pipe_reader(descriptor: int) -> Callable[[int], bytes]:
    def read(limit: int) -> bytes:
        pieces = [os.read(descriptor, limit)]
        size = len(pieces[0])
        while pieces[-1] and size < limit and _brings_more(descriptor):
            pieces.append(os.read(descriptor, limit - size))
            size += len(pieces[-1])
        return b"".join(pieces)

    return read


def _brings_more(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], PIPE_PAUSE_SECONDS)[0])
