"""Messages that no ledger can take, in the middle of others: kept, counted, and nothing blocks."""

from __future__ import annotations

from pathlib import Path

import msgspec
import psycopg
import pytest

from publisher.lines import message_of
from tests.contract.data.scene import bytes_of, note, ran, started, stopped
from tests.oracle.events import payer_of
from tests.oracle.synthetic import synthetic_lines
from tests.survival.cluster import Cluster, postgres
from tests.survival.stream import PACKED, REQUEST_BYTES_MAX, Headers, Stream, Tally
from usage.events.v1.packed_pb2 import PackedEvent, PackedEvents
from usage_ledger.v1 import admin_pb2, queries_pb2

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(900)]

PARTITIONS = 2
REJECTED = Tally(received=1, rejected=1)
REPEATED = Tally(received=1, repeated=1)  # the same bytes were rejected before
PAYER = payer_of("poisoned")

STRUCTURED = [("content-type", b"application/cloudevents+json")]
BINARY = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"1"),
    ("ce_source", b"/poison"),
    ("ce_type", b"usage.workspace_instance.stopped.v1"),
]
JSON = ("content-type", b"application/json")
PROTOBUF = ("content-type", b"application/protobuf")
TOO_MANY = PackedEvents(events=[PackedEvent(id="x")] * 10_001).SerializeToString()

# Headers and value.
POISON: list[tuple[Headers, bytes | None]] = [
    ([], b"\x00\xff\xfe garbage"),
    ([], b""),
    ([("content-type", b"text/plain")], b"hello"),
    ([("content-type", b"\xff\xfe")], b"{}"),
    ([*BINARY, ("content-type", b"application/xml")], b"<event/>"),
    ([*BINARY, JSON], b"{"),
    ([*BINARY, JSON], None),  # a tombstone
    ([*BINARY, PROTOBUF], b"\xff" * 40),
    ([*BINARY[:3], ("ce_type", b"usage.unheard_of.v1"), JSON], b"{}"),
    ([*BINARY, ("ce_id", b"2"), JSON], b"{}"),
    ([*BINARY, JSON], b'{"attributionId":"team:nobody"}'),
    (STRUCTURED, b"[1,2,3]"),
    (STRUCTURED, b'{"specversion":"1.0"' + b" " * 300_000 + b"}"),
    (STRUCTURED, b"x" * (REQUEST_BYTES_MAX // 4)),
    (PACKED, b"\x0a\x7f cut off"),
    (PACKED, b""),
    (PACKED, TOO_MANY),
]

# Each contradicts what came before it; the first of an instance or a note wins.
CONTRADICTIONS = bytes_of(
    [
        *ran("a", "06:00", "07:00", payer=PAYER),
        started("a", "06:00", payer=PAYER, workspaceClass="g1-large", event_id="another class"),
        stopped("a", "07:30", payer=PAYER, event_id="another time"),
        note(3, event_id="note", payer=PAYER),
        note(4, event_id="note", payer=PAYER),
    ]
)
ANOTHER_PAYER = bytes_of(
    [stopped("a", "07:00", payer=payer_of("somebody else"), event_id="another payer")]
)[0]
CONTRADICTORY = 4


def send_poison(stream: Stream, partition: int, counts: Tally) -> None:
    """Send one of each kind, with other keys in each partition so that no two are the same."""
    for number, (headers, value) in enumerate(POISON):
        stream.send_other(
            counts,
            key=f"{partition} {number}".encode(),
            headers=headers,
            value=value,
            partition=partition,
        )


def send_partly_poisoned(stream: Stream, partition: int) -> None:
    """Send a packed message of three events, of which two can be taken."""
    lines = bytes_of([started(f"packed {partition} {n}", "06:00", payer=PAYER) for n in range(2)])
    first, last = [message_of(line, packed=True).value for line in lines]
    bad = PackedEvents(events=[PackedEvent(id="x", source=f"/{partition}", type="?")])
    value = first + bad.SerializeToString() + last
    stream.send_other(
        REJECTED, key=b"", headers=PACKED, value=value, partition=partition, lines=lines
    )


class TestPoison:
    def test_becomes_dead_letters_and_blocks_nothing(
        self, kafka_broker: str, ledger_database: str, tmp_path: Path
    ) -> None:
        lines = list(synthetic_lines(81, 400, 20))
        with Cluster(
            tmp_path,
            kafka_broker,
            postgres(ledger_database),
            partitions=PARTITIONS,
            configs={"max.message.bytes": str(REQUEST_BYTES_MAX)},
        ) as cluster:
            cluster.serve("project")
            intakes = [cluster.start("intake"), cluster.start("intake")]
            stream = cluster.stream()
            stream.send(lines[:400])
            for partition in range(PARTITIONS):
                send_poison(stream, partition, REJECTED)
                send_partly_poisoned(stream, partition)
            stream.send(lines[400:800], packed=10)
            stream.send(CONTRADICTIONS)
            # Another payer's events come by another partition: these must be first.
            cluster.settled(stream)
            stream.send([ANOTHER_PAYER])
            for partition in range(PARTITIONS):
                send_poison(stream, partition, REPEATED)
            stream.send(lines[800:])
            cluster.assert_accounts(stream)
            assert all("Traceback" not in each.log for each in intakes)

            kept = PARTITIONS * (len(POISON) + 1) + CONTRADICTORY
            assert kept == cluster.status().dead_letters
            letters = dead_letters(cluster)
            assert kept == len(letters)
            assert all(letter.reason for letter in letters)
            answer = retry(cluster)
            assert (kept, 0, 0, kept) == (
                answer.retried,
                answer.recorded,
                answer.repeated,
                len(answer.rejects),
            )
            cluster.assert_accounts(stream)
            self._accepts_by_now(cluster, stream, ledger_database)

    @staticmethod
    def _accepts_by_now(cluster: Cluster, stream: Stream, url: str) -> None:
        """A dead letter that an older version could not read is taken when it is tried again."""
        line = bytes_of([note(7, event_id="by now", payer=PAYER)])[0]
        message = message_of(line)
        original = msgspec.msgpack.encode((message.key, message.headers, message.value))
        letter = next(each for each in dead_letters(cluster) if each.kind == "message")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "UPDATE dead_letters SET original = %s WHERE id = %s", (original, letter.id)
            )
        answer = retry(cluster, letter.id)
        assert (1, 1) == (answer.retried, answer.recorded), answer
        # It was received and rejected when it came; now it is recorded instead.
        stream.truth.tell(letter.delivery, line)
        stream.truth.tell_counts(letter.delivery, Tally(received=-1, rejected=-1))
        cluster.assert_accounts(stream)


def dead_letters(cluster: Cluster) -> list[queries_pb2.DeadLetter]:
    request = queries_pb2.ListDeadLettersRequest(page_size=1_000)
    return list(cluster.calls.queries.ListDeadLetters(request).dead_letters)


def retry(cluster: Cluster, *ids: int) -> admin_pb2.RetryDeadLettersResponse:
    request = admin_pb2.RetryDeadLettersRequest(ids=ids, all=not ids)
    answer: admin_pb2.RetryDeadLettersResponse = cluster.calls.admin.RetryDeadLetters(request)
    return answer
