"""instance void, credit-note void, entries voided."""

from typing import Annotated

import typer

from cli.commands.operations import EXAMPLE_INSTANCE, Instance, instance_app
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
from cli.commands.payers import EXAMPLE_PAYER, credit_note_app, entries_app

EXAMPLE_ENTRY = "b47be5f9-2de4-5d1a-9e0f-3f6f0ad0c1ce"

Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; up to 255 characters.")]


@instance_app.command(
    "void",
    epilog=examples(
        f'usage-ledger instance void {EXAMPLE_INSTANCE} --reason "Billed to the wrong team"',
        f"usage-ledger instance void {EXAMPLE_INSTANCE} --payer {EXAMPLE_PAYER} "
        '--reason "Billed to the wrong team"',
    ),
)
def instance_void(
    instance: Instance,
    reason: Reason,
    payer: Annotated[
        str,
        typer.Option(
            "--payer", metavar="PAYER", help="Only if it is this payer's: then it can be repeated."
        ),
    ] = "",
    target: Target = DEFAULT_TARGET,
) -> None:
    """Let nothing count that is recorded of an instance.

    Its ID is free: the right payer's events are taken in, and their dead letters can be retried.
    What it added to a closed cycle is taken back in the open one.
    """
    from cli import corrections

    exit_code = corrections.void_instance(instance, payer=payer, reason=reason, target=target)
    finish(exit_code)


@credit_note_app.command(
    "void",
    epilog=examples(
        f"usage-ledger entries list {EXAMPLE_PAYER}",
        f'usage-ledger credit-note void {EXAMPLE_PAYER} {EXAMPLE_ENTRY} --reason "Given twice"',
    ),
)
def credit_note_void(
    payer: Payer,
    entry: Annotated[
        str, typer.Argument(metavar="ENTRY", help="Its entry, as `entries list` shows it.")
    ],
    reason: Reason,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Let a credit note not count."""
    from cli import corrections

    finish(corrections.void_credit_note(payer, entry, reason=reason, target=target))


@entries_app.command("voided", epilog=examples(f"usage-ledger entries voided {EXAMPLE_PAYER}"))
def entries_voided(
    payer: Payer,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    cursor: Cursor = "",
    every_page: EveryPage = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """List what was voided of a payer, newest first, with who did it and why."""
    from cli import corrections

    exit_code = corrections.list_voids(
        payer,
        page_size=page_size,
        cursor=cursor,
        every_page=every_page,
        target=target,
        as_json=as_json,
    )
    finish(exit_code)
