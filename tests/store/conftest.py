"""A store of every backend, empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from persistence import Reader, WritableStore
from tests.store.backends import BACKENDS, Backend, PostgresBackend, SQLiteBackend


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
def store(backend: Backend) -> WritableStore:
    return backend.store


@pytest.fixture
def reader(backend: Backend) -> Iterator[Reader]:
    opened = backend.reader()
    yield opened
    opened.close()
