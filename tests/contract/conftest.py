"""A scene for each test: in memory, which is the same code over the same tables."""

from collections.abc import Iterator

import pytest

from tests.contract.data.scene import CENT_PRICES, Scene


@pytest.fixture
def scene() -> Iterator[Scene]:
    """With the default prices."""
    with Scene() as scene:
        yield scene
        assert [] == scene.calls.breaches()


@pytest.fixture
def cent_scene() -> Iterator[Scene]:
    """Class `cent` costs a cent a minute."""
    with Scene(prices=CENT_PRICES) as scene:
        yield scene
        assert [] == scene.calls.breaches()
