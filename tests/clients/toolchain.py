"""Building clients with toolchains that a machine may lack, or may have without a network."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

# A first build fetches packages and, for Go, compiles gRPC.
BUILD_SECONDS_MAX = 600

# What Go and npm say when nobody answers. A wrong checksum is another matter, and fails.
UNREACHABLE = ("dial tcp", "ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT")


def require(*tools: str) -> None:
    """Skips the test unless every tool is on the PATH."""
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"`{tool}` is not on the PATH")


def build(command: Sequence[str | Path], *, cwd: Path) -> None:
    """Runs one step; skips the test if what the step must fetch is out of reach."""
    done = subprocess.run(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_SECONDS_MAX,
        check=False,
    )
    if done.returncode != 0 and any(sign in done.stdout for sign in UNREACHABLE):
        words = " ".join(str(word) for word in command)
        pytest.skip(f"`{words}` cannot fetch what it needs: {done.stdout.splitlines()[-1]}")
    assert 0 == done.returncode, done.stdout
