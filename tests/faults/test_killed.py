"""SIGKILL at every named failpoint and at random: the numbers are as if it had not happened."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import grpc
import pytest

from ledger.failpoints import (
    NAMES,
    OF_BILLING,
    OF_ERASURE,
    OF_GENERATIONS,
    OF_PACKS,
    OF_ROTATION,
    OF_THE_CLUSTER,
    OF_THE_SUMS,
    OF_THE_TREE,
)
from persistence.sqlite import FILE_NAME
from tests.faults.duties import Duties, Numbers, dies, service
from tests.oracle.synthetic import synthetic_lines

# Each name is passed at least that often in that phase, however the work falls into groups. The
# first commit is that of the configured prices, at start.
DURING: dict[str, tuple[str, ...]] = {
    "take_over": (
        "before-append:2",
        "after-append",
        "in-import:2",
        "before-fold:9",
        "after-fold",
        "before-commit:2",
        "after-commit:2",
    ),
    "publish_early": (
        "before-append",
        "after-append",
        "before-fold:5",
        "after-fold",
        "before-commit:2",
        "after-commit:2",
    ),
    "reconcile": (
        "before-append",
        "after-append",
        "before-fold:2",
        "after-fold",
        "before-commit:2",
        "after-commit:2",
    ),
    "reset": (
        "between-works:3",
        "in-reset:5",
        "before-append:3",
        "after-append:2",
        "before-fold:30",
        "after-fold:4",
        "before-commit:2",
        "after-commit:2",
        "before-commit:3",
    ),
    "publish_late": ("after-append", "before-fold:5", "before-commit:2", "after-commit:2"),
    "void": (
        "before-append:2",
        "after-append:2",
        "before-fold:3",
        "before-fold:90",
        "after-fold",
        "before-commit:2",
        "after-commit:2",
        "after-commit:15",
    ),
    "publish_anew": ("after-append", "before-commit:2"),
}
ELSEWHERE = ("before-checkpoint", "after-checkpoint", "after-clear", "catching-up", "before-close")
RANDOM_KILLS = 12
CHECKPOINT_INSTANCES = (
    21_000  # three events each: more than the writer lets pass between checkpoints
)


class Stage:
    """What an undisturbed service leaves before each phase, and the numbers at the end."""

    def __init__(self, folder: Path) -> None:
        """Run through once."""
        self.duties = Duties(time.time_ns())
        self._folder = folder
        data_dir = folder / "undisturbed"
        for phase in Duties.PHASES:
            with service(data_dir) as running:
                pass
            shutil.copytree(data_dir, folder / phase)
            with service(data_dir) as running:
                self.duties.do(phase, running.calls)
        with service(data_dir) as running:
            self.duties.reconcile(running.calls)
            self.numbers: Numbers = self.duties.numbers(running.calls)

    def before(self, phase: str, data_dir: Path) -> Path:
        """Give a copy of the data directory before a phase."""
        shutil.copytree(self._folder / phase, data_dir)
        return data_dir

    def finish(self, data_dir: Path) -> None:
        """Start again, do the work again from the beginning, compare."""
        with service(data_dir) as running:
            self.duties.do_all(running.calls)
            assert self.numbers == self.duties.numbers(running.calls)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


def test_every_failpoint_is_tried() -> None:
    tried = {point.partition(":")[0] for points in DURING.values() for point in points}
    elsewhere = {*ELSEWHERE, *OF_THE_CLUSTER, *OF_BILLING, *OF_THE_TREE, *OF_THE_SUMS}
    elsewhere |= {*OF_GENERATIONS, *OF_ERASURE, *OF_PACKS, *OF_ROTATION}
    assert set(NAMES) == tried | elsewhere


@pytest.mark.parametrize(
    ("phase", "failpoint"), [(phase, point) for phase, points in DURING.items() for point in points]
)
def test_killed_at_a_failpoint(stage: Stage, tmp_path: Path, phase: str, failpoint: str) -> None:
    data_dir = stage.before(phase, tmp_path / "data")
    dies(stage.duties, phase, service(data_dir, failpoint))
    stage.finish(data_dir)


def test_killed_at_random_moments(stage: Stage, tmp_path: Path) -> None:
    """Killed again and again while everything is done from the beginning."""
    seed = time.time_ns() % 10**6
    rng = random.Random(seed)
    data_dir = tmp_path / "data"
    for _ in range(RANDOM_KILLS):
        running = service(data_dir).start()
        assert [] == running.calls.breaches(), f"seed {seed}"
        assert running.process is not None
        timer = threading.Timer(rng.uniform(0.002, 0.35), running.process.kill)
        timer.start()
        with contextlib.suppress(grpc.RpcError):
            while timer.is_alive():
                stage.duties.do_all(running.calls)
        timer.join()
        running.wait_dead()
    stage.finish(data_dir)


@pytest.mark.parametrize(
    "failpoint", ["before-append", "after-append", "before-commit", "after-commit"]
)
def test_killed_at_the_first_start(stage: Stage, tmp_path: Path, failpoint: str) -> None:
    with pytest.raises(RuntimeError, match="did not start"):
        service(tmp_path / "data", failpoint).start()
    stage.finish(tmp_path / "data")


@pytest.mark.parametrize("failpoint", ["after-clear", "catching-up", "before-fold:4"])
def test_killed_while_the_log_is_folded_anew(stage: Stage, tmp_path: Path, failpoint: str) -> None:
    data_dir = stage.before("publish_late", tmp_path / "data")
    with contextlib.closing(sqlite3.connect(data_dir / FILE_NAME)) as ledger, ledger:
        ledger.execute("UPDATE projections SET paused_at = 7, paused_reason = 'a test'")
    with pytest.raises(RuntimeError, match="did not start"):
        service(data_dir, failpoint).start()
    stage.finish(data_dir)


def test_killed_while_shutting_down(stage: Stage, tmp_path: Path) -> None:
    data_dir = stage.before("reset", tmp_path / "data")
    running = service(data_dir, "before-close").start()
    running.calls.reconcile()
    assert running.stop() == -9
    stage.finish(data_dir)


@pytest.fixture(scope="module")
def long_run() -> list[bytes]:
    return list(synthetic_lines(3, CHECKPOINT_INSTANCES, 20))


@pytest.mark.parametrize(
    "failpoint", ["before-checkpoint", "after-checkpoint", "before-checkpoint:2"]
)
def test_killed_around_a_checkpoint(tmp_path: Path, long_run: list[bytes], failpoint: str) -> None:
    running = service(tmp_path / "data", failpoint)
    with running, contextlib.suppress(grpc.RpcError):
        running.calls.publish(long_run, delivery="long", block_lines=2_000)
        # The second checkpoint begins with the first group after the first has ended.
        for _ in range(2_000):
            running.calls.reconcile()
            time.sleep(0.02)
    assert running.wait_dead() == -9
    with service(tmp_path / "data") as again:
        again.calls.publish(long_run, delivery="long", block_lines=2_000)
        counts = again.calls.publish(long_run[-5:], delivery="once more")
        assert (5, 0, 5) == (counts.received, counts.recorded, counts.repeated)
        assert [] == again.calls.breaches()
