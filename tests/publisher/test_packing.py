"""Packing: events of one payer in one message, in their order, within the limits."""

from hypothesis import given
from hypothesis import strategies as st

from ledger.messages import EVENTS_MAX, read_lines_of_message
from publisher._buffer import Entry
from publisher._messages import PACK_BYTES_MAX, PACK_EVENTS_MAX, Message, binary, piece
from publisher._pump import messages_of
from tests.publisher.samples import SOURCE, one_of_each, stops
from usage.events.v1.packed_pb2 import PackedEvents


def entry(message: Message) -> Entry:
    return Entry(message, None, 0)


def ids(message: Message) -> list[str]:
    if message.is_piece or message.event_id:
        return [message.event_id]
    return [event.id for event in PackedEvents.FromString(message.value).events]


class TestPacking:
    @given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=60))
    def test_the_events_of_a_payer_stay_in_their_order(
        self, chosen: list[tuple[int, bool]]
    ) -> None:
        entries = []
        for (payer, is_piece), event in zip(chosen, stops(60, payers=1), strict=False):
            message = (piece if is_piece else binary)(event, SOURCE)
            entries.append(entry(message._replace(key=b"%d" % payer)))
        sent = list(messages_of(entries))

        for key in {one.message.key for one in entries}:
            put_in = [one.message.event_id for one in entries if one.message.key == key]
            assert put_in == [i for message, _ in sent if message.key == key for i in ids(message)]
        for message, members in sent:
            assert [one.message.event_id for one in members] == ids(message)

    def test_one_message_for_each_payer(self) -> None:
        entries = [entry(piece(event, SOURCE)) for event in stops(500, payers=5)]
        sent = list(messages_of(entries))
        assert [100] * 5 == [len(members) for _, members in sent]
        assert {b"application/x-usage-events+protobuf"} == {m.headers[0][1] for m, _ in sent}

    def test_a_full_message_is_followed_by_another(self) -> None:
        entries = [entry(piece(event, SOURCE)) for event in stops(2_500, payers=1)]
        assert [1_000, 1_000, 500] == [len(members) for _, members in messages_of(entries)]
        assert PACK_EVENTS_MAX <= EVENTS_MAX

    def test_large_events_make_small_packs(self) -> None:
        large = piece(one_of_each()["started"], SOURCE)
        large = large._replace(value=large.value * 700)
        entries = [entry(large) for _ in range(30)]
        for message, _ in messages_of(entries):
            assert len(message.value) < PACK_BYTES_MAX + len(large.value)

    def test_the_ledger_reads_every_event_of_it(self) -> None:
        entries = [entry(piece(event, SOURCE)) for event in one_of_each().values()]
        ((message, _),) = messages_of(entries)
        lines = read_lines_of_message(0, message.key, message.headers, message.value)
        assert [""] * 4 == [line.reason for line in lines]
        assert 4 == len({line.content.digest for line in lines})  # type: ignore[attr-defined]
