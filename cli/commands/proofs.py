"""heads, proof, verify, keys, rebuild-tree."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import (
    DEFAULT_PAGE_SIZE,
    DEFAULT_TARGET,
    Config,
    Cursor,
    DataDir,
    EveryPage,
    Json,
    PageSize,
    Store,
    Target,
    examples,
    finish,
)

heads_app = typer.Typer(no_args_is_help=True, help="Signed heads of the trees over the log.")
proof_app = typer.Typer(no_args_is_help=True, help="Proofs that others can check.")
keys_app = typer.Typer(no_args_is_help=True, help="The keys that sign heads, and their list.")

Shard = Annotated[int, typer.Option("--shard", min=0, metavar="N", help="Which shard's.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write it here; else to standard output."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        help="The private key; else where audit.signing_key_file says.",
    ),
]
KeysFile = Annotated[
    Path | None,
    typer.Option(
        "--keys-file", metavar="FILE", help="The list of keys; else where audit.keys_file says."
    ),
]
EXAMPLE_STREAM = "instance:0d5a1c3e-6c1f-4f6e-8b1c-2f6b8c1d9e42"


@heads_app.command(
    "list", epilog=examples("usage-ledger heads list", "usage-ledger heads list --all --json")
)
def heads_list(
    shard: Shard = 0,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    cursor: Cursor = "",
    every_page: EveryPage = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """List a shard's heads, newest first; with --json as a file that auditors can keep."""
    from cli import heads

    exit_code = heads.list_heads(
        shard,
        page_size=page_size,
        cursor=cursor,
        every_page=every_page,
        target=target,
        as_json=as_json,
    )
    finish(exit_code)


@heads_app.command(
    "show", epilog=examples("usage-ledger heads show > head", "usage-ledger heads show 17 --json")
)
def heads_show(
    number: Annotated[
        int, typer.Argument(metavar="[NUMBER]", min=0, help="Of the head; the newest without.")
    ] = 0,
    shard: Shard = 0,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Print a head as it was signed: a text that can be kept, sent and checked."""
    from cli import heads

    finish(heads.show_head(number, shard=shard, target=target, as_json=as_json))


@heads_app.command("sign", epilog=examples("usage-ledger heads sign"))
def heads_sign(target: Target = DEFAULT_TARGET, as_json: Json = False) -> None:
    """Sign heads over all that is recorded so far, without waiting for the job."""
    from cli import heads

    finish(heads.sign_heads(target=target, as_json=as_json))


@proof_app.command(
    "event",
    epilog=examples(
        "usage-ledger proof event --position 17 > event.proof.json",
        f"usage-ledger proof event --stream {EXAMPLE_STREAM} --version 1 -o event.proof.json",
        "usage-ledger proof event --source /workspace-manager/eu01 --id 4711 --head 12",
    ),
)
def proof_event(
    position: Annotated[
        str,
        typer.Option("--position", metavar="[SHARD:]N", help="The event at this position."),
    ] = "",
    stream: Annotated[
        str, typer.Option("--stream", metavar="NAME", help="With --version: by its stream.")
    ] = "",
    version: Annotated[
        int, typer.Option("--version", metavar="N", min=0, help="Its version in the stream.")
    ] = 0,
    source: Annotated[
        str, typer.Option("--source", metavar="TEXT", help="With --id: as it was published.")
    ] = "",
    event_id: Annotated[
        str, typer.Option("--id", metavar="TEXT", help="The ID that it was published under.")
    ] = "",
    head: Annotated[
        int, typer.Option("--head", metavar="N", min=0, help="In this head; else the newest.")
    ] = 0,
    output: Output = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Prove that an event is in the log that a head covers, as a JSON document.

    docs/proofs.md says how to check it, on a machine without usage-ledger.
    """
    from cli import proofs

    exit_code = proofs.prove_event(
        position=position,
        stream=stream,
        version=version,
        source=source,
        event_id=event_id,
        head=head,
        output=output,
        target=target,
    )
    finish(exit_code)


@proof_app.command(
    "consistency",
    epilog=examples(
        "usage-ledger proof consistency 12 17 > consistency.proof.json",
        "usage-ledger proof consistency size:1000 17",
    ),
)
def proof_consistency(
    first: Annotated[
        str, typer.Argument(metavar="HEAD|size:N", help="A head, or the tree of so many events.")
    ],
    second: Annotated[str, typer.Argument(metavar="HEAD|size:N", help="The later one.")],
    shard: Shard = 0,
    output: Output = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Prove that one head's log begins with another's, as a JSON document."""
    from cli import proofs

    exit_code = proofs.prove_consistency(first, second, shard=shard, output=output, target=target)
    finish(exit_code)


def verify(
    local: Annotated[
        bool,
        typer.Option(
            "--local", help="Read the store itself, where no service runs or none is trusted."
        ),
    ] = False,
    shard: Annotated[
        int, typer.Option("--shard", min=-1, metavar="N", help="Only this one; -1: all.")
    ] = -1,
    kept: Annotated[
        list[Path] | None,
        typer.Option(
            "--kept",
            metavar="FILE",
            help="A head, or a list of heads, that was kept elsewhere; may be said again.",
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="FILE", help="The list of keys to believe."),
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    store: Store = None,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Recompute every tree from the stored events, and compare tiles and heads.

    Names the first event that was changed, is missing, was inserted or reordered. Ends with 3 if
    something is found. --config, --data-dir and --store are read with --local only.
    """
    from cli import verifying

    exit_code = verifying.verify(
        local=local,
        shard=None if shard < 0 else shard,
        kept=kept or [],
        keys=keys,
        config=config,
        options={"data_dir": data_dir, "store": store},
        target=target,
        as_json=as_json,
    )
    finish(exit_code)


@keys_app.command(
    "new",
    epilog=examples(
        "usage-ledger keys new --config /etc/usage-ledger.toml",
        "usage-ledger keys new --name example.com/2026 --key-file next.key --keys-file keys.json",
    ),
)
def keys_new(
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What heads call it; else one is made up.")
    ] = "",
    key_file: KeyFile = None,
    keys_file: KeysFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key that signs heads, and put it into the list of keys."""
    from cli import keys

    finish(keys.new_key(name, keys.places(key_file, keys_file, config, data_dir)))


@keys_app.command(
    "add", epilog=examples("usage-ledger keys add --name example.com/2026 --key-file signing.key")
)
def keys_add(
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What heads call it; else one is made up.")
    ] = "",
    key_file: KeyFile = None,
    keys_file: KeysFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Put a key that was made elsewhere into the list of keys: Ed25519, in PEM."""
    from cli import keys

    finish(keys.add_key(name, keys.places(key_file, keys_file, config, data_dir)))


@keys_app.command("list", epilog=examples("usage-ledger keys list --keys-file keys.json"))
def keys_list(
    keys_file: KeysFile = None,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show the list of keys, retired ones included."""
    from cli import keys

    finish(keys.list_keys(keys.places(None, keys_file, config, data_dir), as_json=as_json))


@keys_app.command("rotate", epilog=examples("usage-ledger keys rotate --name example.com/2027"))
def keys_rotate(
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Of the new key; else one is made up.")
    ] = "",
    key_file: KeyFile = None,
    keys_file: KeysFile = None,
    config: Config = None,
    data_dir: DataDir = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Put a new key in the place of the one that signs, and retire that one.

    Runs where the service finds its key. The old private key is gone afterwards.
    """
    from cli import keys

    exit_code = keys.rotate(name, keys.places(key_file, keys_file, config, data_dir), target=target)
    finish(exit_code)


@keys_app.command("retire", epilog=examples("usage-ledger keys retire example.com/2026"))
def keys_retire(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the key.")],
    keys_file: KeysFile = None,
    config: Config = None,
    data_dir: DataDir = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Retire a key that signs no more: it stays listed, with the last heads that it signed."""
    from cli import keys

    exit_code = keys.retire(name, keys.places(None, keys_file, config, data_dir), target=target)
    finish(exit_code)


def rebuild_tree(shard: Shard = 0, target: Target = DEFAULT_TARGET) -> None:
    """Have a shard's tree computed anew from its log, when its tiles were damaged.

    Log and heads stay. Until it is done nothing can be proved or signed.
    """
    from cli import heads

    finish(heads.rebuild_tree(shard, target=target))


def add_to(app: typer.Typer) -> None:
    app.add_typer(heads_app, name="heads")
    app.add_typer(proof_app, name="proof")
    app.command(
        epilog=examples(
            "usage-ledger verify",
            "usage-ledger verify --kept head --keys keys.json",
            "usage-ledger verify --local --data-dir /var/lib/usage-ledger",
        )
    )(verify)
    app.add_typer(keys_app, name="keys")
    app.command("rebuild-tree", epilog=examples("usage-ledger rebuild-tree --shard 0"))(
        rebuild_tree
    )
