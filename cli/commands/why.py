"""why balance, entry, instance, draft-line, invoice, more."""

from typing import Annotated

import typer

from cli.commands.corrections import EXAMPLE_ENTRY
from cli.commands.operations import EXAMPLE_INSTANCE, Instance
from cli.commands.options import (
    DEFAULT_PAGE_SIZE,
    DEFAULT_TARGET,
    PAGE_SIZE_MAX,
    Json,
    Payer,
    Target,
    examples,
    finish,
)
from cli.commands.payers import EXAMPLE_PAYER

why_app = typer.Typer(
    no_args_is_help=True,
    help="Why a number is what it is: its parts, the events behind them, the arithmetic.",
)

PageSize = Annotated[
    int,
    typer.Option(
        "--page-size",
        min=1,
        max=PAGE_SIZE_MAX,
        help="Parts of one number that are opened, and entries in all.",
    ),
]
EveryPart = Annotated[
    bool, typer.Option("--all", help="Open everything, in as many calls as that takes.")
]


@why_app.command(
    "balance",
    epilog=examples(
        f"usage-ledger why balance {EXAMPLE_PAYER}",
        f"usage-ledger why balance {EXAMPLE_PAYER} --all --json",
    ),
)
def why_balance(
    payer: Payer,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    every_part: EveryPart = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Open what a payer owes into its entries.

    Of a payer with many entries the days are sums, with a command that opens each.
    """
    from cli import why

    exit_code = why.explain_balance(
        payer, page_size=page_size, every_part=every_part, target=target, as_json=as_json
    )
    finish(exit_code)


@why_app.command(
    "entry", epilog=examples(f"usage-ledger why entry {EXAMPLE_PAYER} {EXAMPLE_ENTRY}")
)
def why_entry(
    payer: Payer,
    entry: Annotated[
        str,
        typer.Argument(
            metavar="ENTRY", help="Its ID, as `entries list` and `entries voided` show it."
        ),
    ],
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    every_part: EveryPart = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Open an entry: usage, a credit note, what an invoice settled, a write-off."""
    from cli import why

    exit_code = why.explain_entry(
        entry,
        payer=payer,
        page_size=page_size,
        every_part=every_part,
        target=target,
        as_json=as_json,
    )
    finish(exit_code)


@why_app.command("instance", epilog=examples(f"usage-ledger why instance {EXAMPLE_INSTANCE}"))
def why_instance(
    instance: Instance,
    payer: Annotated[
        str,
        typer.Option(
            "--payer", metavar="PAYER", help="Whose, where payers of several shards have it."
        ),
    ] = "",
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Open the entry of a workspace instance, with everything that was voided of it."""
    from cli import why

    exit_code = why.explain_instance(
        instance,
        payer=payer,
        page_size=DEFAULT_PAGE_SIZE,
        every_part=True,
        target=target,
        as_json=as_json,
    )
    finish(exit_code)


@why_app.command(
    "draft-line",
    epilog=examples(
        f"usage-ledger why draft-line {EXAMPLE_PAYER} g1-large",
        f"usage-ledger why draft-line {EXAMPLE_PAYER} g1-large --late-for 3",
        f"usage-ledger why draft-line {EXAMPLE_PAYER} g1-large --cycle 3",
    ),
)
def why_draft_line(
    payer: Payer,
    workspace_class: Annotated[
        str, typer.Argument(metavar="CLASS", help="The line's workspace class.")
    ],
    late_for: Annotated[
        int | None,
        typer.Option("--late-for", metavar="CYCLE", help="The late line of this closed cycle."),
    ] = None,
    cycle: Annotated[
        int | None,
        typer.Option("--cycle", metavar="CYCLE", help="Of a closed cycle, not the open one."),
    ] = None,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    every_part: EveryPart = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Open a line of an invoice draft into what each entry changed by."""
    from cli import why

    exit_code = why.explain_draft_line(
        payer,
        workspace_class,
        late_for=late_for,
        cycle=cycle,
        page_size=page_size,
        every_part=every_part,
        target=target,
        as_json=as_json,
    )
    finish(exit_code)


@why_app.command("invoice", epilog=examples("usage-ledger why invoice in_1MtHbELkdIwHu7ixl4OzzPMv"))
def why_invoice(
    invoice: Annotated[
        str, typer.Argument(metavar="INVOICE", help="Stripe's ID of a settled invoice.")
    ],
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    every_part: EveryPart = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Open a settled invoice into what was reported, and the cycles that stand behind it."""
    from cli import why

    exit_code = why.explain_invoice(
        invoice, page_size=page_size, every_part=every_part, target=target, as_json=as_json
    )
    finish(exit_code)


@why_app.command("more", epilog=examples("usage-ledger why more CURSOR"))
def why_more(
    cursor: Annotated[str, typer.Argument(metavar="CURSOR", help="As an answer before has it.")],
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    every_part: EveryPart = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Open parts that an answer left closed; refused once the payer's numbers have moved."""
    from cli import why

    exit_code = why.explain_more(
        cursor, page_size=page_size, every_part=every_part, target=target, as_json=as_json
    )
    finish(exit_code)


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(why_app, name="why")
