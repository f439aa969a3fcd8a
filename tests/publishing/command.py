"""Runs `usage-ledger` as people and scripts do."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

COMMAND_SECONDS_MAX = 100


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        """What it printed with --json."""
        answer: dict[str, Any] = json.loads(self.out)
        return answer

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Received, recorded, repeated, rejected."""
        names = ("received", "recorded", "repeated", "rejected")
        received, recorded, repeated, rejected = (self.answer[name] for name in names)
        return received, recorded, repeated, rejected


def environment() -> dict[str, str]:
    """Ours without the settings of whoever runs the tests."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("USAGE_LEDGER_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def command_line(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "cli.main", *map(str, arguments)]


def usage_ledger(*arguments: str | Path, text: bytes | None = None) -> Ended:
    """Runs a command to its end; none may show a traceback."""
    ran = subprocess.run(
        command_line(*arguments),
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        capture_output=True,
        check=False,
        env=environment(),
        timeout=COMMAND_SECONDS_MAX,
    )
    ended = Ended(ran.returncode, ran.stdout.decode(), ran.stderr.decode())
    assert "Traceback" not in ended.out + ended.err
    return ended


def publish(target: str, source: Path | bytes, *options: str | Path, as_json: bool = True) -> Ended:
    """Publishes a file, or bytes through standard input."""
    arguments = ["--target", target, *options, *(["--json"] if as_json else [])]
    if isinstance(source, bytes):
        return usage_ledger("publish", "-", *arguments, text=source)
    return usage_ledger("publish", source, *arguments)
