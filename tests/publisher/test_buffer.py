"""The buffer: bounded by count and bytes, and telling the truth about what was in it."""

import threading

import pytest

from publisher import BufferFull, Closed, NotDelivered, PublisherError
from publisher._buffer import FAILURES_KEPT_MAX, OVERHEAD_BYTES, Acknowledgement, Buffer, Entry
from publisher._messages import Message

FAR = 1e12
LOST = NotDelivered("lost", may_be_there=True)


def entry(name: str = "e", *, size: int = 0, key: bytes = b"") -> Entry:
    return Entry(Message(name, key, b"x" * size, [], is_piece=False), None, FAR)


def filled(count: int, **limits: int) -> Buffer:
    buffer = Buffer(**{"events_max": count, "bytes_max": 1 << 30, **limits})
    for number in range(count):
        buffer.put(entry(f"{number}"), timeout=0)
    return buffer


class Putting(threading.Thread):
    """Puts an entry, in a thread that has begun, and remembers what it heard."""

    def __init__(self, buffer: Buffer, one: Entry) -> None:
        super().__init__()
        self.error: PublisherError | None = None
        self._buffer, self._one = buffer, one
        self.start()

    def run(self) -> None:
        try:
            self._buffer.put(self._one, 30)
        except PublisherError as error:
            self.error = error


class TestRoom:
    def test_ends_with_the_number_of_events(self) -> None:
        buffer = filled(3)
        with pytest.raises(BufferFull, match="3 events of 6,000 bytes wait"):
            buffer.put(entry(), timeout=0)
        assert 3 == buffer.pending

    def test_ends_with_their_bytes(self) -> None:
        buffer = Buffer(events_max=100, bytes_max=2 * OVERHEAD_BYTES + 50)
        buffer.put(entry(size=40), timeout=0)
        with pytest.raises(BufferFull):
            buffer.put(entry(size=11), timeout=0)
        buffer.put(entry(size=10), timeout=0)

    def test_is_not_given_back_by_taking_but_by_settling(self) -> None:
        buffer = filled(2)
        first, _ = buffer.take(linger=0)
        with pytest.raises(BufferFull):
            buffer.put(entry(), timeout=0)
        buffer.acknowledge([first], 0, 0)
        buffer.put(entry(), timeout=0)

    def test_wakes_whoever_waits_for_it(self) -> None:
        buffer = filled(1)
        (first,) = buffer.take(linger=0)
        waiting = Putting(buffer, entry("second"))
        buffer.fail([first], LOST)
        waiting.join(30)
        assert ["second"] == [one.message.event_id for one in buffer.take(linger=0)]

    def test_a_small_event_fits_while_a_large_one_waits(self) -> None:
        buffer = Buffer(events_max=10, bytes_max=10 * OVERHEAD_BYTES)
        first, second = entry("1", size=OVERHEAD_BYTES), entry("2", size=6 * OVERHEAD_BYTES)
        buffer.put(first, timeout=0)
        buffer.put(second, timeout=0)
        large = Putting(buffer, entry("3", size=8 * OVERHEAD_BYTES))
        small = Putting(buffer, entry("4", size=OVERHEAD_BYTES))
        buffer.take(linger=0)
        buffer.acknowledge([first], 0, 0)
        small.join(30)
        assert (True, False) == (large.is_alive(), small.is_alive())
        buffer.close()
        large.join(30)
        assert isinstance(large.error, Closed)

    def test_waiting_for_it_ends_when_it_is_closed(self) -> None:
        waiting = Putting(buffer := filled(1), entry())
        buffer.close()
        waiting.join(30)
        assert isinstance(waiting.error, Closed)


class TestFlush:
    def test_counts_and_names_what_became_of_each(self) -> None:
        buffer = filled(4)
        one, two, three, _ = buffer.take(linger=0)
        buffer.acknowledge([one, three], 0, 0)
        buffer.fail([two], LOST)
        assert (2, [("1", LOST)], 1, 0) == buffer.flush(0)

    def test_tells_each_event_once(self) -> None:
        buffer = filled(2)
        one, two = buffer.take(linger=0)
        buffer.acknowledge([one], 0, 0)
        assert (1, [], 1, 0) == buffer.flush(0)
        buffer.acknowledge([two], 0, 0)
        assert (1, [], 0, 0) == buffer.flush(0)
        assert (0, [], 0, 0) == buffer.flush(0)

    def test_waits_for_what_was_there_before_it_and_for_nothing_else(self) -> None:
        buffer = Buffer(events_max=10, bytes_max=1 << 30)
        buffer.put(entry("before"), timeout=0)
        (before,) = buffer.take(linger=0)
        told: list[tuple[object, ...]] = []
        flushing = threading.Thread(target=lambda: told.append(buffer.flush(30)))
        flushing.start()
        while not buffer._for_progress:
            pass
        buffer.put(entry("after"), timeout=0)
        buffer.acknowledge([before], 0, 0)
        flushing.join(30)
        assert [(1, [], 0, 0)] == told
        assert 1 == buffer.pending

    def test_more_failures_than_are_kept_are_still_counted(self) -> None:
        buffer = filled(FAILURES_KEPT_MAX + 7)
        buffer.fail(buffer.take(linger=0), LOST)
        flushed = buffer.flush(0)
        assert (FAILURES_KEPT_MAX, 7) == (len(flushed.failed), flushed.failed_not_kept)
        assert not flushed.is_complete

    def test_ends_a_linger(self) -> None:
        buffer = filled(1)
        told: list[tuple[object, ...]] = []
        flushing = threading.Thread(target=lambda: told.append(buffer.flush(30)))
        flushing.start()
        while not buffer._for_progress:
            pass
        taken = buffer.take(linger=100)
        buffer.acknowledge(taken, 0, 0)
        flushing.join(30)
        assert [(1, [], 0, 0)] == told


class TestCallbacks:
    def test_hear_before_flush_tells(self) -> None:
        heard: list[object] = []
        buffer = Buffer(events_max=10, bytes_max=1 << 30)
        buffer.put(Entry(entry("e").message, heard.append, FAR), timeout=0)
        buffer.acknowledge(buffer.take(linger=0), 3, 17)
        assert [Acknowledgement("e", 3, 17)] == heard

    def test_that_fail_do_not_touch_the_count(self, caplog: pytest.LogCaptureFixture) -> None:
        def fail(_outcome: object) -> None:
            raise RuntimeError("a mistake of the service")

        buffer = Buffer(events_max=10, bytes_max=1 << 30)
        buffer.put(Entry(entry("e").message, fail, FAR), timeout=0)
        buffer.acknowledge(buffer.take(linger=0), 0, 0)
        assert (1, [], 0, 0) == buffer.flush(0)
        assert "a mistake of the service" in caplog.text

    def test_do_not_wait_for_room_that_only_they_can_make(self) -> None:
        heard: list[Exception] = []
        buffer = Buffer(events_max=1, bytes_max=1 << 30)

        def publish_another(_outcome: object) -> None:
            try:
                buffer.put(entry("another"), timeout=30)
            except BufferFull as error:
                heard.append(error)

        buffer.put(Entry(entry("e").message, publish_another, FAR), timeout=0)
        buffer.acknowledge(buffer.take(linger=0), 0, 0)
        assert 1 == len(heard)
