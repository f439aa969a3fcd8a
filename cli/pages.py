"""Lists that go on: pages by cursor, one on request or all of them, one in memory at a time."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from cli.json_form import print_listing
from cli.tables import note, print_table

# With --all, pages as large as the service allows.
PAGE_SIZE_MAX = 1000

Page = tuple[Sequence[Message], str]


def walk(
    ask: Callable[[int, str], Page], *, page_size: int, cursor: str, every_page: bool
) -> Iterator[Page]:
    """One page from the cursor on, or every page to the last."""
    while True:
        page = ask(PAGE_SIZE_MAX if every_page else page_size, cursor)
        yield page
        cursor = page[1]
        if not (every_page and cursor):
            return


def show_listing(
    pages: Iterable[Page],
    *,
    key: str,
    columns: Sequence[str],
    row: Callable[..., Sequence[str]],
    as_json: bool,
    beside: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """Prints the pages as one JSON document, or each as a table and how to go on.

    `beside` gives what else the document has.
    """
    if as_json:
        print_listing(sys.stdout, key, pages, beside)
        return
    cursor = ""
    for messages, cursor in pages:  # noqa: B007 - the last page's cursor is printed
        print_table("", columns, (row(message) for message in messages))
    if cursor:
        note(f"There is more: --cursor {cursor}, or --all.")
