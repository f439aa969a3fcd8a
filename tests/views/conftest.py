"""A store of every backend, empty; and a bus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.kafka import Topics
from tests.store.backends import BACKENDS, Backend, PostgresBackend, SQLiteBackend
from tests.views.bus import BusTopics

PARTITIONS = 3


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    opened: Backend
    if request.param == "postgres":
        opened = PostgresBackend(request.getfixturevalue("ledger_database"))
    else:
        opened = SQLiteBackend(tmp_path / "ledger" if request.param == "file" else None)
    yield opened
    opened.close()


@pytest.fixture
def bus(topics: Topics) -> BusTopics:
    return BusTopics.create(topics, partitions=PARTITIONS)
