"""Where the command starts: all commands in one tree, and its errors as one sentence."""

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from cli import credentials
from cli.commands import (
    access,
    billing,
    clocks,
    corrections,  # noqa: F401  # its commands stand among those of payers and instances
    erase,
    intake,
    live,
    operations,
    packs,
    payers,
    projections,
    proofs,
    replay,
    roles,
    service,
    topics,
    what_if,
    why,
)
from cli.exits import EXPLAINED, OK, CommandFailed

# Plain help, without frames: it answers in half the time and reads well in a log or a mail.
app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=EXPLAINED,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"usage-ledger {version('usage-ledger')}\n")
        raise typer.Exit


@app.callback()
def usage_ledger(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and end."
        ),
    ] = False,
) -> None:
    """Usage events in; balances, listings and invoice drafts out; every number explainable."""


service.add_to(app)
roles.add_to(app)
intake.add_to(app)
payers.add_to(app)
clocks.add_to(app)
why.add_to(app)
live.add_to(app)
operations.add_to(app)
proofs.add_to(app)
projections.add_to(app)
replay.add_to(app)
packs.add_to(app)
billing.add_to(app)
erase.add_to(app)
topics.add_to(app)
access.add_to(app)
what_if.add_to(app)
credentials.add_to_all(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; answers its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a letter shows a question mark instead of ending the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # gRPC's own log tells in its words what our sentences tell, too.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        app(args=arguments, prog_name="usage-ledger")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else OK
    except CommandFailed as failed:
        sys.stderr.write(f"{failed}\n")
        return failed.exit_code
    return OK


if __name__ == "__main__":
    sys.exit(main())
