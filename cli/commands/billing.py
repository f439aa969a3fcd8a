"""billing: status, reconcile, cancel, webhooks, replay."""

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

billing_app = typer.Typer(no_args_is_help=True, help="Billing over Stripe.")

MaybePayer = Annotated[str, typer.Argument(metavar="[PAYER]", help="team:<uuid>; all without.")]


@billing_app.command(
    "status",
    epilog=examples(
        "usage-ledger billing status --all", f"usage-ledger billing status {EXAMPLE_PAYER}"
    ),
)
def billing_status(
    payer: MaybePayer = "",
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    cursor: Cursor = "",
    every_page: EveryPage = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Show what waits, and why: reports, sign-ups, cancellations, payers that nobody bills."""
    from cli import billing

    exit_code = billing.show_status(
        payer,
        page_size=page_size,
        cursor=cursor,
        every_page=every_page,
        target=target,
        as_json=as_json,
    )
    finish(exit_code)


@billing_app.command(
    "reconcile",
    epilog=examples("usage-ledger billing reconcile", "usage-ledger billing reconcile --report"),
)
def billing_reconcile(
    payer: MaybePayer = "",
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Then compare ledger, projection and Stripe, and end with 3 if anything differs.",
        ),
    ] = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Report usage to Stripe, settle what came back, go on with what is unfinished."""
    from cli import billing

    finish(billing.reconcile(payer, report=report, target=target, as_json=as_json))


@billing_app.command("cancel", epilog=examples("usage-ledger billing cancel sub_1Pq0f2"))
def billing_cancel(
    subscription: Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="Stripe's id.")],
    target: Target = DEFAULT_TARGET,
) -> None:
    """End a subscription, once everything is reported; what is open is billed."""
    from cli import billing

    finish(billing.cancel(subscription, target=target))


@billing_app.command(
    "webhooks", epilog=examples("usage-ledger billing webhooks --state waiting --all")
)
def billing_webhooks(
    state: Annotated[
        str, typer.Option("--state", help="waiting, done or ignored; all without.")
    ] = "",
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    cursor: Cursor = "",
    every_page: EveryPage = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """List what Stripe has told, newest first; never the bodies."""
    from cli import billing

    exit_code = billing.list_webhooks(
        state=state,
        page_size=page_size,
        cursor=cursor,
        every_page=every_page,
        target=target,
        as_json=as_json,
    )
    finish(exit_code)


@billing_app.command("replay", epilog=examples("usage-ledger billing replay evt_1Pq0f2"))
def billing_replay(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The webhook's event id.")],
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Do what a webhook asks for again, by looking at what is true now."""
    from cli import billing

    finish(billing.replay(event, target=target, as_json=as_json))


def add_to(app: typer.Typer) -> None:
    app.add_typer(billing_app, name="billing")
