"""Every test of the contract holds on every backend; and a scene for each test.

A scene is in memory where the backend has such a thing: the same code over the same tables.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.contract.data.scene import CENT_PRICES, Scene
from tests.harness.backends import POSTGRES, SHARDS, SQLITE, choose

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer

POSTGRES_CASES_MAX = 3  # of one test


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on every backend, unless it is about one: mark it `embedded`."""
    names = [SQLITE, POSTGRES]
    if metafunc.definition.get_closest_marker("sharded"):
        names.append(SHARDS)
    if metafunc.definition.get_closest_marker("embedded"):
        names = [SQLITE]
    metafunc.parametrize(
        "_backend",
        [pytest.param(n, marks=[pytest.mark.postgres] if n == POSTGRES else []) for n in names],
        indirect=True,
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a test with many cases run a few on PostgreSQL: the others differ before the store."""
    cases: Counter[str] = Counter()
    left_out: list[pytest.Item] = []
    for item in items:
        function = getattr(item, "originalname", None)
        callspec = getattr(item, "callspec", None)
        if callspec is None or callspec.params.get("_backend") != POSTGRES:
            continue
        assert item.parent is not None
        cases[f"{item.parent.nodeid}::{function}"] += 1
        if cases[f"{item.parent.nodeid}::{function}"] > POSTGRES_CASES_MAX:
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        dropped = set(map(id, left_out))
        items[:] = [item for item in items if id(item) not in dropped]


@pytest.fixture(autouse=True)
def _backend(request: pytest.FixtureRequest) -> Iterator[None]:
    server: PostgresServer | None = None
    if request.param == POSTGRES:
        server = request.getfixturevalue("postgres_server")
    with choose(request.param, server) as backend:
        yield
        backend.close()


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
