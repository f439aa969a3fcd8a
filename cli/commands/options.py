"""Options that several commands share, and how a command ends."""

from pathlib import Path
from typing import Annotated, Literal

import typer

DEFAULT_TARGET = "127.0.0.1:9001"
# As many rows as fit a screen or two; the service takes up to 1,000.
DEFAULT_PAGE_SIZE = 50
PAGE_SIZE_MAX = 1000

Target = Annotated[
    str,
    typer.Option(
        "--target",
        metavar="HOST:PORT",
        envvar="USAGE_LEDGER_TARGET",
        help="Where the service listens.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Payer = Annotated[
    str, typer.Argument(metavar="PAYER", help="The payer's attribution ID, team:UUID.")
]
PageSize = Annotated[
    int, typer.Option("--page-size", min=1, max=PAGE_SIZE_MAX, help="Rows on a page.")
]
Cursor = Annotated[
    str, typer.Option("--cursor", metavar="CURSOR", help="Go on where a page before ended.")
]
EveryPage = Annotated[bool, typer.Option("--all", help="Every page from the cursor on.")]
Rejects = Annotated[
    Path | None,
    typer.Option(
        "--rejects", metavar="FILE", dir_okay=False, help="Write every reject here, as JSON lines."
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        envvar="USAGE_LEDGER_CONFIG",
        help="The TOML file with the settings.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Where the ledger lies; made if missing."),
]
Listen = Annotated[
    str | None,
    typer.Option(
        "--listen", metavar="HOST:PORT", help="Where to listen; port 0 takes any that is free."
    ),
]
HttpListen = Annotated[
    str | None,
    typer.Option(
        "--http-listen",
        metavar="HOST:PORT",
        help="Where to answer HTTP: health, metrics, POST /events (serve); else nowhere.",
    ),
]
Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure",
        help="Listen beyond this machine although nobody is authenticated, or tokens cross the "
        "network in the clear.",
    ),
]
Store = Annotated[
    Literal["sqlite", "memory", "postgres"] | None,
    typer.Option(
        "--store",
        help="Keep the ledger in a file, in memory for a trial, or where postgres.urls says.",
    ),
]
NoJobs = Annotated[
    bool, typer.Option("--no-jobs", help="Do not reconcile and reset on a schedule.")
]


def examples(*lines: str) -> str:
    """An epilogue that keeps its lines."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def finish(exit_code: int) -> None:
    """Ends the command with the exit code."""
    if exit_code:
        raise typer.Exit(exit_code)
