"""The Go module of clients/go calls every method of a running service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.calls import Calls, run_callall
from tests.clients.contract import ClientContract, ClientWithCredentials
from tests.clients.guarded_service import GuardedService, guarded_service
from tests.clients.running_service import running_service
from tests.clients.toolchain import BUILD_SECONDS_MAX, build, require

GO = Path(__file__).resolve().parents[2] / "clients" / "go"


@pytest.fixture(scope="module")
def callall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require("go")
    program = tmp_path_factory.mktemp("go") / "callall"
    build(["go", "vet", "./..."], cwd=GO)
    build(["go", "build", "-o", program, "./cmd/callall"], cwd=GO)
    return program


@pytest.fixture(scope="module")
def calls(callall: Path, tmp_path_factory: pytest.TempPathFactory) -> Calls:
    with running_service(tmp_path_factory.mktemp("service")) as address:
        return run_callall([callall], address, cwd=GO)


@pytest.mark.go
@pytest.mark.timeout(BUILD_SECONDS_MAX)
class TestGoClient(ClientContract):
    """The contract suite, with what the Go program printed."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedService]:
    with guarded_service(tmp_path_factory.mktemp("guarded")) as service:
        yield service


@pytest.fixture(scope="module")
def known(callall: Path, guarded: GuardedService) -> Calls:
    return run_callall([callall], guarded.address, *guarded.tls, *guarded.token, cwd=GO)


@pytest.fixture(scope="module")
def stranger(callall: Path, guarded: GuardedService) -> Calls:
    return run_callall([callall], guarded.address, *guarded.tls, cwd=GO)


@pytest.mark.go
@pytest.mark.timeout(BUILD_SECONDS_MAX)
class TestGoClientWithCredentials(ClientWithCredentials):
    """TLS, a client certificate and a token, as the Go program shows them."""
