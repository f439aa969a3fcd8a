"""serve, migrate, config show."""

from typing import Annotated

import typer

from cli.commands.options import (
    Config,
    DataDir,
    HttpListen,
    Insecure,
    Json,
    Listen,
    NoJobs,
    Store,
    examples,
    finish,
)

PRECEDENCE = (
    "An option beats an environment variable (USAGE_LEDGER_LISTEN, USAGE_LEDGER_LOG__LEVEL), "
    "a variable beats the file, the file beats the default."
)

config_app = typer.Typer(no_args_is_help=True, help="Look at the settings.")


def serve(
    data_dir: DataDir = None,
    listen: Listen = None,
    config: Config = None,
    no_jobs: NoJobs = False,
    store: Store = None,
    http_listen: HttpListen = None,
    insecure: Insecure = False,
) -> None:
    from cli import configuration

    options = configuration.overrides(
        data_dir=data_dir,
        listen=listen,
        store=store,
        no_jobs=no_jobs,
        http_listen=http_listen,
        insecure=insecure,
    )
    finish(configuration.serve(config, options))


@config_app.command(
    "show",
    help=f"Show every setting, its value and where it came from.\n\n{PRECEDENCE}",
    epilog=examples(
        "usage-ledger config show --config /etc/usage-ledger.toml",
        "USAGE_LEDGER_LOG__LEVEL=debug usage-ledger config show --json",
    ),
)
def config_show(
    data_dir: DataDir = None,
    listen: Listen = None,
    config: Config = None,
    no_jobs: NoJobs = False,
    store: Store = None,
    http_listen: HttpListen = None,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    from cli import configuration

    options = configuration.overrides(
        data_dir=data_dir,
        listen=listen,
        store=store,
        no_jobs=no_jobs,
        http_listen=http_listen,
        insecure=insecure,
    )
    finish(configuration.show_settings(config, options, as_json=as_json))


def migrate(
    data_dir: DataDir = None,
    config: Config = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell; end with 1 while something is missing.")
    ] = False,
    finish_all: Annotated[
        bool,
        typer.Option(
            "--finish", help="Every role runs this version: newer forms of events may be written."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    from cli import migrating

    if check and finish_all:
        raise typer.BadParameter("--check changes nothing and --finish does: give one of them")
    options = {"data_dir": data_dir}
    finish(migrating.run(config, options, check=check, finishes=finish_all, as_json=as_json))


def add_to(app: typer.Typer) -> None:
    app.command(
        help="Run the service until it is told to stop.\n\n"
        "Ctrl-C and SIGTERM tell it. It makes its data directory, opens its port once it can "
        f"answer, and finishes what it has begun before it ends. {PRECEDENCE}",
        epilog=examples(
            "usage-ledger serve",
            "usage-ledger serve --data-dir /var/lib/usage-ledger --listen 127.0.0.1:9001",
            "usage-ledger serve --store memory --listen 127.0.0.1:0 --no-jobs",
        ),
    )(serve)
    app.command(
        "migrate",
        help="Bring the tables of every shard up to this version.\n\n"
        "Makes an empty PostgreSQL database a ledger. Two at once wait for each other, and one "
        "that was interrupted goes on. With a ledger in a file the service does it by itself.",
        epilog=examples(
            "usage-ledger migrate --config /etc/usage-ledger.toml",
            "usage-ledger migrate --config /etc/usage-ledger.toml --check",
            "usage-ledger migrate --config /etc/usage-ledger.toml --finish",
        ),
    )(migrate)
    app.add_typer(config_app, name="config")
