"""The table of rooms holds, and its checker finds what breaks it."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    "events",
    "aggregates",
    "projections",
    "persistence",
    "billing",
    "ledger",
    "facade",
    "jobs",
    "consumers",
    "publisher",
    "cli",
)


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Runs the contracts over the source tree at `root`, whatever is installed beside it."""
    return subprocess.run(
        [Path(sysconfig.get_path("scripts")) / "lint-imports", "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "proto/gen")])},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rooms")
    shutil.copy(ROOT / "pyproject.toml", root)
    for folder in (*ROOMS, "proto/gen"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return root


class TestRooms:
    def test_the_source_tree_keeps_every_contract(self) -> None:
        result = lint_imports(ROOT)
        assert (0, "") == (result.returncode, result.stderr), result.stdout

    @pytest.mark.parametrize(
        ("room", "line", "broken"),
        [
            ("events", "import ledger", "events import no other room"),
            ("events", "import time", "what decides and folds neither fetches"),
            ("aggregates", "import persistence", "aggregates import events"),
            ("aggregates", "import projections", "aggregates and projections do not know"),
            ("projections", "import aggregates", "projections import events"),
            ("projections", "import random", "what decides and folds neither fetches"),
            ("persistence", "import aggregates", "persistence imports events and projections"),
            ("ledger", "import facade", "ledger imports the rooms below it"),
            ("ledger", "import sqlite3", "only persistence speaks SQL"),
            ("ledger", "import grpc", "only facade and cli speak gRPC"),
            ("facade", "import persistence", "facade imports ledger"),
            ("ledger", "import aiohttp", "only facade speaks HTTP and to Prometheus"),
            ("facade", "import opentelemetry", "only ledger speaks to OpenTelemetry"),
            ("jobs", "import events", "jobs import ledger"),
            ("jobs", "from usage.v1 import usage_pb2", "jobs import ledger"),
            ("consumers", "import persistence", "consumers import ledger, projections"),
            ("consumers", "import grpc", "only facade and cli speak gRPC"),
            ("facade", "import consumers", "facade imports ledger"),
            ("publisher", "import ledger", "publisher imports no room"),
            ("publisher", "from usage.v1 import usage_pb2", "publisher imports no room"),
            ("ledger", "import publisher", "ledger imports the rooms below it"),
            ("consumers", "import publisher", "consumers import ledger, projections"),
            ("cli", "import kafka", "only consumers and publisher speak Kafka"),
            ("cli", "import stripe", "only billing speaks to Stripe"),
            ("ledger", "import stripe", "only billing speaks to Stripe"),
            ("billing", "import ledger", "billing imports aggregates and events"),
            ("billing", "import projections", "billing imports aggregates and events"),
            ("billing", "import aiohttp", "only facade speaks HTTP and to Prometheus"),
            ("facade", "import billing", "facade imports ledger"),
            ("jobs", "import billing", "jobs import ledger"),
            ("consumers", "import billing", "consumers import ledger, projections"),
            ("persistence", "import billing", "persistence imports events and projections"),
        ],
    )
    def test_a_forbidden_import_is_found(
        self, copy: Path, room: str, line: str, broken: str
    ) -> None:
        planted = copy / room / "planted.py"
        planted.write_text(f"{line}\n")
        try:
            result = lint_imports(copy)
        finally:
            planted.unlink()
        assert result.returncode == 1, result.stdout + result.stderr
        reported = [name for name in result.stdout.splitlines() if name.endswith("BROKEN")]
        assert any(name.startswith(broken) for name in reported), result.stdout
