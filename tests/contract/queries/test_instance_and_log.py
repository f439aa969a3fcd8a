"""GetInstance and TailLog."""

import json
import queue
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.contract.data.scene import (
    PAYER,
    USER,
    Scene,
    at,
    instance,
    note,
    ran,
    started,
    stopped,
    stopping,
)
from usage_ledger.v1 import queries_pb2

Event = queries_pb2.LogEvent


def tail(scene: Scene, **asked: Any) -> list[Event]:
    answers = scene.calls.queries.TailLog(queries_pb2.TailLogRequest(**asked))
    return [event for answer in answers for event in answer.events]


def hang_up(call: Any) -> None:
    """The stubs know iterators of answers, not that they are calls."""
    call.cancel()


def positions(events: list[Event]) -> list[int]:
    return [event.position.number for event in events]


class TestGetInstance:
    def test_everything_known_of_it(self, scene: Scene) -> None:
        scene.record(
            started(
                "a",
                "05:00",
                workspaceId="w",
                workspaceClass="g1-large",
                workspaceType="prebuild",
                projectId="p",
                creationTime=at("04:59"),
            ),
            stopping("a", "06:00"),
            stopped("a", "06:30"),
        )

        known = scene.known("a")
        assert (instance("a"), PAYER, "g1-large", "prebuild", USER, "w", "p") == (
            known.workspace_instance_id,
            known.attribution_id,
            known.workspace_class,
            known.workspace_type,
            known.user_id,
            known.workspace_id,
            known.project_id,
        )
        times = [known.creation_time, known.started_time, known.stopping_time, known.stopped_time]
        assert [at("04:59"), at("05:00"), at("06:00"), at("06:30")] == [
            time.ToJsonString() for time in times
        ]
        assert ("0.3333333333", 1) == (known.credits_per_minute, known.price_revision)
        assert not known.HasField("ended_time")
        (entry,) = scene.calls.entries(PAYER)
        assert entry == known.entry

    def test_what_is_not_known_is_missing(self, scene: Scene) -> None:
        scene.record(stopping("a", "06:00"))

        known = scene.known("a")
        assert (PAYER, "", "") == (
            known.attribution_id,
            known.workspace_class,
            known.credits_per_minute,
        )
        assert not any(
            known.HasField(name)
            for name in ("creation_time", "started_time", "stopped_time", "ended_time", "entry")
        )

    def test_its_lines_in_each_cycle_add_up_to_its_entry(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"))
        scene.reconcile("06:00")
        scene.open_cost_center()
        scene.reconcile("08:00")
        scene.set_cost_center(5, strategy=0)
        scene.record(stopped("a", "08:30"))
        scene.set_cost_center(5, strategy=1)
        scene.record(stopping("a", "07:30"))

        known = scene.known("a")
        assert {0: 1000, 1: 2000, 2: 500, 3: -1000} == scene.cycle_lines("a")
        assert (2500, 9000) == (known.entry.credit_cents, sum(line.seconds for line in known.lines))

    def test_the_events_of_its_stream_in_their_order(self, scene: Scene) -> None:
        scene.record(stopped("a", "06:30"), started("b", "05:00"), started("a", "05:00"))
        scene.end("a", "06:00")

        events = scene.known("a").events
        assert [f"instance:{instance('a')}"] * 3 == [event.stream for event in events]
        assert [1, 2, 3] == [event.version for event in events]
        log = tail(scene, from_position=1)
        assert list(events) == [each for each in log if each.stream == events[0].stream]

    def test_an_operators_end_is_told(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"))
        scene.end("a", "06:00")

        assert at("06:00") == scene.known("a").ended_time.ToJsonString()

    @pytest.mark.parametrize(
        ("given", "code"),
        [
            ("", grpc.StatusCode.INVALID_ARGUMENT),
            ("x", grpc.StatusCode.INVALID_ARGUMENT),
            (instance("nobody"), grpc.StatusCode.NOT_FOUND),
        ],
    )
    def test_one_that_nobody_knows(self, scene: Scene, given: str, code: grpc.StatusCode) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            scene.calls.queries.GetInstance(
                queries_pb2.GetInstanceRequest(workspace_instance_id=given)
            )
        assert code == refused.value.code()

    def test_any_spelling_of_its_id_will_do(self, scene: Scene) -> None:
        scene.record(*ran("a", "05:00", "06:00"))
        request = queries_pb2.GetInstanceRequest(
            workspace_instance_id=f"{{{instance('a').upper()}}}"
        )

        assert scene.known("a") == scene.calls.queries.GetInstance(request)


class TestTailLog:
    @pytest.fixture
    def ten(self, scene: Scene) -> Scene:
        """A log of ten events: the price list and nine notes."""
        scene.record(*[note(number, event_id=str(number)) for number in range(9)])
        return scene

    @pytest.mark.parametrize(
        ("asked", "answered"),
        [
            ({}, range(0)),
            ({"last": 3}, range(8, 11)),
            ({"last": 10}, range(1, 11)),
            ({"last": 1000}, range(1, 11)),
            ({"last": 5, "limit": 2}, range(6, 8)),
            ({"from_position": 1}, range(1, 11)),
            ({"from_position": 4}, range(4, 11)),
            ({"from_position": 4, "limit": 3}, range(4, 7)),
            ({"from_position": 4, "limit": 100}, range(4, 11)),
            ({"from_position": 10}, range(10, 11)),
            ({"from_position": 11}, range(0)),
            ({"from_position": 2**63 - 1}, range(0)),
            ({"from_position": 9, "last": 1}, range(9, 11)),
            ({"from_position": 4, "limit": 3, "follow": True}, range(4, 7)),
        ],
    )
    def test_from_last_and_limit(self, ten: Scene, asked: dict[str, Any], answered: range) -> None:
        assert list(answered) == positions(tail(ten, **asked))

    @pytest.mark.parametrize("name", ["from_position", "last", "limit"])
    def test_none_of_them_is_negative(self, scene: Scene, name: str) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            tail(scene, **{name: -1})
        assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()

    def test_a_long_log_comes_whole_and_in_order(self, scene: Scene) -> None:
        scene.record(*[note(1, event_id=str(number)) for number in range(1_300)])

        assert list(range(1, 1_302)) == positions(tail(scene, from_position=1))
        assert list(range(1, 1_202)) == positions(tail(scene, from_position=1, limit=1_201))

    def test_what_an_event_tells(self, scene: Scene) -> None:
        scene.clock.advance(minutes=5)
        scene.record(started("a", "05:00", userName="Ada"))

        (event,) = tail(scene, last=1)
        assert (2, f"instance:{instance('a')}", 1) == (
            event.position.number,
            event.stream,
            event.version,
        )
        assert at("08:05") == event.recorded.ToJsonString()
        assert event.author.startswith("local:")
        fields = json.loads(event.json)
        assert (PAYER, "2026-11-01T05:00:00.000Z", "0.1666666667") == (
            fields["attribution_id"],
            fields["started_time"],
            fields["rate"],
        )
        assert "Ada" not in event.json

    def test_recorded_times_never_go_back(self, scene: Scene) -> None:
        for time in ("08:10", "08:05", "08:20", "07:00"):
            scene.clock.set(at(time))
            scene.record(note(1, event_id=time))

        recorded = [event.recorded.ToMilliseconds() for event in tail(scene, from_position=1)]
        assert sorted(recorded) == recorded

    def test_follow_waits_for_what_comes(self, ten: Scene) -> None:
        seen: queue.Queue[int] = queue.Queue()
        request = queries_pb2.TailLogRequest(last=2, follow=True)
        answers = ten.calls.queries.TailLog(request)

        def read() -> Iterator[None]:
            try:
                for answer in answers:
                    for event in answer.events:
                        seen.put(event.position.number)
            except grpc.RpcError:
                pass
            yield

        reader = threading.Thread(target=lambda: list(read()))
        reader.start()
        assert [9, 10] == [seen.get(timeout=10) for _ in range(2)]
        for number in range(3):
            ten.record(note(1, event_id=f"later {number}"))
            assert 11 + number == seen.get(timeout=10)
        hang_up(answers)
        reader.join(10)
        assert not reader.is_alive()

    def test_follow_ends_at_its_limit(self, ten: Scene) -> None:
        answers = ten.calls.queries.TailLog(
            queries_pb2.TailLogRequest(from_position=11, limit=2, follow=True)
        )
        ten.record(note(1, event_id="x"), note(1, event_id="y"), note(1, event_id="z"))

        assert [11, 12] == [event.position.number for each in answers for event in each.events]
