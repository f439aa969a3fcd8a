"""what-if."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.commands.options import Config, DataDir, Json, Store, examples, finish
from cli.commands.payers import EXAMPLE_PAYER, INT32_MAX

# About a screen.
DEFAULT_TOP = 20


def what_if(
    prices: Annotated[
        Path | None,
        typer.Option(
            "--prices",
            metavar="FILE",
            help="Other prices: TOML with [prices], as the service's own file, or [[prices]].",
        ),
    ] = None,
    rounding: Annotated[
        str | None,
        typer.Option(
            "--rounding",
            metavar="RULE",
            help="Another rounding: UNIT-MODE of the runtime, N-UNIT-MODE, and /MODE of the cents; "
            "it is second-half-up/half-up.",
        ),
    ] = None,
    spending_limit: Annotated[
        int | None,
        typer.Option(
            "--spending-limit",
            metavar="CREDITS",
            min=0,
            max=INT32_MAX,
            help="What every reset covers; 0 covers everything.",
        ),
    ] = None,
    resets: Annotated[
        Literal["limit", "everything", "nothing"],
        typer.Option("--resets", help="How far resets write off what is owed."),
    ] = "limit",
    payer: Annotated[
        list[str] | None,
        typer.Option("--payer", metavar="PAYER", help="Only this one; may be repeated."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Show entries from this time or UTC day on."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="TIME", help="Show entries before this time or UTC day."),
    ] = None,
    top: Annotated[
        int,
        typer.Option("--top", metavar="N", min=0, help="So many payers; 0 shows all of them."),
    ] = DEFAULT_TOP,
    config: Config = None,
    data_dir: DataDir = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    from cli import trying

    if prices is None and rounding is None and spending_limit is None and resets == "limit":
        raise typer.BadParameter(
            "say what would be otherwise: --prices, --rounding, --spending-limit or --resets"
        )
    if spending_limit is not None and resets != "limit":
        raise typer.BadParameter(f"--resets {resets} leaves no room for --spending-limit")
    exit_code = trying.what_if(
        config,
        {"data_dir": data_dir, "store": store},
        prices=prices,
        rounding=rounding,
        spending_limit=spending_limit,
        resets=resets,
        payers=payer or [],
        start=start,
        end=end,
        top=top,
        as_json=as_json,
    )
    finish(exit_code)


def add_to(app: typer.Typer) -> None:
    app.command(
        "what-if",
        help="Show what would have been charged by other rules.\n\n"
        "Reads the whole log beside the service and changes nothing. The largest differences come "
        "first. Ends with 3 if the log does not add up to the balances that are shown.",
        epilog=examples(
            "usage-ledger what-if --prices 2027.toml",
            "usage-ledger what-if --rounding minute-up --from 2026-10-01 --to 2027-01-01",
            f"usage-ledger what-if --spending-limit 500 --payer {EXAMPLE_PAYER} --json",
        ),
    )(what_if)
