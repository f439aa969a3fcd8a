"""projections status, rebuild, promote, rollback, drop."""

from typing import Annotated

import typer

from cli.commands.options import Config, DataDir, Json, examples, finish

projections_app = typer.Typer(
    no_args_is_help=True,
    help="Generations of the projections: built beside the one that is served, and promoted.",
)

Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        metavar="KIND",
        help="A kind of difference that is meant, as it was told: balances.booked_cents, "
        "entries:added. May be given several times.",
    ),
]


@projections_app.command(
    "status", epilog=examples("usage-ledger projections status --data-dir ledger")
)
def status(config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show every generation: its version, where it stands, and what was promoted by whom."""
    from cli import projections

    finish(projections.show(config, data_dir, as_json=as_json))


@projections_app.command(
    "rebuild",
    epilog=examples(
        "usage-ledger projections rebuild --data-dir ledger",
        "usage-ledger projections rebuild --config /etc/usage-ledger.toml --promote --if-needed",
    ),
)
def rebuild(
    config: Config = None,
    data_dir: DataDir = None,
    promote: Annotated[
        bool,
        typer.Option("--promote", help="Serve the new generation if no number differs."),
    ] = False,
    if_needed: Annotated[
        bool,
        typer.Option(
            "--if-needed", help="Do nothing where this version serves a generation already."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Fold the log into a new generation beside the one that is served, and compare the two.

    The service goes on, also one of an older version. An interrupted rebuild goes on where it
    stood. Ends with 3 when a number differs.
    """
    from cli import projections

    exit_code = projections.rebuild(
        config, data_dir, promotes=promote, if_needed=if_needed, as_json=as_json
    )
    finish(exit_code)


@projections_app.command(
    "promote",
    epilog=examples(
        "usage-ledger projections promote --data-dir ledger",
        "usage-ledger projections promote --accept balances.booked_cents --accept entries.cents",
    ),
)
def promote(
    config: Config = None, data_dir: DataDir = None, accept: Accept = None, as_json: Json = False
) -> None:
    """Compare the new generation once more and serve it, unless a number differs.

    Ends with 3, and changes nothing, when a number differs that no --accept names.
    """
    from cli import projections

    finish(projections.promote(config, data_dir, accepted=accept or [], as_json=as_json))


@projections_app.command(
    "rollback", epilog=examples("usage-ledger projections rollback --data-dir ledger")
)
def rollback(config: Config = None, data_dir: DataDir = None) -> None:
    """Serve the generation again that was served before."""
    from cli import projections

    finish(projections.roll_back(config, data_dir))


@projections_app.command(
    "drop", epilog=examples("usage-ledger projections drop 1 --data-dir ledger")
)
def drop(
    generation: Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="Which generation.")],
    config: Config = None,
    data_dir: DataDir = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also one that another version of the program serves."),
    ] = False,
) -> None:
    """Forget the rows of a generation that is not served: there is no way back to it then."""
    from cli import projections

    finish(projections.drop(generation, config, data_dir, force=force))


def add_to(app: typer.Typer) -> None:
    app.add_typer(projections_app, name="projections")
