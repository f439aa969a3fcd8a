"""A bar on a terminal for what takes long, and a file for rejects."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from cli.exits import USAGE, CommandFailed


@contextmanager
def rejects_file(path: Path | None) -> Iterator[TextIO | None]:
    """Opens the file of --rejects, if one is named."""
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise CommandFailed(
            f"--rejects names {path}, which cannot be written: {error.strerror}.", exit_code=USAGE
        ) from None
    with file:
        yield file


@contextmanager
def progress(size_bytes: int | None, *, quiet: bool) -> Iterator[Callable[[int, float], None]]:
    """Yields what moves the bar; a bar is drawn on a terminal only."""
    if quiet or not sys.stderr.isatty():
        yield lambda _size, _rate: None
        return
    with Progress(
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]} events/s"),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=size_bytes, rate="-")

        def advance(size: int, rate: float) -> None:
            bar.update(task, advance=size, rate=f"{rate:,.0f}")

        yield advance


@contextmanager
def counting(*, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Yields what moves the bar of a work in parts: what is being done, how much of how much."""
    if quiet or not sys.stderr.isatty():
        yield lambda _what, _done, _of: None
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=None, rate="")
        doing, begun_at, begun_with = "", 0.0, 0

        def advance(what: str, done: int, of: int) -> None:
            nonlocal doing, begun_at, begun_with
            if what != doing:
                doing, begun_at, begun_with = what, time.monotonic(), done
                bar.reset(task, description=what, rate="")
            elapsed = time.monotonic() - begun_at
            rate = f"{(done - begun_with) / elapsed:,.0f}/s" if elapsed > 1 else ""
            bar.update(task, completed=done, total=of or None, rate=rate)

        yield advance
