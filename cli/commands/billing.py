"""billing: status, reconcile, cancel, resume, settle, webhooks, replay."""

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
ComparedPayer = Annotated[
    str, typer.Argument(metavar="[PAYER]", help="team:<uuid>, with --report; all without.")
]


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
    """Show how the last run went, and what waits and why: reports, sign-ups, cancellations."""
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
    payer: ComparedPayer = "",
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Only compare ledger, projection and Stripe; end with 3 if anything differs.",
        ),
    ] = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Report usage to Stripe, settle what came back, go on with what is unfinished.

    Of all payers; with --report nothing is changed, and PAYER may be one.
    """
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


@billing_app.command("resume", epilog=examples(f"usage-ledger billing resume {EXAMPLE_PAYER}"))
def billing_resume(
    payer: Annotated[str, typer.Argument(metavar="PAYER", help="Its attribution ID.")],
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Send a payer's reports again that Stripe refused; 3 if something waits all the same."""
    from cli import billing

    finish(billing.resume(payer, target=target, as_json=as_json))


@billing_app.command("settle", epilog=examples("usage-ledger billing settle in_1Pq0f2 --credits 7"))
def billing_settle(
    invoice: Annotated[str, typer.Argument(metavar="INVOICE", help="Stripe's id.")],
    credits: Annotated[int, typer.Option("--credits", min=0, help="Whole credits that it bills.")],
    target: Target = DEFAULT_TARGET,
) -> None:
    """Settle by hand an invoice whose credits cannot be counted; it stays settled."""
    from cli import billing

    finish(billing.settle(invoice, credits=credits, target=target))


@billing_app.command(
    "webhooks", epilog=examples("usage-ledger billing webhooks --state waiting --all")
)
def billing_webhooks(
    state: Annotated[
        str, typer.Option("--state", help="waiting, done, ignored or given-up; all without.")
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


@billing_app.command(
    "replay",
    epilog=examples(
        "usage-ledger billing replay evt_1Pq0f2", "usage-ledger billing replay --given-up"
    ),
)
def billing_replay(
    event: Annotated[str, typer.Argument(metavar="[EVENT]", help="The webhook's event id.")] = "",
    given_up: Annotated[
        bool, typer.Option("--given-up", help="Every webhook that was given up, instead of one.")
    ] = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Do what a webhook asks for again, by looking at what is true now."""
    from cli import billing

    if given_up == bool(event):
        raise typer.BadParameter("name a webhook's event, or say --given-up")
    if given_up:
        finish(billing.replay_given_up(target=target, as_json=as_json))
    else:
        finish(billing.replay(event, target=target, as_json=as_json))


def add_to(app: typer.Typer) -> None:
    app.add_typer(billing_app, name="billing")
