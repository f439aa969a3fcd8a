"""A ledger on either store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rebuild.scene import Place

STORES = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres))


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "sqlite":
        yield Place(tmp_path)
        return
    server = request.getfixturevalue("postgres_server")
    url = server.new_ledger()  # not a borrowed one: what is done to it is not undone by emptying it
    yield Place(tmp_path, url)
    server.drop_database(url)
