"""compare, and the options that let balance, usage, cost-center and invoice-draft look back."""

from typing import Annotated

import typer

from cli.commands.options import (
    DEFAULT_PAGE_SIZE,
    DEFAULT_TARGET,
    Cursor,
    EveryPage,
    Json,
    PageSize,
    Payer,
    Target,
    examples,
    finish,
)

_AS_OF_HELP = "As of this time: what is dated later is not yet; what ran is counted up to it."
_KNOWN_AT_HELP = "As it was known at this time or position of the log: nothing recorded later."

AsOf = Annotated[str | None, typer.Option("--as-of", metavar="TIME", help=_AS_OF_HELP)]
KnownAt = Annotated[
    str | None, typer.Option("--known-at", metavar="TIME|POSITION", help=_KNOWN_AT_HELP)
]
_EXAMPLE_PAYER = "team:7f7e0b2c-93a4-4d0a-9d5e-0c7f3f5b1a11"


def compare(
    payer: Payer,
    first_as_of: Annotated[
        str | None,
        typer.Option("--first-as-of", metavar="TIME", help=f"The first answer. {_AS_OF_HELP}"),
    ] = None,
    first_known_at: Annotated[
        str | None, typer.Option("--first-known-at", metavar="TIME|POSITION", help=_KNOWN_AT_HELP)
    ] = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    cursor: Cursor = "",
    every_page: EveryPage = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Explain the difference between a payer's balances at two moments, entry by entry.

    --as-of and --known-at are those of the second answer: without them it is the live one.
    """
    from cli import clocks as work

    exit_code = work.compare(
        payer,
        first=work.moment(first_as_of, first_known_at, prefix="--first-"),
        second=work.moment(as_of, known_at),
        page_size=page_size,
        cursor=cursor,
        every_page=every_page,
        target=target,
        as_json=as_json,
    )
    finish(exit_code)


def add_to(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            f"usage-ledger compare {_EXAMPLE_PAYER} --first-known-at 2026-11-01",
            f"usage-ledger compare {_EXAMPLE_PAYER} --first-as-of 2026-10-01 --as-of 2026-11-01",
            f"usage-ledger compare {_EXAMPLE_PAYER} --first-as-of 2026-11-01 "
            "--first-known-at 2026-11-01 --as-of 2026-11-01",
        )
    )(compare)
