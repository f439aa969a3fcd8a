"""Section 6: received = recorded + repeated + rejected, by source of delivery."""

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.data.scene import Line, Scene, bytes_of, note, ran, started, stopped
from usage_ledger.v1 import publishing_pb2

Request = publishing_pb2.PublishRequest


def refused(scene: Scene, *requests: Request) -> grpc.StatusCode:
    try:
        list(scene.calls.publishing.Publish(iter(requests)))
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


class TestCounts:
    def test_each_source_of_delivery_has_its_own(self, scene: Scene) -> None:
        scene.publish(*ran("a", "06:00", "07:00"), b"x", delivery="one")
        scene.publish(*ran("a", "06:00", "07:00"), note(3), b"x", b"y", delivery="two")
        scene.publish(note(3), delivery="one")

        assert (5, 3, 1, 1) == scene.counts("one")
        assert (6, 1, 4, 1) == scene.counts("two")
        assert (11, 4, 5, 2) == scene.counts()

    def test_a_call_without_a_name_is_a_source_of_its_own(self, scene: Scene) -> None:
        scene.publish(note(3))
        scene.publish(note(3))

        names = [each.delivery for each in scene.status().deliveries]
        assert 2 == len(set(names))
        assert all(name.startswith("call:") for name in names)

    def test_the_name_is_read_from_the_first_request_only(self, scene: Scene) -> None:
        first, second = (line + b"\n" for line in bytes_of([note(3), note(4, event_id="4")]))
        requests = [Request(delivery="one", lines=first), Request(delivery="two", lines=second)]
        list(scene.calls.publishing.Publish(iter(requests)))

        assert ["one"] == [each.delivery for each in scene.status().deliveries]

    @pytest.mark.parametrize("name", ["x" * 256, "a\0b"])
    def test_a_name_has_at_most_255_characters_and_no_nul(self, scene: Scene, name: str) -> None:
        assert grpc.StatusCode.INVALID_ARGUMENT == refused(scene, Request(delivery=name))
        scene.publish(note(3), delivery="ü" * 255)

    def test_the_newest_hundred_sources_are_shown_and_all_are_summed(self, scene: Scene) -> None:
        for number in range(105):
            scene.publish(b"x", delivery=f"d{number}")

        status = scene.status()
        assert [f"d{number}" for number in range(104, 4, -1)] == [
            each.delivery for each in status.deliveries
        ]
        assert (105, 0, 104, 1) == scene.counts()

    def test_a_retried_dead_letter_leaves_received_as_it_was(self, scene: Scene) -> None:
        scene.publish(b"x", delivery="one")
        scene.retry()

        assert (1, 0, 0, 1) == scene.counts("one")

    @given(
        st.lists(
            st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3)), max_size=6), max_size=5
        )
    )
    def test_the_law_holds_for_any_lines_in_any_batches(
        self, batches: list[list[tuple[str, int]]]
    ) -> None:
        def line(name: str, kind: int) -> Line:
            told: list[Line] = [started(name, "05:00"), stopped(name, "06:00")]
            return [*told, note(3, event_id=name), b"{"][kind]

        with Scene() as scene:
            sent = [[line(*each) for each in batch] for batch in batches]
            for batch in sent:
                scene.publish(*batch, delivery="d")

            received, recorded, repeated, rejected = scene.counts()
            assert received == recorded + repeated + rejected == sum(map(len, sent))
            distinct = {each for batch in batches for each in batch if each[1] != 3}
            assert len(distinct) == recorded
            assert any(each[1] == 3 for batch in batches for each in batch) == rejected
            assert [] == scene.calls.breaches()


class TestReceipts:
    def test_each_request_is_answered_by_one_receipt_in_their_order(self, scene: Scene) -> None:
        lines = [line + b"\n" for line in bytes_of(ran("a", "06:00", "07:00"))]
        requests = [
            Request(lines=b"".join(lines)),
            Request(lines=b""),
            Request(lines=lines[0] * 3),
            Request(lines=b"x"),
        ]
        receipts = [each.receipt for each in scene.calls.publishing.Publish(iter(requests))]

        assert [(3, 3, 0, 0), (0, 0, 0, 0), (3, 0, 3, 0), (1, 0, 0, 1)] == [
            (each.received, each.recorded, each.repeated, each.rejected) for each in receipts
        ]

    def test_its_position_is_the_newest_of_the_log(self, scene: Scene) -> None:
        receipt = scene.publish(*ran("a", "06:00", "07:00"))

        assert scene.status().head == receipt.position

    def test_lines_are_counted_on_unless_their_number_is_said(self, scene: Scene) -> None:
        requests = [
            Request(lines=b"\n\nbad 3\n"),
            Request(lines=b"bad 4\nbad 5"),
            Request(lines=b"bad 6\n\n"),
            Request(lines=b"bad 8\n", first_line=0),
            Request(lines=b"bad 100\n", first_line=100),
            Request(lines=b"bad 101\n"),
        ]
        answers = scene.calls.publishing.Publish(iter(requests))
        numbers = [reject.line for each in answers for reject in each.receipt.rejects]

        assert [3, 4, 5, 6, 8, 100, 101] == numbers

    def test_when_it_is_answered_it_is_visible_to_every_call(self, scene: Scene) -> None:
        for number in range(20):
            scene.publish(*ran(str(number), "06:00", "07:00"))
            assert 1000 * (number + 1) == scene.cents()
            assert number + 1 == len(scene.usage())

    @pytest.mark.parametrize(
        "request_",
        [
            Request(lines=b"x\n" * 10_001),
            Request(lines=b"x" * (3 * 2**20 + 1)),
            Request(lines=b"x", first_line=2**64 - 1),
        ],
    )
    def test_a_request_beyond_its_limits_is_refused_and_nothing_of_it_stays(
        self, scene: Scene, request_: Request
    ) -> None:
        before = Request(lines=bytes_of([note(3)])[0])

        assert grpc.StatusCode.INVALID_ARGUMENT == refused(scene, before, request_)
        assert (1, 1, 0, 0) == scene.counts()
        scene.record(note(4, event_id="after"))  # the service goes on

    def test_10000_lines_in_a_request_are_taken(self, scene: Scene) -> None:
        receipt = scene.calls.publish([b"x%d" % n for n in range(10_000)], block_lines=10_000)

        assert 10_000 == receipt.rejected == len(receipt.rejects)
