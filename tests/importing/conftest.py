"""A scene for each test."""

from collections.abc import Iterator

import pytest

from tests.contract.data.scene import Scene


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Scene() as scene:
        yield scene
        assert [] == scene.calls.breaches()
