"""What the files of `deploy/` say, read as their tools read them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer
import yaml

from cli.main import app
from ledger.settings import read_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "usage-ledger"
# The commands that are a process of their own; `serve` alone is all of them in one.
ROLES = frozenset({"serve", "intake", "project", "relay", "jobs", "tree", "faust"})

_VARIABLE = re.compile(r"\bUSAGE_LEDGER_[A-Z0-9_]+")
# Read by the command line and by compose, not settings of the service.
_NO_SETTINGS = frozenset(
    {
        "USAGE_LEDGER_CONFIG",
        "USAGE_LEDGER_TARGET",
        "USAGE_LEDGER_TLS_CA",
        "USAGE_LEDGER_TOKEN_FILE",
    }
)


def commands() -> frozenset[str]:
    """Every command of `usage-ledger`."""
    group = typer.main.get_command(app)
    return frozenset(group.commands)  # type: ignore[attr-defined]  # a group, which Click types as a command


def setting_variables() -> frozenset[str]:
    """The variable of every setting."""
    names = (row.name for row in read_settings(None).rows())
    return frozenset(f"USAGE_LEDGER_{name.upper().replace('.', '__')}" for name in names)


def unknown_variables(text: str, *, known: frozenset[str] = _NO_SETTINGS) -> list[str]:
    """Variables in a text that name no setting, each once."""
    return sorted(set(_VARIABLE.findall(text)) - setting_variables() - known - _NO_SETTINGS)


def compose() -> dict[str, Any]:
    """`compose.yaml`, its merge keys resolved."""
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return loaded


def chart_values() -> dict[str, Any]:
    """The chart's default values."""
    loaded: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return loaded
