"""One log, the same answers: the fold alone, the in-process bus, and Faust on a real broker."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.live_folding import LiveFolder
from tests.laws.histories import examples
from tests.store.backends import Backend, SQLiteBackend
from tests.views.bus import BusTopics, Published, send_log, wait_for, worker
from tests.views.logs import SHARD, Log, logs, long_log
from tests.views.runners import Answers, EmbeddedRun, fold_alone, place, read_embedded

SEED = 7


@pytest.fixture(scope="module")
def log() -> Log:
    """Weeks of forty payers, with everything that moves a balance."""
    return long_log(SEED)


@pytest.fixture(scope="module")
def expected(log: Log) -> Answers:
    answers = fold_alone(log)
    assert len(answers.alerts) > 20
    return answers


def answers_in(published: Published) -> Answers:
    """Repeats of an alert are the alert."""
    return Answers(published.readings, sorted(set(published.alerts), key=place, reverse=True))


class TestTheInProcessBus:
    def test_says_what_the_fold_says(self, backend: Backend, log: Log, expected: Answers) -> None:
        EmbeddedRun(backend.store, log, random.Random(SEED)).run()
        reader = backend.reader()
        assert expected == read_embedded(reader)
        reader.close()

    @examples(100)
    @given(logs(), st.randoms(use_true_random=False))
    def test_says_what_the_fold_says_of_any_history(self, any_log: Log, rng: random.Random) -> None:
        backend = SQLiteBackend(None)
        EmbeddedRun(backend.store, any_log, rng).run()
        reader = backend.reader()
        assert fold_alone(any_log) == read_embedded(reader)
        backend.close()

    def test_folded_anew_says_the_same(self, backend: Backend, log: Log, expected: Answers) -> None:
        run = EmbeddedRun(backend.store, log, random.Random(SEED))
        run.run()
        with backend.store.beside() as transaction:
            LiveFolder(SHARD)(transaction, run.events)
        reader = backend.reader()
        assert expected == read_embedded(reader)
        reader.close()


@pytest.mark.kafka
class TestFaust:
    @pytest.mark.parametrize("packed", [1, 50])
    def test_says_what_the_fold_says(
        self, bus: BusTopics, log: Log, expected: Answers, packed: int, tmp_path: Path
    ) -> None:
        send_log(bus, log, shard=SHARD, packed=packed)
        with worker(bus, tmp_path) as running:
            published = wait_for(bus, lambda now: answers_in(now) == expected)
            assert 0 == running.end(signal.SIGTERM)
        assert expected == answers_in(published)
        # Nobody was killed, so nothing was sent twice.
        assert len(expected.alerts) == len(published.alerts)
