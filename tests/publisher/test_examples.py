"""The programs that the page on publishing to Kafka shows: run, and shown as they are."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ledger.cloudevents import parse_line
from tests.clients.toolchain import BUILD_SECONDS_MAX, build, require
from tests.publisher.topic import Topic
from tests.servers.kafka import Topics

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "publishing-kafka.md"
PYTHON = ROOT / "clients" / "python" / "examples" / "publish.py"
GO = ROOT / "clients" / "go" / "examples"
TYPESCRIPT = ROOT / "clients" / "typescript"
EXAMPLE = TYPESCRIPT / "examples" / "kafka"

PAYER = "team:0b1f6f6e-6d0c-4a52-9d2b-0d1c6f1f8a11"
INSTANCE = "0d5a1c3e-6c1f-4f6e-8b1c-2f6b8c1d9e42"
STARTED, STOPPED = "2026-11-01T08:00:00Z", "2026-11-01T09:30:00Z"
IDS = [f"{INSTANCE}/started", f"{INSTANCE}/stopped", "ticket-4711"]
TYPES = [
    "usage.workspace_instance.started.v1",
    "usage.workspace_instance.stopped.v1",
    "usage.credit_note.issued.v1",
]
DATA: list[dict[str, object]] = [
    {
        "workspaceInstanceId": INSTANCE,
        "attributionId": PAYER,
        "workspaceId": "demo-1",
        "workspaceClass": "g1-large",
        "startedTime": STARTED,
    },
    {"workspaceInstanceId": INSTANCE, "attributionId": PAYER, "stoppedTime": STOPPED},
    {"attributionId": PAYER, "credits": 5, "description": "Sorry for the outage"},
]
RUN_SECONDS_MAX = 60


def lines() -> list[bytes]:
    """What each program publishes, as lines."""
    return [
        json.dumps(
            {
                "specversion": "1.0",
                "id": event_id,
                "source": "/workspace-manager/eu01",
                "type": kind,
                "time": time,
                "datacontenttype": "application/json",
                "data": data,
            }
        ).encode()
        for event_id, kind, time, data in zip(
            IDS, TYPES, (STARTED, STOPPED, STOPPED), DATA, strict=True
        )
    ]


@pytest.fixture
def topic(topics: Topics) -> Topic:
    return Topic(topics.bootstrap_servers, topics.create("usage.events", partitions=4))


class ExampleContract:
    """The same for the program of each language."""

    @pytest.fixture
    def command(self) -> Sequence[str | Path]:
        raise NotImplementedError

    def test_what_it_publishes_is_what_the_ledger_takes_in(
        self, topic: Topic, command: Sequence[str | Path]
    ) -> None:
        subprocess.run(
            [*command, topic.bootstrap_servers, topic.name],
            check=True,
            timeout=RUN_SECONDS_MAX,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        messages = topic.messages()

        assert IDS == [message.headers["ce_id"].decode() for message in messages]
        assert TYPES == [message.headers["ce_type"].decode() for message in messages]
        assert {PAYER.encode()} == {message.key for message in messages}
        assert {b"application/protobuf"} == {message.content_type for message in messages}
        assert {b"1.0"} == {message.headers["ce_specversion"] for message in messages}
        assert {b"/workspace-manager/eu01"} == {one.headers["ce_source"] for one in messages}
        taken = [arrival for message in messages for arrival in message.arrivals()]
        assert list(map(parse_line, lines())) == taken


@pytest.mark.kafka
class TestPython(ExampleContract):
    @pytest.fixture
    def command(self) -> Sequence[str | Path]:
        return [sys.executable, "-W", "ignore", PYTHON]


@pytest.mark.go
@pytest.mark.kafka
@pytest.mark.timeout(BUILD_SECONDS_MAX)
class TestGo(ExampleContract):
    @pytest.fixture
    def command(self, tmp_path: Path) -> Sequence[str | Path]:
        require("go")
        program = tmp_path / "publishkafka"
        build(["go", "vet", "./..."], cwd=GO)
        build(["go", "build", "-o", program, "./publishkafka"], cwd=GO)
        return [program]

    def test_it_builds_without_a_c_compiler(self, tmp_path: Path) -> None:
        require("go")
        program = tmp_path / "publishkafka"
        build(["env", "CGO_ENABLED=0", "go", "build", "-o", program, "./publishkafka"], cwd=GO)


@pytest.mark.node
@pytest.mark.kafka
@pytest.mark.timeout(BUILD_SECONDS_MAX)
class TestTypeScript(ExampleContract):
    @pytest.fixture
    def command(self) -> Sequence[str | Path]:
        require("node", "npm")
        generate = ROOT / "scripts" / "generate"
        build([sys.executable, generate, "--install", "--only", "typescript"], cwd=TYPESCRIPT)
        build(["npm", "run", "--silent", "build"], cwd=TYPESCRIPT)
        installed = EXAMPLE / "node_modules" / ".package-lock.json"
        lock = EXAMPLE / "package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            build(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=EXAMPLE)
        build(["npm", "run", "--silent", "build"], cwd=EXAMPLE)
        return ["node", EXAMPLE / "dist" / "publish.js"]

    def test_its_lock_names_no_place_to_fetch_from(self) -> None:
        packages = json.loads((EXAMPLE / "package-lock.json").read_text())["packages"]
        assert {"../.."} == {one["resolved"] for one in packages.values() if "resolved" in one}


class TestThePage:
    @pytest.mark.parametrize(
        ("language", "program"),
        [
            ("python", PYTHON),
            ("go", GO / "publishkafka" / "main.go"),
            ("ts", EXAMPLE / "publish.ts"),
        ],
    )
    def test_shows_the_programs_as_they_run(self, language: str, program: Path) -> None:
        block = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
        assert program.read_text() in block.findall(PAGE.read_text())
