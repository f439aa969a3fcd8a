"""Processes of a cluster: a role with its configuration, started, killed, paused and stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.harness import Calls

START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
PROGRAM = ("-m", "cli.main")  # what Python is told to run


def toml_of(settings: Mapping[str, Any], prefix: str = "") -> str:
    """Write settings as TOML; a JSON string, number, switch or list is one there, too."""
    plain = [
        f"{name} = {json.dumps(value)}"
        for name, value in settings.items()
        if not isinstance(value, Mapping)
    ]
    tables = [
        f"\n[{prefix}{name}]\n" + toml_of(value, f"{prefix}{name}.")
        for name, value in settings.items()
        if isinstance(value, Mapping)
    ]
    return "\n".join(plain + tables) + "\n"


class RoleProcess:
    """One process of a role."""

    def __init__(
        self,
        role: str,
        settings: Mapping[str, Any],
        folder: Path,
        *,
        failpoint: str = "",
        program: Sequence[str] = PROGRAM,
    ) -> None:
        """Prepare; `with` starts it. `program` is what Python is told to run."""
        self.role = role
        self._program = program
        self.failpoint = failpoint
        self._settings = settings
        self._folder = folder
        self.name = f"{role}-{id(self):x}"
        self._log_path = folder / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.calls: Calls | None = None
        self.target = ""

    def start(self) -> Self:
        """Start it, and wait until it says that it runs."""
        config = self._folder / f"{self.name}.toml"
        settings = {"listen": "127.0.0.1:0", **self._settings}
        config.write_text(toml_of(settings))
        environment = {**os.environ, "USAGE_LEDGER_FAILPOINT": self.failpoint}
        command = [sys.executable, *self._program, self.role, "--config", str(config)]
        with self._log_path.open("a") as log:
            log.write(f"---- {self.role} starts\n")
            log.flush()
            self._log_start = log.tell()
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        self._wait_until_running()
        return self

    def _wait_until_running(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            said = self.log[self._log_start :]
            if self.role != "serve" and f"usage-ledger {self.role} is running" in said:
                return
            port = re.search(r"is serving on \S*?:(\d+)$", said, re.MULTILINE)
            if port:
                self.target = f"127.0.0.1:{port[1]}"
                self.calls = Calls(self.target)
                return
            if self.process.poll() is not None:
                if self.failpoint and self.process.returncode == -signal.SIGKILL:
                    return  # it has died where it was told to
                break
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"{self.role} did not start:\n{self.log[self._log_start :]}")

    @property
    def log(self) -> str:
        """What it has said since it was made."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    @property
    def lives(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal: SIGSTOP makes a zombie of it, SIGCONT wakes it."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it as `kill -9` does."""
        self._hang_up()
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int:
        """Stop it in order; give its exit code."""
        self._hang_up()
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        return self.process.returncode

    def restart(self) -> Self:
        """Kill it and start it again, without a failpoint."""
        self.kill()
        self.failpoint = ""
        return self.start()

    def _hang_up(self) -> None:
        if self.calls is not None:
            self.calls.close()
            self.calls = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self.process is not None:
            sys.stderr.write(f"\n==== {self.name} said:\n{self.log[-4000:]}\n")
        self._hang_up()
        if self.lives:
            self.kill()


def wait_until(holds: Any, *, seconds: float = 60.0, what: str = "it") -> None:
    """Wait until something holds; an assertion says what did not."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        last = holds()
        if last:
            return
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come within {seconds} s; last seen: {last!r}")
