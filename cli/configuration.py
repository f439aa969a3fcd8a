"""`serve` and `config show`: the settings from options, variables and the file."""

import sys
from pathlib import Path
from typing import Any

from cli.exits import FAILED, OK, USAGE, CommandFailed
from cli.json_form import encode
from cli.tables import print_table
from ledger.settings import LoadedSettings, SettingRow, Settings, SettingsError, read_settings


def overrides(
    *,
    data_dir: Path | None,
    listen: str | None,
    store: str | None,
    no_jobs: bool,
    http_listen: str | None = None,
    insecure: bool = False,
) -> dict[str, Any]:
    """What the options set; None leaves a setting to the variables, the file or its default."""
    names = ("ledger_enabled", "reset_enabled", "heads_enabled")
    jobs = dict.fromkeys(names, False) if no_jobs else {}
    return {
        "data_dir": data_dir,
        "listen": listen,
        "store": store,
        "jobs": jobs,
        "http": {"listen": http_listen},
        "insecure": insecure or None,
    }


def role_overrides(*, http_listen: str | None, insecure: bool) -> dict[str, Any]:
    """What the options of a role set."""
    return {"http": {"listen": http_listen}, "insecure": insecure or None}


def run_role(role: str, config: Path | None, options: dict[str, Any]) -> int:
    """Runs a role until it is told to stop; answers its exit code."""
    settings = read(config, options).settings
    if settings.store != "postgres" and role != "faust":
        raise CommandFailed(
            f'store is "{settings.store}", which one process has to itself: run `usage-ledger'
            f' serve`, which does the work of `{role}`, too, or set store to "postgres"',
            exit_code=USAGE,
        )
    return _run(settings, role)


def serve(config: Path | None, options: dict[str, Any]) -> int:
    """Runs the service until it is told to stop; answers its exit code."""
    return _run(read(config, options).settings, "serve")


def _run(settings: Settings, role: str) -> int:
    # Late, because a wrong setting is answered without loading the whole service.
    from cli.serving import run
    from ledger.errors import StartRefused

    try:
        return run(settings, role)
    except StartRefused as refusal:
        raise CommandFailed(str(refusal), exit_code=FAILED) from None


def show_settings(config: Path | None, options: dict[str, Any], *, as_json: bool) -> int:
    """Every setting with its value and where it came from. None of them is a secret."""
    loaded = read(config, options)
    if as_json:
        answer = {
            "config": str(config) if config else None,
            "settings": [
                {
                    "name": row.name,
                    "value": row.value,
                    "origin": row.origin,
                    "where": row.where or None,
                }
                for row in loaded.rows()
            ],
        }
        sys.stdout.write(f"{encode(answer, indent=2)}\n")
    else:
        rows = [(row.name, _value_text(row), row.where or row.origin) for row in loaded.rows()]
        print_table("", ("setting", "value", "from"), rows)
    return OK


def read(config: Path | None, options: dict[str, Any]) -> LoadedSettings:
    """The effective settings; what is wrong with them ends the command."""
    try:
        return read_settings(config, **options)
    except SettingsError as error:
        raise CommandFailed(str(error), exit_code=USAGE) from None


def _value_text(row: SettingRow) -> str:
    if isinstance(row.value, dict):
        return ", ".join(f"{name} {rate}" for name, rate in row.value.items())
    if isinstance(row.value, bool):
        return "true" if row.value else "false"
    return "-" if row.value is None else str(row.value)
