"""Which store the services of a test run on: the same tests hold on every one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer

SQLITE, SHARDS, POSTGRES = "sqlite", "three-shards", "postgres"


class Backend:
    """Gives the settings of a store; a folder always means the same database."""

    def __init__(self, name: str, server: PostgresServer | None) -> None:
        """Make databases in a server, if the backend needs one."""
        self.name = name
        self._server = server
        self._databases: dict[Path | None, str] = {}
        self._borrowed: list[str] = []

    def settings(self, data_dir: Path | None) -> dict[str, Any]:
        """Give what to set for a service whose data would lie in a folder; None: nowhere."""
        if self.name == SHARDS:
            return {"shards": {"count": 3}}
        if self.name != POSTGRES:
            return {}
        assert self._server is not None
        url = self._databases.get(data_dir)
        if url is None or data_dir is None:
            url = self._databases[data_dir] = self._server.borrow_ledger()
            self._borrowed.append(url)
        return {"store": "postgres", "postgres": {"urls": [url]}}

    def close(self) -> None:
        """Give the databases back that were borrowed."""
        if self._server is not None:
            for url in self._borrowed:
                self._server.give_back_ledger(url)


_chosen = Backend(SQLITE, None)


def chosen() -> Backend:
    """Give the backend of the test that runs."""
    return _chosen


@contextmanager
def choose(name: str, server: PostgresServer | None = None) -> Iterator[Backend]:
    """Run services on a backend for as long as the block lasts."""
    global _chosen  # noqa: PLW0603  # a test is told by its conftest, and there is one at a time
    before, _chosen = _chosen, Backend(name, server)
    try:
        yield _chosen
    finally:
        _chosen = before
