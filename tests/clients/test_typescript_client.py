"""The TypeScript package of clients/typescript calls every method of a running service."""

import sys
from pathlib import Path

import pytest

from tests.clients.calls import Calls, run_callall
from tests.clients.contract import ClientContract
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
