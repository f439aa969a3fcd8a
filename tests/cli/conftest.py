"""One service for all commands that need no other; every test brings payers of its own."""

from collections.abc import Iterator

import pytest

from tests.cli.running import Service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("service") / "ledger", "--no-jobs")
    yield service
    service.stop()
