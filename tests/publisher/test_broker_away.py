"""The broker paused, stopped, killed, or not there yet: nothing is lost, and the truth is told."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest

from publisher import Acknowledgement, BufferFull, NotDelivered, Publisher
from tests.publisher.samples import stops
from tests.publisher.topic import Topic, ids_of
from tests.servers.kafka import LocalBroker, Topics

pytestmark = [pytest.mark.endurance, pytest.mark.kafka, pytest.mark.slow]

ROOM = 200
WAIT_SECONDS_MAX = 60


@pytest.fixture
def topic(own_broker: LocalBroker) -> Topic:
    servers = own_broker.bootstrap_servers
    return Topic(servers, Topics(servers).create("usage.events", partitions=3))


def filled(publisher: Publisher) -> list[str]:
    """Publishes until there is no room; gives the IDs of what was taken."""
    taken: list[str] = []
    for event in stops(10 * ROOM):
        try:
            publisher.publish(event, timeout=0)
        except BufferFull:
            return taken
        taken.append(event.id)
    raise AssertionError("the buffer has no end")


class TestBackPressure:
    def test_a_paused_broker_fills_the_buffer_and_what_was_taken_arrives(
        self, own_broker: LocalBroker, topic: Topic
    ) -> None:
        with topic.publisher(buffer_events_max=ROOM) as publisher:
            publisher.connect(30)
            own_broker.pause()
            taken = filled(publisher)
            late = next(stops(1, word="late"))
            with pytest.raises(BufferFull, match=f"the buffer holds {ROOM} events"):
                publisher.publish(late, timeout=0.2)
            assert publisher.try_publish(late) is None
            assert (0, [], ROOM, 0) == publisher.flush(0.2)

            own_broker.resume()
            publisher.publish(late, timeout=WAIT_SECONDS_MAX)
            assert (ROOM + 1, [], 0, 0) == publisher.flush(WAIT_SECONDS_MAX)
        assert Counter([*taken, late.id]) == Counter(ids_of(topic.messages()))

    def test_publishing_goes_on_as_soon_as_there_is_room(
        self, own_broker: LocalBroker, topic: Topic
    ) -> None:
        with topic.publisher(buffer_events_max=ROOM) as publisher:
            publisher.connect(30)
            own_broker.pause()
            filled(publisher)
            resumed = threading.Timer(0.5, own_broker.resume)
            resumed.start()
            for event in stops(3 * ROOM, word="after"):
                publisher.publish(event, timeout=WAIT_SECONDS_MAX)
            resumed.join()
            assert (4 * ROOM, [], 0, 0) == publisher.flush(WAIT_SECONDS_MAX)


class TestRestarts:
    @pytest.mark.parametrize("packed", [False, True], ids=["alone", "packed"])
    @pytest.mark.parametrize("end", [LocalBroker.stop, LocalBroker.kill], ids=["stop", "kill"])
    def test_every_acknowledged_event_is_there_once(
        self,
        own_broker: LocalBroker,
        topic: Topic,
        end: Callable[[LocalBroker], None],
        packed: bool,
    ) -> None:
        events = list(stops(20_000))
        restarted = threading.Event()

        def restart() -> None:
            end(own_broker)
            own_broker.start()
            restarted.set()

        futures: dict[str, Future[Acknowledgement]] = {}
        with topic.publisher(buffer_events_max=2_000, packed=packed) as publisher:
            for number, event in enumerate(events):
                if number == len(events) // 4:
                    threading.Thread(target=restart).start()
                futures[event.id] = publisher.publish(event, timeout=WAIT_SECONDS_MAX)
            flushed = publisher.flush(WAIT_SECONDS_MAX)
        assert restarted.wait(WAIT_SECONDS_MAX)

        assert (len(events), [], 0, 0) == flushed
        assert all(futures[event.id].result(0).event_id == event.id for event in events)
        found = ids_of(topic.messages())
        assert Counter(event.id for event in events) == Counter(found)

    def test_events_wait_for_a_broker_that_comes_later(
        self, own_broker: LocalBroker, topic: Topic
    ) -> None:
        own_broker.stop()
        with topic.publisher() as publisher:
            futures = [publisher.publish(event) for event in stops(100)]
            assert (0, [], 100, 0) == publisher.flush(1)
            assert "ECONNREFUSED" in publisher.trouble
            own_broker.start()
            assert all(future.result(WAIT_SECONDS_MAX) for future in futures)
            assert "" == publisher.trouble
        assert 100 == len(ids_of(topic.messages()))


class TestTheEnd:
    def test_closing_while_the_broker_is_paused_names_what_may_be_lost(
        self, own_broker: LocalBroker, topic: Topic
    ) -> None:
        publisher = topic.publisher()
        publisher.publish(next(stops(1))).result(WAIT_SECONDS_MAX)
        own_broker.pause()
        try:
            futures = [publisher.publish(event) for event in stops(50, word="late")]
            flushed = publisher.close(timeout=0.5)
        finally:
            own_broker.resume()
        assert (1, 50, 0) == (flushed.acknowledged, len(flushed.failed), flushed.pending)
        for future in futures:
            error = future.exception(0)
            assert isinstance(error, NotDelivered)
            assert "closed before the event was acknowledged" in str(error)

    def test_events_that_no_broker_takes_fail_in_time_and_later_ones_go_on(
        self, own_broker: LocalBroker, topic: Topic
    ) -> None:
        with topic.publisher(delivery_timeout=2) as publisher:
            publisher.publish(next(stops(1))).result(WAIT_SECONDS_MAX)
            own_broker.stop()
            for event in stops(50, word="lost"):
                publisher.publish(event)
            flushed = publisher.flush(WAIT_SECONDS_MAX)
            assert (1, 50, 0) == (flushed.acknowledged, len(flushed.failed), flushed.pending)
            own_broker.start()
            found = self._until_acknowledged(publisher)
        assert {"000000", found} <= set(ids_of(topic.messages()))

    @staticmethod
    def _until_acknowledged(publisher: Publisher) -> str:
        for event in stops(100, word="again"):
            future = publisher.publish(event)
            if future.exception(WAIT_SECONDS_MAX) is None:
                return event.id
        raise AssertionError("nothing is acknowledged any more")

    def test_after_kill_9_the_same_ids_make_it_whole(
        self, own_broker: LocalBroker, topic: Topic, tmp_path: Path
    ) -> None:
        killed = subprocess.Popen(
            program(tmp_path, SERVICE, topic), env=environment(), stdout=subprocess.PIPE, text=True
        )
        assert killed.stdout is not None
        acknowledged = {killed.stdout.readline().strip() for _ in range(500)}
        killed.kill()
        killed.wait()
        acknowledged |= {line.strip() for line in killed.stdout if line.endswith("\n")}
        killed.stdout.close()

        assert acknowledged <= set(ids_of(topic.messages()))
        again = run(program(tmp_path, SERVICE, topic))
        assert 10_000 == len(again.splitlines())
        assert {event.id for event in stops(10_000)} == set(ids_of(topic.messages()))


class TestAFork:
    def test_leaves_the_publisher_to_the_parent(self, topic: Topic, tmp_path: Path) -> None:
        assert ["parent", "Forked", "0", "parent again"] == run(
            program(tmp_path, FORKING, topic)
        ).splitlines()
        assert {"000000", "after000000"} == set(ids_of(topic.messages()))


def program(folder: Path, text: str, topic: Topic) -> list[str | Path]:
    """The command that runs a service whose arguments are servers and topic."""
    path = folder / "service.py"
    path.write_text(textwrap.dedent(text))
    return [sys.executable, "-W", "ignore", path, topic.bootstrap_servers, topic.name]


def run(command: list[str | Path]) -> str:
    """What it prints; it may complain of nothing."""
    done = subprocess.run(
        command,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS_MAX,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


SERVICE = """
    import sys
    from publisher import Publisher
    from tests.publisher.samples import SOURCE, stops

    servers, topic = sys.argv[1:]
    with Publisher(servers, topic=topic, source=SOURCE, buffer_events_max=500) as publisher:
        for event in stops(10_000):
            told = publisher.publish(event)
            told.add_done_callback(lambda done: print(done.result().event_id, flush=True))
"""

FORKING = """
    import os, sys
    from publisher import Forked, Publisher
    from tests.publisher.samples import SOURCE, stops

    servers, topic = sys.argv[1:]
    with Publisher(servers, topic=topic, source=SOURCE) as publisher:
        publisher.publish(next(stops(1))).result(30)
        print("parent", flush=True)
        child = os.fork()
        if child == 0:
            try:
                publisher.publish(next(stops(1, word="child")))
            except Forked:
                print("Forked", flush=True)
            sys.exit(0)  # through the block's end, and everything that runs when Python ends
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        publisher.publish(next(stops(1, word="after"))).result(30)
        print("parent again", flush=True)
"""
