"""balance, usage, entries, cost-center, credit-note, invoice-draft."""

from typing import Annotated, Literal

import typer

from cli.commands.clocks import AsOf, KnownAt
from cli.commands.options import (
    DEFAULT_PAGE_SIZE,
    DEFAULT_TARGET,
    PAGE_SIZE_MAX,
    Cursor,
    EveryPage,
    Json,
    PageSize,
    Payer,
    Target,
    examples,
    finish,
)

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
EXAMPLE_PAYER = "team:7f7e0b2c-93a4-4d0a-9d5e-0c7f3f5b1a11"

usage_app = typer.Typer(no_args_is_help=True, help="What workspace instances used.")
entries_app = typer.Typer(no_args_is_help=True, help="All entries of a payer.")
cost_center_app = typer.Typer(no_args_is_help=True, help="Limits, strategies and billing cycles.")
credit_note_app = typer.Typer(no_args_is_help=True, help="Give credits back.")
invoice_draft_app = typer.Typer(no_args_is_help=True, help="A payer's open billing cycle.")


def balance(
    payers: Annotated[
        list[str], typer.Argument(metavar="PAYER", help="Attribution IDs, team:UUID.")
    ],
    as_of: AsOf = None,
    known_at: KnownAt = None,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Show what payers owe, in credits.

    A negative balance is a credit they have.
    """
    from cli import clocks
    from cli import payers as work

    if as_of or known_at:
        at = clocks.moment(as_of, known_at)
        finish(clocks.show_balances(payers, at, target=target, as_json=as_json))
        return

    finish(work.show_balances(payers, target=target, as_json=as_json))


@usage_app.command(
    "list",
    epilog=examples(
        f"usage-ledger usage list {EXAMPLE_PAYER}",
        f"usage-ledger usage list {EXAMPLE_PAYER} --from 2026-10-01 --to 2026-11-01 --order asc",
        f"usage-ledger usage list {EXAMPLE_PAYER} --page 2 --per-page 200 --json",
        f"usage-ledger usage list {EXAMPLE_PAYER} --as-of 2026-10-15 --known-at 2026-11-01",
    ),
)
def usage_list(
    *,
    payer: Payer,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="From this time or UTC day on; 300 days before the end unless given.",
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="TIME", help="Before this time or UTC day; now unless given."),
    ] = None,
    user: Annotated[
        str, typer.Option("--user", metavar="UUID", help="Only this user's instances.")
    ] = "",
    page: Annotated[int, typer.Option("--page", min=1, help="Which page.")] = 1,
    per_page: Annotated[
        int, typer.Option("--per-page", min=1, max=PAGE_SIZE_MAX, help="Rows on a page.")
    ] = DEFAULT_PAGE_SIZE,
    order: Annotated[
        Literal["desc", "asc"], typer.Option("--order", help="Newest or oldest first.")
    ] = "desc",
    as_of: AsOf = None,
    known_at: KnownAt = None,
    cursor: Annotated[
        str,
        typer.Option(
            "--cursor",
            metavar="CURSOR",
            help="With --as-of or --known-at: go on where a page before ended.",
        ),
    ] = "",
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """List workspace instances with their credits, and the sum over the whole range."""
    from cli import clocks
    from cli import payers as work

    if as_of or known_at:
        if page != 1:
            raise typer.BadParameter("pages of a moment are found by --cursor, not by --page")
        exit_code = clocks.list_usage(
            payer,
            clocks.moment(as_of, known_at),
            start=start,
            end=end,
            user=user,
            page_size=per_page,
            cursor=cursor,
            ascending=order == "asc",
            target=target,
            as_json=as_json,
        )
        finish(exit_code)
        return
    if cursor:
        raise typer.BadParameter("--cursor goes with --as-of or --known-at; use --page")

    exit_code = work.list_usage(
        payer,
        start=start,
        end=end,
        user=user,
        page=page,
        per_page=per_page,
        ascending=order == "asc",
        target=target,
        as_json=as_json,
    )
    finish(exit_code)


@entries_app.command(
    "list",
    epilog=examples(
        f"usage-ledger entries list {EXAMPLE_PAYER}",
        f"usage-ledger entries list {EXAMPLE_PAYER} --all --ascending --json",
    ),
)
def entries_list(
    payer: Payer,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    cursor: Cursor = "",
    every_page: EveryPage = False,
    ascending: Annotated[bool, typer.Option("--ascending", help="Oldest first.")] = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """List every entry that makes up the balance: instances, credit notes and invoices."""
    from cli import payers as work

    exit_code = work.list_entries(
        payer,
        page_size=page_size,
        cursor=cursor,
        every_page=every_page,
        ascending=ascending,
        target=target,
        as_json=as_json,
    )
    finish(exit_code)


@cost_center_app.command(
    "get",
    epilog=examples(
        f"usage-ledger cost-center get {EXAMPLE_PAYER}",
        f"usage-ledger cost-center get {EXAMPLE_PAYER} --as-of 2026-10-15",
    ),
)
def cost_center_get(
    payer: Payer,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Show a payer's cost center. The first look opens it; an ended cycle is reset.

    With --as-of or --known-at nothing is opened or reset.
    """
    from cli import clocks
    from cli import payers as work

    if as_of or known_at:
        at = clocks.moment(as_of, known_at)
        finish(clocks.show_cost_center(payer, at, target=target, as_json=as_json))
        return

    finish(work.show_cost_center(payer, target=target, as_json=as_json))


@cost_center_app.command(
    "set",
    epilog=examples(
        f"usage-ledger cost-center set {EXAMPLE_PAYER} --spending-limit 1000",
        f"usage-ledger cost-center set {EXAMPLE_PAYER} --strategy stripe --spending-limit 5000",
    ),
)
def cost_center_set(
    payer: Payer,
    spending_limit: Annotated[
        int | None,
        typer.Option(
            "--spending-limit", metavar="CREDITS", min=0, max=INT32_MAX, help="The new limit."
        ),
    ] = None,
    strategy: Annotated[
        Literal["stripe", "other"] | None,
        typer.Option("--strategy", help="Who bills: Stripe, or nobody from outside."),
    ] = None,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Set a payer's spending limit or billing strategy; what is not given stays.

    A change of the strategy starts a new billing cycle. Going back from stripe restores the limit
    that was there before.
    """
    from cli import payers as work

    if spending_limit is None and strategy is None:
        raise typer.BadParameter("say what to set: --spending-limit, --strategy or both")
    exit_code = work.set_cost_center(
        payer, spending_limit=spending_limit, strategy=strategy, target=target, as_json=as_json
    )
    finish(exit_code)


@cost_center_app.command("list", epilog=examples("usage-ledger cost-center list --all --json"))
def cost_center_list(
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    cursor: Cursor = "",
    every_page: EveryPage = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """List every cost center with its balance."""
    from cli import payers as work

    exit_code = work.list_cost_centers(
        page_size=page_size, cursor=cursor, every_page=every_page, target=target, as_json=as_json
    )
    finish(exit_code)


@credit_note_app.command(
    "add",
    # -50 is a number here, not an option.
    context_settings={"ignore_unknown_options": True},
    epilog=examples(
        f'usage-ledger credit-note add {EXAMPLE_PAYER} 50 --description "An outage"',
        f'usage-ledger credit-note add {EXAMPLE_PAYER} -50 --description "Given by mistake"',
    ),
)
def credit_note_add(
    payer: Payer,
    credits_: Annotated[
        int,
        typer.Argument(
            metavar="CREDITS",
            min=INT32_MIN,
            max=INT32_MAX,
            help="Whole credits to give back; negative ones are a debit.",
        ),
    ],
    description: Annotated[
        str, typer.Option("--description", metavar="TEXT", help="Why; up to 255 characters.")
    ],
    user: Annotated[str, typer.Option("--user", metavar="UUID", help="Who issued it.")] = "",
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key",
            metavar="KEY",
            help="The same key counts once; a new one is made up unless given.",
        ),
    ] = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Give a payer credits back."""
    from cli import payers as work

    exit_code = work.add_credit_note(
        payer,
        credits_,
        description=description,
        user=user,
        key=idempotency_key,
        target=target,
    )
    finish(exit_code)


@invoice_draft_app.command(
    "show",
    epilog=examples(
        f"usage-ledger invoice-draft show {EXAMPLE_PAYER}",
        f"usage-ledger invoice-draft show {EXAMPLE_PAYER} --known-at 2026-11-01T08:00:00Z",
    ),
)
def invoice_draft_show(
    payer: Payer,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Show the open billing cycle: carried balance, lines, credit notes, invoices, total."""
    from cli import clocks
    from cli import payers as work

    if as_of or known_at:
        at = clocks.moment(as_of, known_at)
        finish(clocks.show_invoice_draft(payer, at, target=target, as_json=as_json))
        return

    finish(work.show_invoice_draft(payer, target=target, as_json=as_json))


def add_to(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            f"usage-ledger balance {EXAMPLE_PAYER}",
            f"usage-ledger balance {EXAMPLE_PAYER} --as-of 2026-10-15T12:00:00Z --known-at 4711",
            "xargs usage-ledger balance --json < payers.txt",
        )
    )(balance)
    app.add_typer(usage_app, name="usage")
    app.add_typer(entries_app, name="entries")
    app.add_typer(cost_center_app, name="cost-center")
    app.add_typer(credit_note_app, name="credit-note")
    app.add_typer(invoice_draft_app, name="invoice-draft")
