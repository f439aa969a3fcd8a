"""Publishing to a real broker: what is on the topic, what is told, who may publish."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import threading
from collections import Counter
from concurrent.futures import wait
from typing import Any

import pytest

from ledger.cloudevents import parse_line
from publisher import (
    Acknowledgement,
    Closed,
    InvalidEvent,
    NotAcknowledged,
    NotDelivered,
    Publisher,
    Unreachable,
    credit_note_issued,
    workspace_instance_stopped,
)
from tests.publisher.samples import (
    INSTANCE,
    NOON,
    PAYER,
    SOURCE,
    lines_of_each,
    one_of_each,
    stops,
)
from tests.publisher.topic import Topic, ids_of
from tests.servers.kafka import Topics

pytestmark = pytest.mark.kafka

# Until then it has been told what is wrong; in one second a machine that stalls is not.
ANSWER_SECONDS = 5

PARTITIONS = 4


@pytest.fixture
def topic(topics: Topics) -> Topic:
    name = topics.create("usage.events", partitions=PARTITIONS)
    return Topic(topics.bootstrap_servers, name)


class TestMessages:
    @pytest.mark.parametrize("packed", [False, True], ids=["alone", "packed"])
    @pytest.mark.parametrize("kind", ["started", "stopping", "stopped", "note"])
    def test_the_ledger_takes_in_what_the_line_says(
        self, topic: Topic, kind: str, packed: bool
    ) -> None:
        with topic.publisher(packed=packed) as publisher:
            publisher.publish(one_of_each()[kind])
        (message,) = topic.messages()
        assert [parse_line(json.dumps(lines_of_each()[kind]).encode())] == message.arrivals()
        assert PAYER.encode() == message.key

    @pytest.mark.parametrize("packed", [False, True], ids=["alone", "packed"])
    def test_the_events_of_a_payer_are_in_one_partition_in_their_order(
        self, topic: Topic, packed: bool
    ) -> None:
        with topic.publisher(packed=packed) as publisher:
            for event in stops(2_000, payers=7):
                publisher.publish(event)
        messages = topic.messages()
        payers = {message.key for message in messages}
        assert 7 == len(payers)
        for payer in payers:
            of_payer = [message for message in messages if message.key == payer]
            assert 1 == len({message.partition for message in of_payer})
            assert sorted(ids_of(of_payer)) == ids_of(of_payer)
        assert 2_000 == len(ids_of(messages))

    def test_packed_there_are_far_fewer_messages(self, topic: Topic) -> None:
        with topic.publisher(packed=True) as publisher:
            for event in stops(5_000, payers=5):
                publisher.publish(event)
        messages = topic.messages()
        assert 5_000 == len(ids_of(messages))
        assert len(messages) < 1_000


class TestWhatIsTold:
    def test_a_future_tells_where_the_event_is(self, topic: Topic) -> None:
        with topic.publisher() as publisher:
            futures = [publisher.publish(event) for event in stops(300)]
            told = [future.result(30) for future in futures]
        found = {
            message.event_ids[0]: (message.partition, message.offset)
            for message in topic.messages()
        }
        assert found == {one.event_id: (one.partition, one.offset) for one in told}

    def test_a_future_is_no_promise_that_can_be_taken_back(self, topic: Topic) -> None:
        with topic.publisher() as publisher:
            future = publisher.publish(next(stops(1)))
            assert not future.cancel()
            assert isinstance(future.result(30), Acknowledgement)

    async def test_a_future_can_be_awaited(self, topic: Topic) -> None:
        with topic.publisher() as publisher:
            told = await asyncio.wrap_future(publisher.publish(next(stops(1))))
        assert ("000000", 0) == (told.event_id, told.offset)

    def test_flush_counts_what_it_waited_for(self, topic: Topic) -> None:
        with topic.publisher() as publisher:
            for event in stops(700):
                publisher.publish(event)
            assert (700, [], 0, 0) == publisher.flush(60)
            publisher.publish(next(stops(1)))
            assert (1, [], 0, 0) == publisher.close()
            assert (0, [], 0, 0) == publisher.close()

    def test_the_same_event_again_is_the_same_message_again(self, topic: Topic) -> None:
        event = workspace_instance_stopped(
            workspace_instance_id=INSTANCE, attribution_id=PAYER, stopped_time=NOON
        )
        for _ in range(2):
            with topic.publisher() as publisher:
                publisher.publish(event)
        first, again = topic.messages()
        assert (first.headers, first.value) == (again.headers, again.value)


class TestWhoMayPublish:
    def test_many_threads_may(self, topic: Topic) -> None:
        with topic.publisher(buffer_events_max=50) as publisher:

            def publish(word: str) -> None:
                wait([publisher.publish(event) for event in stops(400, word=word)])

            threads = [threading.Thread(target=publish, args=(word,)) for word in "abcdef"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        expected = [event.id for word in "abcdef" for event in stops(400, word=word)]
        assert Counter(expected) == Counter(ids_of(topic.messages()))

    def test_nobody_after_it_is_closed(self, topic: Topic) -> None:
        with topic.publisher() as publisher:
            pass
        with pytest.raises(Closed):
            publisher.publish(next(stops(1)))

    def test_a_callback_may_without_waiting(self, topic: Topic) -> None:
        first, second = stops(2)
        done = threading.Event()
        with topic.publisher() as publisher:

            def publish_second(_future: object) -> None:
                publisher.publish(second)
                done.set()

            publisher.publish(first).add_done_callback(publish_second)
            assert done.wait(30)
        assert {first.id, second.id} == set(ids_of(topic.messages()))


class TestBadInput:
    def test_never_enters_the_buffer(self, topic: Topic) -> None:
        with topic.publisher() as publisher:
            with pytest.raises(InvalidEvent):
                publisher.publish(
                    workspace_instance_stopped(
                        workspace_instance_id="none",
                        attribution_id=PAYER,
                        stopped_time=dt.datetime.now(dt.UTC),
                    )
                )
            assert 0 == publisher.pending
            assert (0, [], 0, 0) == publisher.flush(0)
        assert [] == topic.messages()

    @pytest.mark.parametrize(
        ("wrong", "told"),
        [
            ({"source": ""}, "source must not be empty"),
            ({"source": "x\0"}, "source contains a NUL character"),
            ({"bootstrap_servers": " , "}, "must be host:port, or several"),
            ({"buffer_events_max": 0}, "at least 1 event"),
            ({"buffer_bytes_max": 1000}, "1048576 bytes"),
            ({"delivery_timeout": 0.5}, "must be at least 1 second"),
            ({"acks": "0"}, "acks: no such option"),
        ],
    )
    def test_neither_do_options_that_make_no_sense(self, wrong: dict[str, Any], told: str) -> None:
        with pytest.raises(ValueError, match=told):
            Publisher(**{"bootstrap_servers": "localhost", "source": SOURCE, **wrong})


class TestAnEventThatTheBrokerRefuses:
    def test_fails_with_its_reason_and_later_ones_go_on(self, topics: Topics) -> None:
        name = topics.create(configs={"max.message.bytes": "1500"})
        topic = Topic(topics.bootstrap_servers, name)
        with topic.publisher() as publisher:
            large = credit_note_issued(
                attribution_id=PAYER, credits=1, effective_time=NOON, description="x" * 2_000
            )
            refused = publisher.publish(large).exception(60)
            assert isinstance(refused, NotDelivered)
            assert "MessageSizeTooLarge" in str(refused)
            publisher.publish(next(stops(1))).result(60)
            assert [(large.id, refused)] == publisher.flush(0).failed
        assert ["000000"] == ids_of(topic.messages())


class TestConnect:
    def test_is_silent_where_all_is_well(self, topic: Topic) -> None:
        with topic.publisher() as publisher:
            publisher.connect(30)

    def test_says_that_the_topic_is_not_there(self, kafka_broker: str) -> None:
        with (
            Topic(kafka_broker, "nothing.like.it").publisher() as publisher,
            pytest.raises(Unreachable, match=r"no topic 'nothing\.like\.it' \(Topic .* not found"),
        ):
            publisher.connect(ANSWER_SECONDS)

    def test_says_that_nobody_answers(self) -> None:
        with (
            Topic("127.0.0.1:9", "usage.events").publisher() as publisher,
            pytest.raises(Unreachable, match=r"127\.0\.0\.1:9: no broker, .*ECONNREFUSED"),
        ):
            publisher.connect(ANSWER_SECONDS)


class TestAWithBlock:
    def test_that_ends_with_something_unacknowledged_says_so(self, kafka_broker: str) -> None:
        nothing = Topic(kafka_broker, "nothing.like.it")
        with (
            pytest.raises(NotAcknowledged, match="1 failed, 0 still waiting") as told,
            nothing.publisher(delivery_timeout=ANSWER_SECONDS) as publisher,
        ):
            publisher.publish(next(stops(1)))
        ((event_id, error),) = told.value.flushed.failed
        assert "000000" == event_id
        assert not error.may_be_there
        assert "no topic 'nothing.like.it'" in str(error)

    def test_that_ends_with_another_error_lets_that_pass(self, kafka_broker: str) -> None:
        nothing = Topic(kafka_broker, "nothing.like.it")
        publisher = nothing.publisher(delivery_timeout=1)
        publisher.publish(next(stops(1)))
        error = KeyError("of the service")
        publisher.__exit__(type(error), error, None)
        assert 0 == publisher.pending
