"""The service as a process of its own, as users run it; it can be killed and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.harness.service import Calls

START_SECONDS_MAX = 60


class ServiceProcess:
    """`with ServiceProcess(tmp_path) as service: service.calls.balance_cents(…)`."""

    def __init__(
        self,
        data_dir: Path,
        *,
        options: Sequence[str] = ("--no-jobs",),
        failpoint: str = "",
        parts_with_failpoint: str = "jobs",
    ) -> None:
        """Prepare; `failpoint` kills the process there (see `ledger.failpoints`)."""
        self.data_dir = data_dir
        self._parts = parts_with_failpoint
        self._options = options
        self._failpoint = failpoint
        self.process: subprocess.Popen[bytes] | None = None
        self.target = ""
        self.calls: Calls
        self._log_path = data_dir.with_suffix(".log")

    def start(self) -> Self:
        """Start and wait until it serves."""
        environment = {**os.environ, "USAGE_LEDGER_FAILPOINT": self._failpoint}
        if self._failpoint:
            # Followers commit when they like, and a failpoint is counted by commits.
            environment["USAGE_LEDGER_SERVE__PARTS"] = self._parts
        command = [sys.executable, "-m", "cli.main", "serve", "--data-dir", str(self.data_dir)]
        command += ["--listen", "127.0.0.1:0", *self._options]
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        self._log_path.write_text("")
        with self._log_path.open("w") as log:
            self.process = subprocess.Popen(
                command, stderr=log, env=environment, start_new_session=True
            )
        self.target = f"127.0.0.1:{self._wait_for_port()}"
        self.calls = Calls(self.target)
        return self

    @property
    def log(self) -> str:
        """What the service has written to standard error since it was started last."""
        return self._log_path.read_text()

    def _wait_for_port(self) -> str:
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS_MAX
        is_over = False
        while not is_over:
            # One that dies at a failpoint may have served for a moment: first this, then the log.
            is_over = self.process.poll() is not None or time.monotonic() > deadline
            found = re.search(r"serving on .*:(\d+)$", self.log, re.MULTILINE)
            if found:
                return found[1]
            time.sleep(0.02)
        self.process.kill()
        self.process.wait()
        raise RuntimeError("the service did not start:\n" + self.log)

    def kill(self) -> None:
        """Kill it as `kill -9` does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.calls.close()

    def wait_dead(self, timeout: float = 60) -> int:
        """Wait until it has died by itself; give its exit code (negative: the signal)."""
        assert self.process is not None
        code = self.process.wait(timeout)
        self.calls.close()
        return code

    def stop(self) -> int:
        """Tell it to stop, and wait; give its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(START_SECONDS_MAX)
        self.calls.close()
        return code

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop what still runs."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
