"""A service hears what Kafka's client has to say; the ledger's own processes turn it down."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _a_service_of_its_own() -> Iterator[None]:
    """Undo what tests of the ledger's rooms, in the same process, have set for their clients."""
    library = logging.getLogger("kafka")
    before = library.level
    library.setLevel(logging.WARNING)
    yield
    library.setLevel(before)
