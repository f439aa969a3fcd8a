"""The help: quick, with an example for every command, and honest about exit codes."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer.main

from cli.main import app, main

ROLES = ("intake", "project", "relay", "jobs", "tree", "faust")
COMMANDS = [
    "serve",
    "publish",
    "import",
    "balance",
    "usage list",
    "entries list",
    "entries voided",
    "cost-center get",
    "cost-center set",
    "cost-center list",
    "credit-note add",
    "credit-note void",
    "invoice-draft show",
    "compare",
    "instance show",
    "instance end",
    "instance void",
    "instance suspects",
    "reconcile",
    "reset",
    "dead-letters list",
    "dead-letters show",
    "dead-letters retry",
    "log tail",
    "status",
    "check",
    "config show",
    "migrate",
    "token new",
    "accept-gap",
    "topics create",
    "topics check",
    "meters",
    "alerts",
    "billing status",
    "billing reconcile",
    "billing cancel",
    "billing webhooks",
    "billing replay",
    "billing resume",
    "billing settle",
    "heads list",
    "heads show",
    "heads sign",
    "proof event",
    "proof consistency",
    "verify",
    "keys new",
    "keys add",
    "keys list",
    "keys rotate",
    "keys retire",
    "rebuild-tree",
    "projections status",
    "projections rebuild",
    "projections promote",
    "projections rollback",
    "projections drop",
    "replay",
    "erase user",
    "erase list",
    "what-if",
    "export",
    "import-pack",
    "why balance",
    "why entry",
    "why instance",
    "why draft-line",
    "why invoice",
    "why more",
    *ROLES,
]
# What writes, or runs, has nothing to print as JSON.
SILENT = {
    "serve",
    *ROLES,
    "credit-note add",
    "credit-note void",
    "instance end",
    "instance void",
    "reconcile",
    "reset",
    "accept-gap",
    "billing cancel",
    "billing settle",
    "keys new",
    "keys add",
    "keys rotate",
    "keys retire",
    "rebuild-tree",
    "projections rollback",
    "projections drop",
}
# What they print is JSON in any case.
DOCUMENTS = {"proof event", "proof consistency"}
# They work on the store itself, or on settings.
LOCAL = {
    *("serve", *ROLES, "config show", "migrate", "token new", "topics create", "topics check"),
    *("keys new", "keys add", "keys list"),
    *(name for name in COMMANDS if name.startswith("projections ")),
    "replay",
    "what-if",
    "export",
    "import-pack",
}


def command_names() -> Iterator[str]:
    for name, command in vars(typer.main.get_command(app))["commands"].items():
        inner = vars(command).get("commands")
        yield from (f"{name} {one}" for one in inner) if inner else (name,)


class TestHelp:
    def test_every_command_is_known_here(self) -> None:
        assert sorted(COMMANDS) == sorted(command_names())

    @pytest.mark.parametrize("command", COMMANDS)
    def test_a_command_has_examples(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert 0 == main([*command.split(), "--help"])

        text = capsys.readouterr().out
        assert "Examples:\n" in text
        assert f"usage-ledger {command}" in text

    @pytest.mark.parametrize("command", sorted({*COMMANDS} - SILENT - DOCUMENTS))
    def test_a_command_that_reads_prints_json(
        self, command: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        main([*command.split(), "--help"])

        assert "--json" in capsys.readouterr().out

    @pytest.mark.parametrize("command", sorted({*COMMANDS} - LOCAL))
    def test_a_command_that_calls_the_service_has_a_target(
        self, command: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        main([*command.split(), "--help"])

        assert "--target" in capsys.readouterr().out

    def test_exit_codes_are_explained(self, capsys: pytest.CaptureFixture[str]) -> None:
        main(["--help"])

        text = capsys.readouterr().out
        assert all(f"\n    {code}  " in text for code in range(5))

    def test_help_loads_neither_grpc_nor_the_settings(self) -> None:
        program = (
            "import sys; from cli.main import main; main(['--help']); "
            "heavy = ('grpc', 'pydantic', 'rich', 'google.protobuf'); "
            "print([name for name in heavy if name in sys.modules])"
        )

        ran = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        )

        assert "[]" == ran.stdout.splitlines()[-1]


class TestUsageErrors:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["nonsense"],
            ["balance"],
            ["balance", "team:x", "--target", "no-port"],
            ["cost-center", "set", "team:x"],
            ["credit-note", "add", "team:x", "2147483648", "--description", "x"],
            ["dead-letters", "retry"],
            ["dead-letters", "retry", "1", "--all"],
            ["usage", "list", "team:x", "--from", "yesterday"],
            ["publish", "/nowhere/at-all"],
            ["import", "/nowhere/at-all"],
            ["serve", "--listen", "nowhere"],
            ["config", "show", "--config", "/nowhere/at-all"],
        ],
    )
    def test_they_end_with_2_and_a_sentence(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert 2 == main(arguments)

        told = capsys.readouterr().err
        assert told
        assert "Traceback" not in told


class TestNobodyThere:
    # Nothing listens on the port for "discard" of this machine, and nobody may without root.
    target = ("--target", "127.0.0.1:9")

    def test_a_call_ends_with_4(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert 4 == main(["balance", "team:x", *self.target])

        assert "UNAVAILABLE: no service answers at 127.0.0.1:9" in capsys.readouterr().err

    def test_publishing_ends_with_1_and_says_to_run_it_again(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert 1 == main(["publish", __file__, *self.target])

        told = capsys.readouterr()
        assert "Run it again: nothing counts twice." in told.err
        assert told.out.startswith("received 0 = recorded 0 + repeated 0 + rejected 0")
