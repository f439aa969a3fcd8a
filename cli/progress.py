"""What commands that send a file have in common: a bar on a terminal, a file for rejects."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

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
