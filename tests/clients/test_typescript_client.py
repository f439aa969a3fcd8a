"""The TypeScript package of clients/typescript calls every method of a running service."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.calls import Calls, run_callall
from tests.clients.contract import ClientContract, ClientWithCredentials
from tests.clients.guarded_service import GuardedService, guarded_service
from tests.clients.running_service import running_service
from tests.clients.toolchain import BUILD_SECONDS_MAX, build, require

ROOT = Path(__file__).resolve().parents[2]
GENERATE = ROOT / "scripts" / "generate"
TYPESCRIPT = ROOT / "clients" / "typescript"


@pytest.fixture(scope="module")
def callall() -> Path:
    """Type-checks and compiles the package with its test program."""
    require("node", "npm")
    # Installs under the lock that generating takes too, for tests may run side by side.
    build([sys.executable, GENERATE, "--install", "--only", "typescript"], cwd=TYPESCRIPT)
    build(["npm", "run", "--silent", "build"], cwd=TYPESCRIPT)
    return TYPESCRIPT / "dist" / "test" / "callall.js"


@pytest.fixture(scope="module")
def calls(callall: Path, tmp_path_factory: pytest.TempPathFactory) -> Calls:
    with running_service(tmp_path_factory.mktemp("service")) as address:
        return run_callall(["node", callall], address, cwd=TYPESCRIPT)


@pytest.mark.node
@pytest.mark.timeout(BUILD_SECONDS_MAX)
class TestTypeScriptClient(ClientContract):
    """The contract suite, with what the TypeScript program printed."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedService]:
    with guarded_service(tmp_path_factory.mktemp("guarded")) as service:
        yield service


@pytest.fixture(scope="module")
def known(callall: Path, guarded: GuardedService) -> Calls:
    return run_callall(
        ["node", callall], guarded.address, *guarded.tls, *guarded.token, cwd=TYPESCRIPT
    )


@pytest.fixture(scope="module")
def stranger(callall: Path, guarded: GuardedService) -> Calls:
    return run_callall(["node", callall], guarded.address, *guarded.tls, cwd=TYPESCRIPT)


@pytest.mark.node
@pytest.mark.timeout(BUILD_SECONDS_MAX)
class TestTypeScriptClientWithCredentials(ClientWithCredentials):
    """TLS, a client certificate and a token, as the TypeScript program shows them."""
