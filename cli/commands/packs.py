"""export, import-pack."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import Config, DataDir, Json, Store, examples, finish

EXAMPLE_PAYER = "team:7f7e0b2c-93a4-4d0a-9d5e-0c7f3f5b1a11"


def export(
    target: Annotated[
        Path, typer.Argument(metavar="PACK", help="The folder to make, or with --archive the file.")
    ],
    payer: Annotated[
        str, typer.Option("--payer", metavar="PAYER", help="Of one payer: its attribution ID.")
    ] = "",
    everything: Annotated[
        bool, typer.Option("--everything", help="Of all payers, as `import-pack` takes it over.")
    ] = False,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="List entries dated then or later."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="List entries dated before.")
    ] = None,
    head: Annotated[
        int,
        typer.Option("--head", metavar="N", min=0, help="Up to this head; else the newest."),
    ] = 0,
    more_heads: Annotated[
        list[int] | None,
        typer.Option(
            "--with-head", metavar="N", min=1, help="Show this head, too; may be said again."
        ),
    ] = None,
    with_personal: Annotated[
        bool,
        typer.Option("--with-personal", help="Add names and reasons, as far as they are there."),
    ] = False,
    archive: Annotated[bool, typer.Option("--archive", help="Make one file, a tar.")] = False,
    config: Config = None,
    data_dir: DataDir = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Make an evidence pack: events, what proves them, and the numbers that follow from them.

    It reads the store itself, beside a service or without one, up to the newest signed head. Times
    are RFC 3339 with a zone, or days, which begin at 00:00 UTC.
    """
    from cli import packs

    exit_code = packs.export(
        target,
        payer=payer,
        everything=everything,
        start=start,
        end=end,
        head=head,
        more_heads=more_heads or [],
        with_personal=with_personal,
        archive=archive,
        config=config,
        options={"data_dir": data_dir, "store": store},
        as_json=as_json,
    )
    finish(exit_code)


def import_pack(
    pack: Annotated[
        Path, typer.Argument(metavar="PACK", help="What `export --everything` has made.")
    ],
    keys: Annotated[
        Path, typer.Option("--keys", metavar="FILE", help="The list of keys to believe.")
    ],
    config: Config = None,
    data_dir: DataDir = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Take a whole ledger over from a pack into an empty one: the same events, tree and heads.

    It works on the store itself, while no service runs on it. Interrupted it can be run again.
    """
    from cli import packs

    exit_code = packs.import_pack(
        pack,
        keys=keys,
        config=config,
        options={"data_dir": data_dir, "store": store},
        as_json=as_json,
    )
    finish(exit_code)


def add_to(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            f"usage-ledger export quarter --payer {EXAMPLE_PAYER} --from 2026-07-01 --to"
            " 2026-10-01",
            "usage-ledger export ledger.tar --everything --archive --with-personal",
        )
    )(export)
    app.command(
        "import-pack",
        epilog=examples("usage-ledger import-pack ledger.tar --keys keys.json --data-dir new"),
    )(import_pack)
