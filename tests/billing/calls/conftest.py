"""A service before the double, for each test."""

from collections.abc import Iterator

import pytest

from tests.billing.scene import BillingScene


@pytest.fixture
def scene() -> Iterator[BillingScene]:
    """With the laws of the ledger looked at when the test is over."""
    with BillingScene() as scene:
        yield scene
        assert [] == scene.calls.breaches()
