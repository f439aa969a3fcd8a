"""Tables and notes on the terminal. What came from outside is printed as text, never as markup."""

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.values import printable

# Into a file or a pipe a row stays one line, however long its IDs.
UNBOUNDED_WIDTH = 400


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table; a column that starts with `>` holds numbers and stands to the right."""
    table = Table(
        title=Text(title, style="bold") if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
    )
    for column in columns:
        is_number = column.startswith(">")
        table.add_column(
            column.removeprefix(">"), justify="right" if is_number else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = _console()
    if title:
        console.print()
    console.print(table)


def print_pairs(title: str, pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values under each other."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(Text(name), Text(printable(value)))
    console = _console()
    if title:
        console.print(Text(title, style="bold"))
    console.print(table)


def note(text: str) -> None:
    """One line of our own words."""
    sys.stdout.write(f"{printable(text)}\n")


def _console() -> Console:
    is_terminal = sys.stdout.isatty()
    return Console(
        file=sys.stdout,
        width=None if is_terminal else UNBOUNDED_WIDTH,
        highlight=False,
        markup=False,
    )
