"""instance, reconcile, reset, log, status, check."""

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

EXAMPLE_INSTANCE = "0d5a1c3e-6c1f-4f6e-8b1c-2f6b8c1d9e42"
INT64_MAX = 2**63 - 1
# About a screen.
DEFAULT_LAST = 20
LAST_MAX = 1_000_000

instance_app = typer.Typer(no_args_is_help=True, help="Single workspace instances.")
log_app = typer.Typer(no_args_is_help=True, help="The log of everything that was recorded.")

Instance = Annotated[str, typer.Argument(metavar="ID", help="The workspace instance's UUID.")]


@instance_app.command("show", epilog=examples(f"usage-ledger instance show {EXAMPLE_INSTANCE}"))
def instance_show(
    instance: Instance, target: Target = DEFAULT_TARGET, as_json: Json = False
) -> None:
    """Show all that is known of an instance: times, price, entry, cycles, events."""
    from cli import operations

    finish(operations.show_instance(instance, target=target, as_json=as_json))


@instance_app.command(
    "end",
    epilog=examples(
        f"usage-ledger instance end {EXAMPLE_INSTANCE} "
        '--at 2026-11-01T08:00:00Z --reason "Its node was lost"'
    ),
)
def instance_end(
    instance: Instance,
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="When it ended, with its time zone.")
    ],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; up to 255 characters.")
    ],
    target: Target = DEFAULT_TARGET,
) -> None:
    """End a running instance whose stop never came, or correct when one ended."""
    from cli import operations

    finish(operations.end_instance(instance, at=at, reason=reason, target=target))


@instance_app.command("suspects", epilog=examples("usage-ledger instance suspects --all --json"))
def instance_suspects(
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    cursor: Cursor = "",
    every_page: EveryPage = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """List instances that run longer than expected, and stops without a start."""
    from cli import operations

    exit_code = operations.list_suspects(
        page_size=page_size, cursor=cursor, every_page=every_page, target=target, as_json=as_json
    )
    finish(exit_code)


def reconcile(target: Target = DEFAULT_TARGET) -> None:
    """Accrue every running instance to now.

    The ledger job does the same on its schedule.
    """
    from cli import operations

    finish(operations.reconcile(target=target))


def reset(
    confirm: Annotated[
        bool,
        typer.Option(
            "--confirm", help="Do it although the clock stands far past the newest event."
        ),
    ] = False,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Start the next cycle wherever one has ended.

    The reset job does the same on its schedule. Cost centers that Stripe bills are left alone.
    """
    from cli import operations

    finish(operations.reset(confirm=confirm, target=target))


def accept_gap(
    source: Annotated[
        str,
        typer.Argument(
            metavar="CLUSTER:TOPIC:TOPIC-ID:PARTITION", help="The partition that stands still."
        ),
    ],
    lost_from: Annotated[
        int,
        typer.Option(
            "--from",
            metavar="OFFSET",
            min=0,
            max=INT64_MAX,
            help="Where it stands: the first lost.",
        ),
    ],
    go_on_at: Annotated[
        int,
        typer.Option("--to", metavar="OFFSET", min=0, max=INT64_MAX, help="Where it goes on."),
    ],
    target: Target = DEFAULT_TARGET,
) -> None:
    """Let the intake of a partition go on although messages are lost.

    What the intake waits for names the partition and both offsets. The messages between them are
    lost to the ledger unless their publishers send them again.
    """
    from cli import operations

    finish(operations.accept_gap(source, lost_from=lost_from, go_on_at=go_on_at, target=target))


@log_app.command(
    "tail",
    epilog=examples(
        "usage-ledger log tail --follow",
        "usage-ledger log tail --from-position 1 --limit 100 --json",
    ),
)
def log_tail(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for new events.")] = False,
    from_position: Annotated[
        int,
        typer.Option(
            "--from-position",
            metavar="N",
            min=0,
            max=INT64_MAX,
            help="Begin at this position; 0 begins with the newest events.",
        ),
    ] = 0,
    last: Annotated[
        int,
        typer.Option(
            "--last",
            "-n",
            metavar="N",
            min=0,
            max=LAST_MAX,
            help="How many of the newest events to begin with.",
        ),
    ] = DEFAULT_LAST,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", metavar="N", min=0, max=INT64_MAX, help="End after so many; 0 is no limit."
        ),
    ] = 0,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Print recorded events in the order of the log, one a line; with --json as JSON lines."""
    from cli import operations

    exit_code = operations.tail_log(
        from_position=from_position,
        last=last,
        limit=limit,
        follow=follow,
        target=target,
        as_json=as_json,
    )
    finish(exit_code)


def status(target: Target = DEFAULT_TARGET, as_json: Json = False) -> None:
    """Show counts, projections, jobs, and what is held or suspect."""
    from cli import operations

    finish(operations.show_status(target=target, as_json=as_json))


def check(
    target: Target = DEFAULT_TARGET,
    fold_log: Annotated[
        bool,
        typer.Option("--fold-log", help="Also fold the whole log anew and compare every row."),
    ] = False,
    meters: Annotated[
        bool, typer.Option("--meters", help="Also compare the live meters with the ledger.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Recompute the laws of the ledger on the live store.

    Ends with 3 if one is breached, and names the breaches.
    """
    from cli import operations

    exit_code = operations.check(target=target, fold_log=fold_log, meters=meters, as_json=as_json)
    finish(exit_code)


def add_to(app: typer.Typer) -> None:
    app.add_typer(instance_app, name="instance")
    app.command(epilog=examples("usage-ledger reconcile"))(reconcile)
    app.command(epilog=examples("usage-ledger reset", "usage-ledger reset --confirm"))(reset)
    app.command(
        "accept-gap",
        epilog=examples(
            "usage-ledger accept-gap 5L6g3nShT-eMCtK--X86sw:usage.events:oVPIdpsKTemK2Qx2d9D_Rw:3 "
            "--from 4711 --to 9002"
        ),
    )(accept_gap)
    app.add_typer(log_app, name="log")
    app.command(epilog=examples("usage-ledger status", "usage-ledger status --json"))(status)
    app.command(epilog=examples("usage-ledger check", "usage-ledger check --fold-log"))(check)
