"""intake, project, relay, jobs, tree, faust: the parts of `serve` as processes of their own."""

from collections.abc import Callable

import typer

from cli.commands.options import Config, HttpListen, Insecure, examples, finish

ABOUT = {
    "intake": (
        "Take events in from Kafka.\n\nMany may run: Kafka shares the partitions out among them, "
        "and each event counts once whatever happens to one of them."
    ),
    "project": (
        "Fold the log into balances, listings and invoice drafts.\n\nOne of them folds each shard; "
        "the others stand by and take over within seconds. SQLite needs none."
    ),
    "relay": (
        "Publish every recorded event to `ledger.events`, in order, and dead letters to their "
        "topic.\n\nOne of them works for each shard; the others stand by."
    ),
    "jobs": (
        "Run the ledger job and the reset job when they are due.\n\nOne of them works; the others "
        "stand by."
    ),
    "tree": (
        "Keep the hash tree over the log, for which heads are signed.\n\nOne of them works for "
        "each shard; the others stand by."
    ),
    "faust": (
        "Keep live meters and spending alerts from `ledger.events` with Faust.\n\nMany may run; "
        "Kafka shares the partitions out among them."
    ),
}


def _running(role: str) -> Callable[..., None]:
    def run(
        config: Config = None, http_listen: HttpListen = None, insecure: Insecure = False
    ) -> None:
        from cli import configuration

        options = configuration.role_overrides(http_listen=http_listen, insecure=insecure)
        finish(configuration.run_role(role, config, options))

    return run


def add_to(app: typer.Typer) -> None:
    for role, about in ABOUT.items():
        app.command(
            role,
            help=about,
            epilog=examples(
                f"usage-ledger {role} --config /etc/usage-ledger.toml",
                f"usage-ledger {role} --config /etc/usage-ledger.toml --http-listen 127.0.0.1:9002",
            ),
        )(_running(role))
