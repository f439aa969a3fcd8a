"""publish, import, dead-letters."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import (
    DEFAULT_PAGE_SIZE,
    DEFAULT_TARGET,
    Config,
    Cursor,
    EveryPage,
    Json,
    PageSize,
    Rejects,
    Target,
    examples,
    finish,
)

dead_letters_app = typer.Typer(
    no_args_is_help=True, help="Events that were rejected: list, show, retry."
)


def publish(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE|-", help="CloudEvents, one a line; - reads standard input."),
    ],
    target: Target = DEFAULT_TARGET,
    kafka: Annotated[
        str | None,
        typer.Option(
            "--kafka",
            metavar="HOST:PORT",
            help="Send to Kafka instead, at these servers; several with commas.",
        ),
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option("--topic", metavar="NAME", help="With --kafka: the topic, not usage.events."),
    ] = None,
    packed: Annotated[
        bool,
        typer.Option("--packed", help="With --kafka: many events of a payer in one message."),
    ] = False,
    config: Config = None,
    rejects: Rejects = None,
    as_json: Json = False,
) -> None:
    """Publish usage events from a file or standard input.

    Waits until each event is durable and visible to every call, and prints the receipt:
    received = recorded + repeated + rejected. Ends with 0 if all were recorded or repeated, 3 if
    some were rejected, 1 if it did not get to the end. Then run it again: nothing counts twice.

    With --kafka it waits until the broker has acknowledged each event; TLS and SASL are settings
    (group kafka of --config). Ends with 3 if some lines have no payer.
    """
    if kafka is None:
        if topic or packed:
            raise typer.BadParameter("--topic and --packed go with --kafka")
        from cli import publishing

        finish(publishing.publish(file, target=target, rejects=rejects, as_json=as_json))
        return
    try:
        from cli import bus_publishing
    except ModuleNotFoundError as missing:
        raise typer.BadParameter(
            f"--kafka needs {missing.name}: install usage-ledger[publisher]"
        ) from None

    exit_code = bus_publishing.publish(
        file,
        servers=kafka,
        topic=topic,
        packed=packed,
        config=config,
        rejects=rejects,
        as_json=as_json,
    )
    finish(exit_code)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines; see docs/import.md.")],
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="NAME",
            help="Names the ledger it comes from, for ever; the file's name unless given.",
        ),
    ] = None,
    target: Target = DEFAULT_TARGET,
    rejects: Rejects = None,
    as_json: Json = False,
) -> None:
    """Take over the state of another ledger.

    Cost centers with their history, members and entries; docs/import.md describes the lines. Every
    line counts once per source and ID, so it can be run again. Payers that already have events of
    their own are refused.
    """
    from cli import importing

    exit_code = importing.import_file(
        file, source=source, target=target, rejects=rejects, as_json=as_json
    )
    finish(exit_code)


@dead_letters_app.command(
    "list",
    epilog=examples(
        "usage-ledger dead-letters list", "usage-ledger dead-letters list --all --json"
    ),
)
def dead_letters_list(
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    cursor: Cursor = "",
    every_page: EveryPage = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """List the events that were rejected, newest first, each with its reason."""
    from cli import dead_letters

    exit_code = dead_letters.list_dead_letters(
        page_size=page_size, cursor=cursor, every_page=every_page, target=target, as_json=as_json
    )
    finish(exit_code)


@dead_letters_app.command(
    "show",
    epilog=examples(
        "usage-ledger dead-letters show 17", "usage-ledger dead-letters show 17 --raw > line.json"
    ),
)
def dead_letters_show(
    number: Annotated[int, typer.Argument(metavar="ID", help="The dead letter's number.")],
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the original bytes and nothing else.")
    ] = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Show one rejected event with its original bytes."""
    from cli import dead_letters

    finish(dead_letters.show_dead_letter(number, raw=raw, target=target, as_json=as_json))


@dead_letters_app.command(
    "retry",
    epilog=examples(
        "usage-ledger dead-letters retry 17 18", "usage-ledger dead-letters retry --all"
    ),
)
def dead_letters_retry(
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="ID", help="The dead letters' numbers.")
    ] = None,
    every_one: Annotated[bool, typer.Option("--all", help="Every dead letter.")] = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Try rejected events again.

    Those that are now accepted move from rejected to recorded; what was received stays the same.
    """
    from cli import dead_letters

    if bool(numbers) == every_one:
        raise typer.BadParameter("name dead letters by their numbers, or say --all")
    exit_code = dead_letters.retry_dead_letters(
        numbers or [], every_one=every_one, target=target, as_json=as_json
    )
    finish(exit_code)


def add_to(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "usage-ledger publish events.ndjson",
            "zcat events.ndjson.gz | usage-ledger publish -",
            "usage-ledger publish events.ndjson --rejects rejects.ndjson --json",
            "usage-ledger publish events.ndjson --kafka kafka-1:9092,kafka-2:9092",
        )
    )(publish)
    app.command(
        "import",
        epilog=examples(
            "usage-ledger import opening.ndjson",
            "usage-ledger import opening.ndjson --source gitpod-eu --rejects rejects.ndjson",
        ),
    )(import_)
    app.add_typer(dead_letters_app, name="dead-letters")
