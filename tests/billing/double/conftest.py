"""A fresh double for each test."""

from __future__ import annotations

import pytest

from tests.billing.double.scenes import Shop, opened
from tests.stripe_double import StripeDouble


@pytest.fixture
def double() -> StripeDouble:
    """An empty account on the first of November."""
    return StripeDouble(start="2026-11-01T00:00:00Z")


@pytest.fixture
def shop(double: StripeDouble) -> Shop:
    """An account with a meter and a price."""
    return opened(double)
