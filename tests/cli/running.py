"""A real service in a process of its own, and commands that are aimed at it."""

import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from tests.servers.ports import free_ports

START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 30
COMMAND_SECONDS_MAX = 60

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)


def stamp(time: dt.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def new_payer() -> str:
    return f"team:{uuid.uuid4()}"


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("USAGE_LEDGER_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def usage_ledger(*arguments: str, text: bytes = b"", code: int = 0) -> str:
    """Runs a command to its end and answers what it printed."""
    ran = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        input=text,
        capture_output=True,
        check=False,
        env=environment(),
        timeout=COMMAND_SECONDS_MAX,
    )
    told = f"{ran.stdout.decode(errors='replace')}\n{ran.stderr.decode(errors='replace')}"
    assert code == ran.returncode, told
    assert "Traceback" not in told
    return told if code else ran.stdout.decode()


class Service:
    """`usage-ledger serve` on a port of its own, and commands that are aimed at it."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        (port,) = free_ports(1)
        self.target = f"127.0.0.1:{port}"
        self.log = data_dir.with_suffix(".log")
        serve = ["serve", "--data-dir", str(data_dir), "--listen", self.target, *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", *serve],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def answers(self) -> bool:
        host, _, port = self.target.rpartition(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def run(self, *arguments: str, text: bytes = b"", code: int = 0) -> str:
        return usage_ledger(*arguments, "--target", self.target, text=text, code=code)

    def ask(self, *arguments: str, text: bytes = b"", code: int = 0) -> Any:
        """The JSON that a command prints."""
        told = self.run(*arguments, "--json", text=text, code=code)
        return json.JSONDecoder().raw_decode(told)[0]

    def publish(self, *events: dict[str, Any], code: int = 0) -> Any:
        lines = "\n".join(json.dumps(event) for event in events)
        return self.ask("publish", "-", text=lines.encode(), code=code)

    def cents(self, payer: str) -> int:
        (balance,) = self.ask("balance", payer)["balances"]
        cents: int = balance["credit_cents"]
        return cents

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS_MAX)


def event(kind: str, payer: str, instance: str, **fields: str) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "/tests",
        "type": f"usage.workspace_instance.{kind}.v1",
        "time": stamp(NOW),
        "data": {"workspaceInstanceId": instance, "attributionId": payer, **fields},
    }


def an_hour(payer: str, instance: str, *, user: str = "") -> list[dict[str, Any]]:
    """An hour of g1-large: 20 credits."""
    start = {"workspaceClass": "g1-large", "userId": user, "startedTime": stamp(NOW - 3 * HOUR)}
    return [
        event("started", payer, instance, **start),
        event("stopped", payer, instance, stoppedTime=stamp(NOW - 2 * HOUR)),
    ]


def encoded(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
