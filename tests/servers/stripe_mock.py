"""stripe-mock for tests: built by Go's own means into the cache once, else a loud skip.

It knows the shape of requests of API v1 and nothing else: no state, no v2.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.servers.ports import free_ports

VERSION = "v0.203.0"
MODULE = "github.com/stripe/stripe-mock"
# It is fetched and compiled the first time, in about half a minute.
BUILD_SECONDS_MAX = 600
START_SECONDS_MAX = 30
# What Go says when nobody answers. A wrong checksum is another matter, and fails.
UNREACHABLE = ("dial tcp", "no such host", "connection refused", "i/o timeout", "GOPROXY=off")
# What one says that is older than the module asks for.
TOO_OLD = ("invalid go version", "requires go >=")


class ToolMissing(Exception):
    """It cannot be had here; the text says what is missing."""


def binary() -> Path:
    """Give the program; the first time Go fetches and builds it."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    cache = (Path(given) if given else Path.home() / ".cache") / "usage-ledger"
    folder = cache / f"stripe-mock-{VERSION}"
    program = folder / "stripe-mock"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "stripe-mock.lock").open("w") as lock:
        # Several runs of tests may begin at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(folder)
    return program


def _build(folder: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise ToolMissing("stripe-mock is not in the cache, and `go` is not on the PATH")
    # Beside the real place and then moved, so that a build that was cut off is never taken for one.
    building = folder.with_name(folder.name + ".building")
    shutil.rmtree(building, ignore_errors=True)
    done = subprocess.run(
        [go, "install", f"{MODULE}@{VERSION}"],
        env=os.environ | {"GOBIN": str(building), "GOFLAGS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_SECONDS_MAX,
        check=False,
    )
    if done.returncode != 0 and any(sign in done.stdout for sign in UNREACHABLE + TOO_OLD):
        raise ToolMissing(f"`{go}` cannot have {MODULE}: {done.stdout.splitlines()[-1]}")
    if done.returncode != 0:
        raise RuntimeError(f"{MODULE} was not built:\n{done.stdout}")
    building.rename(folder)


@contextmanager
def running(log: Path) -> Iterator[str]:
    """Run it on loopback, and give its address."""
    # Without an address for HTTPS it opens one on all interfaces.
    http, https = free_ports(2)
    command = [
        str(binary()),
        "-http-addr",
        f"127.0.0.1:{http}",
        "-https-addr",
        f"127.0.0.1:{https}",
    ]
    address = f"http://127.0.0.1:{http}"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not _answers(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("stripe-mock did not start:\n" + log.read_text(errors="replace"))
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait()


def _answers(address: str) -> bool:
    try:
        # Without a key it is refused, which is an answer.
        return httpx.get(f"{address}/v1/customers", trust_env=False).status_code == 401
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def stripe_mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a stripe-mock; mark what asks for it `stripe_mock`."""
    log = tmp_path_factory.mktemp("stripe-mock") / "log"
    try:
        binary()
    except ToolMissing as missing:
        pytest.skip(str(missing))
    with running(log) as address:
        yield address
