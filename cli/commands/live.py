"""meters, alerts."""

from typing import Annotated

import typer

from cli.commands.options import (
    DEFAULT_PAGE_SIZE,
    DEFAULT_TARGET,
    Cursor,
    EveryPage,
    Json,
    PageSize,
    Target,
    examples,
    finish,
)
from cli.commands.payers import EXAMPLE_PAYER

OnePayer = Annotated[
    str, typer.Argument(metavar="[PAYER]", help="Only this attribution ID, team:UUID.")
]


def meters(
    payer: OnePayer = "",
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    cursor: Cursor = "",
    every_page: EveryPage = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Show what runs now and what it costs an hour, by payer and workspace class.

    Of one payer also what started and ended in the newest windows of five minutes and an hour.
    """
    from cli import live as work

    exit_code = work.show_meters(
        payer,
        page_size=page_size,
        cursor=cursor,
        every_page=every_page,
        target=target,
        as_json=as_json,
    )
    finish(exit_code)


def alerts(
    payer: OnePayer = "",
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    cursor: Cursor = "",
    every_page: EveryPage = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Show which balances reached 50, 80 or 100 % of their spending limit, newest first."""
    from cli import live as work

    exit_code = work.show_alerts(
        payer,
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
            "usage-ledger meters --all --json",
            f"usage-ledger meters {EXAMPLE_PAYER}",
        )
    )(meters)
    app.command(epilog=examples("usage-ledger alerts", f"usage-ledger alerts {EXAMPLE_PAYER}"))(
        alerts
    )
