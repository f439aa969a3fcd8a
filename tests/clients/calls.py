"""What a `callall` program printed: one call a line, in the order they were made."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

# The program gives itself a minute.
RUN_SECONDS_MAX = 90


@dataclass(frozen=True)
class Call:
    """`response` is proto3 JSON: a 64-bit number is a string, a field without a value is absent."""

    method: str
    code: str
    message: str
    # None if the call failed, a list for a stream.
    response: Any

    @classmethod
    def parse(cls, line: str) -> Self:
        fields = json.loads(line)
        return cls(
            fields["method"], fields["code"], fields.get("message", ""), fields.get("response")
        )


@dataclass(frozen=True)
class Calls:
    made: tuple[Call, ...]
    exit_code: int
    complaints: str

    def of(self, method: str) -> list[Call]:
        """Every call of a method, told by the end of its path, as `UsageService/GetBalance`."""
        return [call for call in self.made if call.method.endswith(f".{method}")]

    def only(self, method: str) -> Any:
        """The response of a method that was called once."""
        (call,) = self.of(method)
        return call.response


def run_callall(
    command: Sequence[str | Path], address: str, *options: str | Path, cwd: Path
) -> Calls:
    done = subprocess.run(
        [*command, *options, address],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )
    made = tuple(Call.parse(line) for line in done.stdout.splitlines())
    return Calls(made, done.returncode, done.stderr)
