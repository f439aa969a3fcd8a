"""topics create, topics check."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import Config, Json, examples, finish
from cli.exits import CommandFailed

PARTITIONS = 12
PARTITIONS_MAX = 10_000
REPLICATION_FACTOR_MAX = 100

topics_app = typer.Typer(no_args_is_help=True, help="The topics of the bus: make and check them.")

Partitions = Annotated[
    int,
    typer.Option(
        "--partitions",
        metavar="N",
        min=1,
        max=PARTITIONS_MAX,
        help="Partitions of each topic; as many processes can share its work.",
    ),
]
ReplicationFactor = Annotated[
    int | None,
    typer.Option(
        "--replication-factor",
        metavar="N",
        min=1,
        max=REPLICATION_FACTOR_MAX,
        help="Copies of each topic; 3, or as many as there are brokers, unless given.",
    ),
]


@topics_app.command("create", epilog=examples("usage-ledger topics create --partitions 24"))
def topics_create(
    partitions: Partitions = PARTITIONS,
    replication_factor: ReplicationFactor = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make the topics that are missing.

    A topic that is there stays as it is; what differs is said, and changes nothing.
    """
    finish(_run("create", config, partitions, replication_factor, as_json))


@topics_app.command("check", epilog=examples("usage-ledger topics check"))
def topics_check(
    partitions: Partitions = PARTITIONS,
    replication_factor: ReplicationFactor = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Compare the topics with what they should be, and name every difference.

    Ends with 3 if a topic is missing or differs.
    """
    finish(_run("check", config, partitions, replication_factor, as_json))


def _run(
    what: str,
    config: Path | None,
    partitions: int,
    replication_factor: int | None,
    as_json: bool,
) -> int:
    try:
        from cli import topics
    except ModuleNotFoundError as missing:
        raise CommandFailed(
            f"{missing.name} is not installed: pip install 'usage-ledger[cluster]'"
        ) from None
    act = topics.create if what == "create" else topics.check
    return act(
        config, partitions=partitions, replication_factor=replication_factor, as_json=as_json
    )


def add_to(app: typer.Typer) -> None:
    app.add_typer(topics_app, name="topics")
