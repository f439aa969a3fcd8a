"""token."""

from enum import StrEnum
from typing import Annotated

import typer

from cli.commands.options import Json, examples, finish


class RoleName(StrEnum):
    """The roles as facade/tokens.py has them: help must not pay for importing that."""

    PUBLISH = "publish"
    READ = "read"
    ADMIN = "admin"
    AUDIT = "audit"


token_app = typer.Typer(no_args_is_help=True, help="Tokens that show the service who calls.")


@token_app.command(
    "new",
    epilog=examples(
        "usage-ledger token new workspace-manager-eu01 --role publish",
        "usage-ledger token new billing --role read --role admin --json",
    ),
)
def token_new(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Who will use it: the author of what it changes."),
    ],
    roles: Annotated[
        list[RoleName],
        typer.Option("--role", help="What it may do; say it again for more roles."),
    ],
    as_json: Json = False,
) -> None:
    """Make a token, and the entry by which the service will know it.

    The token is shown this once and kept nowhere: the entry holds only its SHA-256. Put the entry
    into the file that the setting auth.tokens_file names; the service reads it again by itself.
    """
    from cli import tokens

    finish(tokens.new_token(name, [str(role) for role in roles], as_json=as_json))


def add_to(app: typer.Typer) -> None:
    app.add_typer(token_app, name="token")
