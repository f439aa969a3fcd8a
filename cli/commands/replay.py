"""replay."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import Config, DataDir, Json, examples, finish

EXAMPLE_PAYER = "team:0b1f6f6e-6d0c-5a52-9d2b-0d1c6f1f8a11"
POSITION_MAX = 2**62


def replay(
    payer: Annotated[
        str, typer.Option("--payer", metavar="PAYER", help="Fold the events of this payer only.")
    ] = "",
    first: Annotated[
        int,
        typer.Option(
            "--from",
            metavar="POSITION",
            min=1,
            max=POSITION_MAX,
            help="Fold what began at this position or later.",
        ),
    ] = 1,
    last: Annotated[
        int | None,
        typer.Option(
            "--to",
            metavar="POSITION",
            min=1,
            max=POSITION_MAX,
            help="Fold up to this position; else up to the end of the log.",
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            "--into",
            metavar="FOLDER",
            file_okay=False,
            help="Keep the file here, and go on with one that was interrupted.",
        ),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare with the live rows and name what differs.")
    ] = False,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Fold the log into a fresh SQLite file, while the service goes on.

    Ends with 3 when a live row differs.
    """
    from cli import replaying

    exit_code = replaying.run(
        config,
        data_dir,
        payer=payer,
        first=first,
        last=last,
        into=into,
        compares=compare,
        as_json=as_json,
    )
    finish(exit_code)


def add_to(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "usage-ledger replay --data-dir ledger --compare",
            f"usage-ledger replay --payer {EXAMPLE_PAYER} --compare",
            "usage-ledger replay --into /var/tmp/replayed --to 1000000",
        )
    )(replay)
