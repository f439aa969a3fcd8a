"""A store for a service whose tree is tried, on SQLite and on PostgreSQL, and its back door."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.backends import POSTGRES, SQLITE, choose
from tests.proofs.scene import BackDoor

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer


BACKENDS = [SQLITE, pytest.param(POSTGRES, marks=pytest.mark.postgres)]


def _places(request: pytest.FixtureRequest, folder: Path) -> Iterator[BackDoor]:
    server: PostgresServer | None = None
    if request.param == POSTGRES:
        server = request.getfixturevalue("postgres_server")
    with choose(request.param, server) as backend:
        data_dir = folder / "ledger"
        urls = backend.settings(data_dir).get("postgres", {}).get("urls", [])
        yield BackDoor(data_dir, urls[0] if urls else "")
        backend.close()


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BackDoor]:
    """Where a service of the test lies, and how somebody gets at its rows without it."""
    yield from _places(request, tmp_path)


@pytest.fixture(params=BACKENDS, scope="module")
def shared_place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BackDoor]:
    """The same for a ledger that the tests of a module share."""
    yield from _places(request, tmp_path_factory.mktemp("shared"))
