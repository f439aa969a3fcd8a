"""erase: user, list."""

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

EXAMPLE_USER = "5b0c2f7e-8d1a-4c56-9e3f-2a7d6b1c4e90"

erase_app = typer.Typer(no_args_is_help=True, help="Erase personal data on request.")


@erase_app.command(
    "user",
    epilog=examples(
        f'usage-ledger erase user {EXAMPLE_USER} --reason "Request 2026-117"',
        f'usage-ledger erase user {EXAMPLE_USER} --also ada@example.org --also "Ada Lovelace"'
        " --dry-run",
    ),
)
def erase_user(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's UUID.")],
    reason: Annotated[
        str,
        typer.Option(
            "--reason",
            metavar="TEXT",
            help="Why; up to 255 characters. It is kept: name a request, not the person.",
        ),
    ] = "",
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--also",
            metavar="TEXT",
            help="Erase whatever holds this name or address, too, whosever it is; may be repeated.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count what would be erased.")
    ] = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Erase a user's names, addresses and texts for ever; no number changes.

    Gone are their personal data, and the bytes of rejected events that name them. What is cut off
    goes on when it is run again, or by itself.
    """
    from cli import erasing

    if not reason and not dry_run:
        raise typer.BadParameter("say why with --reason, or only count with --dry-run")
    exit_code = erasing.erase_user(
        user, reason=reason, also=also or [], dry_run=dry_run, target=target, as_json=as_json
    )
    finish(exit_code)


@erase_app.command("list", epilog=examples("usage-ledger erase list --all --json"))
def erase_list(
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    cursor: Cursor = "",
    every_page: EveryPage = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """List what was erased, when, by whom and why."""
    from cli import erasing

    exit_code = erasing.list_erasures(
        page_size=page_size, cursor=cursor, every_page=every_page, target=target, as_json=as_json
    )
    finish(exit_code)


def add_to(app: typer.Typer) -> None:
    app.add_typer(erase_app, name="erase")
