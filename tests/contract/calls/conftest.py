"""A service of its own for each test, under a clock that the test moves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Calls, InProcessService, ManualClock, settings_for


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock("2026-11-01T08:00:00Z")


@pytest.fixture
def service(tmp_path: Path, clock: ManualClock) -> Iterator[InProcessService]:
    with InProcessService(settings_for(tmp_path), clock=clock) as service:
        yield service


@pytest.fixture
def calls(service: InProcessService) -> Calls:
    return service.calls
