"""Killed at every step of a build, a promotion, a way back and a drop, while callers go on.

The same command, given again, goes on from what was committed. No call fails meanwhile, and what is
served in the end is the log folded anew.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.failpoints import OF_GENERATIONS
from tests.rebuild.conftest import STORES
from tests.rebuild.load import Load, fill
from tests.rebuild.scene import Place

EVENTS = 2_500
# What is looked at is not the speed, and a log that grows fast makes each comparison longer.
PAUSE_SECONDS = 0.1
BLOCK_LINES = 10
REBUILD = ("projections", "rebuild")
PROMOTE = ("projections", "promote")
ROLLBACK = ("projections", "rollback")
REPLAYED = ("replay-folding", "replay-folded")

# Each name is passed at least so often in its command.
WHILE_BUILDING = (
    "rebuild-begun", "rebuild-folding", "rebuild-folding:3", "rebuild-folded", "rebuild-folded:3",
    "rebuild-compared", "comparison-kept",
)  # fmt: skip
WHILE_PROMOTING = ("rebuild-compared", "comparison-kept", "before-change", "after-change")
WHILE_ROLLING_BACK = ("before-change", "after-change")
WHILE_DROPPING = ("before-drop", "dropping", "dropping:2")
RANDOM_KILLS = 6


def test_every_failpoint_is_tried() -> None:
    tried = {*WHILE_BUILDING, *WHILE_PROMOTING, *WHILE_ROLLING_BACK, *WHILE_DROPPING, *REPLAYED}
    assert set(OF_GENERATIONS) == {name.partition(":")[0] for name in tried}


class Stage:
    """A ledger with a service under load, for all tests of a store."""

    def __init__(self, place: Place, load: Load) -> None:
        self.place = place
        self.load = load

    def served(self) -> int:
        """The generation that is served."""
        return self._one("SELECT generation FROM served")

    def newest(self) -> int:
        """The generation that was begun last."""
        return self._one("SELECT max(number) FROM generations")

    def _one(self, statement: str) -> int:
        with self.place.database() as sql:
            ((number,),) = sql(statement)
        return int(number)

    def check(self) -> None:
        """No call failed, and the live rows are those of the log."""
        self.load.wait_for(5)
        self.load.check()
        assert EVENTS < self.place.compare()


@pytest.fixture(scope="module", params=STORES)
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("killed")
    with contextlib.ExitStack() as stack:
        url = ""
        if request.param == "postgres":
            server = request.getfixturevalue("postgres_server")
            url = server.new_ledger()
            stack.callback(server.drop_database, url)
        place = Place(folder, url)
        service = stack.enter_context(place.role())
        assert service.calls is not None
        fill(service.calls, EVENTS)
        load = stack.enter_context(
            Load(service.target, block_lines=BLOCK_LINES, pause_seconds=PAUSE_SECONDS)
        )
        yield Stage(place, load)
        load.check()
        assert [] == service.calls.breaches()


@pytest.mark.parametrize("failpoint", WHILE_BUILDING)
def test_a_build_goes_on(stage: Stage, failpoint: str) -> None:
    served = stage.served()
    stage.place.dies(*REBUILD, failpoint=failpoint)
    assert served == stage.served()
    begun = stage.newest()
    text = stage.place.do(*REBUILD)
    assert f"generation {begun} was compared with generation {served}" in text
    stage.place.do(*PROMOTE)
    stage.place.do("projections", "drop", str(served))
    assert begun == stage.served()
    stage.check()


@pytest.mark.parametrize("failpoint", WHILE_PROMOTING)
def test_a_promotion_is_made_or_not(stage: Stage, failpoint: str) -> None:
    served = stage.served()
    stage.place.do(*REBUILD)
    coming = stage.newest()
    stage.place.dies(*PROMOTE, failpoint=failpoint)
    if failpoint == "after-change":
        assert coming == stage.served()
    else:
        assert served == stage.served()
        stage.check()
        stage.place.do(*PROMOTE)
    stage.check()
    stage.place.do("projections", "drop", str(served))


@pytest.mark.parametrize("failpoint", WHILE_ROLLING_BACK)
def test_a_way_back_is_taken_or_not(stage: Stage, failpoint: str) -> None:
    served = stage.served()
    stage.place.do(*REBUILD, "--promote")
    promoted = stage.served()
    stage.place.dies(*ROLLBACK, failpoint=failpoint)
    if failpoint == "before-change":
        assert promoted == stage.served()
        stage.check()
        stage.place.do(*ROLLBACK)
    assert served == stage.served()
    stage.check()
    stage.place.do("projections", "drop", str(promoted))


@pytest.mark.parametrize("failpoint", WHILE_DROPPING)
def test_a_drop_goes_on(stage: Stage, failpoint: str) -> None:
    served = stage.served()
    stage.place.do(*REBUILD, "--promote")
    stage.place.dies("projections", "drop", str(served), failpoint=failpoint)
    stage.check()
    stage.place.do("projections", "drop", str(served))
    assert "dropped" == stage.place.states()[served]
    stage.check()


def test_killed_at_random_again_and_again(stage: Stage) -> None:
    """However often it is killed, it comes to its end."""
    served = stage.served()
    command = [sys.executable, "-m", "cli.main", *REBUILD, "--promote"]
    for number in range(RANDOM_KILLS):
        running = subprocess.Popen(
            [*command, "--config", str(stage.place.config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(0.4 + 0.35 * number)
        running.kill()
        assert running.wait() in {-signal.SIGKILL, 0}
    if served == stage.served():
        stage.place.do(*REBUILD, "--promote")
    assert served < stage.served()
    stage.check()
