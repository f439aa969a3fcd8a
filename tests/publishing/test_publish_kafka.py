"""`usage-ledger publish --kafka` against a real broker: what is on the topic, and what it tells."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from ledger.arrivals import Arrival
from ledger.cloudevents import parse_line
from tests.contract.data.scene import PAYER, bytes_of, note, ran
from tests.oracle.events import line_of
from tests.oracle.synthetic import synthetic_lines
from tests.oracle.trace import NASA, read_jobs, trace_file, trace_lines
from tests.publisher.topic import Topic, ids_of
from tests.publishing.command import Ended, command_line, environment, usage_ledger
from tests.publishing.test_back_pressure import padded_lines, resident_mib_max
from tests.servers.kafka import LocalBroker, Topics

pytestmark = pytest.mark.kafka

GOOD = bytes_of([*ran("a", "06:00", "07:00"), note(3)])
PARTITIONS = 4
TRACE_LINES = 20_000
STREAM_BYTES = 100_000_000
# Measured: 145 MiB, packed 123. A command that keeps the stream would be far beyond.
CLIENT_MIB_MAX = 250

packing = pytest.mark.parametrize("options", [(), ("--packed",)], ids=["alone", "packed"])


@pytest.fixture
def topic(topics: Topics) -> Topic:
    return Topic(topics.bootstrap_servers, topics.create("usage.events", partitions=PARTITIONS))


def publish(
    topic: Topic, source: Path | bytes, *options: str | Path, as_json: bool = True
) -> Ended:
    arguments = ["--kafka", topic.bootstrap_servers, "--topic", topic.name, *options]
    arguments += ["--json"] if as_json else []
    if isinstance(source, bytes):
        return usage_ledger("publish", "-", *arguments, text=source)
    return usage_ledger("publish", source, *arguments)


def counts(ended: Ended) -> tuple[int, int, int]:
    """Read, acknowledged, not acknowledged."""
    answer = ended.answer
    return answer["read"], answer["acknowledged"], answer["not_acknowledged"]


def joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def data_of(line: bytes) -> bytes:
    """The bytes of `data`, which stand at the end of our own lines, or before subject and time."""
    decoder = json.JSONDecoder()
    text = line.decode()
    start = text.index('"data":') + len('"data":')
    _, end = decoder.raw_decode(text, start)
    return text[start:end].encode()


@pytest.mark.trace
@pytest.mark.slow
class TestATrace:
    @pytest.fixture
    def lines(self) -> list[bytes]:
        """Of the trace, or trace-like ones where it is not."""
        path = trace_file(NASA)
        if path is None:
            return list(synthetic_lines(17, TRACE_LINES // 3 + 1, 69))[:TRACE_LINES]
        return trace_lines(read_jobs(path), name="nasa")[:TRACE_LINES]

    def test_each_line_is_a_message_under_its_payer(
        self, topic: Topic, lines: list[bytes], tmp_path: Path
    ) -> None:
        path = tmp_path / "nasa.ndjson"
        path.write_bytes(joined(lines))
        ended = publish(topic, path)
        assert (0, (TRACE_LINES, TRACE_LINES, 0)) == (ended.code, counts(ended))

        messages = topic.messages()
        assert TRACE_LINES == len(messages)
        expected = {}
        for line in lines:
            event = json.loads(line)
            expected[event["id"]] = (event["data"]["attributionId"].encode(), data_of(line))
        assert expected == {m.event_ids[0]: (m.key, m.value) for m in messages}

    def test_packed_the_ledger_takes_in_the_same_events(
        self, topic: Topic, lines: list[bytes]
    ) -> None:
        ended = publish(topic, joined(lines), "--packed")
        assert (0, (TRACE_LINES, TRACE_LINES, 0)) == (ended.code, counts(ended))

        messages = topic.messages()
        assert len(messages) < TRACE_LINES // 5
        taken = [arrival for message in messages for arrival in message.arrivals()]
        assert all(isinstance(arrival, Arrival) for arrival in taken)
        assert Counter(digests(map(parse_line, lines))) == Counter(digests(taken))


def digests(arrivals: object) -> list[bytes]:
    return [arrival.digest + arrival.key for arrival in arrivals]  # type: ignore[attr-defined]


class TestReceipt:
    @packing
    def test_people_read_that_it_adds_up(self, topic: Topic, options: tuple[str, ...]) -> None:
        ended = publish(topic, b"\r\n".join([*GOOD, b"", b"  "]), *options, as_json=False)
        assert 0 == ended.code
        assert ended.out.startswith("read 4 = acknowledged 4 + not acknowledged 0  (stdin to")
        assert 4 == len(ids_of(topic.messages()))

    @packing
    def test_3_lines_without_a_payer_go_to_the_dead_letters(
        self, topic: Topic, tmp_path: Path, options: tuple[str, ...]
    ) -> None:
        lines = [GOOD[0], b"garbage", *GOOD[1:], b'{"id":"1"}']
        file = tmp_path / "rejects.ndjson"
        ended = publish(topic, joined(lines), *options, "--rejects", file)

        assert (3, (6, 6, 0)) == (ended.code, counts(ended))
        assert [2, 6] == [reject["line"] for reject in ended.answer["rejects"]]
        assert "not a CloudEvent in JSON" in ended.answer["rejects"][0]["reason"]
        assert ended.answer["rejects"] == list(map(json.loads, file.read_text().splitlines()))
        keyless = [message for message in topic.messages() if not message.key]
        assert [b"garbage", b'{"id":"1"}'] == [message.value for message in keyless]
        assert all(isinstance(why, str) for message in keyless for why in message.arrivals())

    def test_a_line_that_is_too_long_is_told_and_kept_by_its_beginning(self, topic: Topic) -> None:
        event = json.loads(GOOD[0])
        event["data"]["padding"] = "x" * 5_000_000
        ended = publish(topic, joined([line_of(event), GOOD[1]]), as_json=False)

        assert 3 == ended.code
        assert "no event is that long" in ended.out
        (message,) = [message for message in topic.messages() if not message.key]
        assert message.value.startswith(line_of(event)[:100_000])
        assert f"{len(line_of(event))} bytes, SHA-256".encode() in message.value
        assert all(isinstance(why, str) for why in message.arrivals())

    def test_nothing_to_send_is_no_failure(self, topic: Topic) -> None:
        ended = publish(topic, b"")
        assert (0, (0, 0, 0), True) == (ended.code, counts(ended), ended.answer["finished"])

    def test_the_payers_spelling_on_the_key_is_the_ledgers(self, topic: Topic) -> None:
        event = json.loads(GOOD[0])
        event["data"]["attributionId"] = "team:" + PAYER.removeprefix("team:").upper()
        assert 0 == publish(topic, line_of(event)).code
        assert [PAYER.encode()] == [message.key for message in topic.messages()]


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("--packed",), "--topic and --packed go with --kafka"),
            (("--topic", "x"), "--topic and --packed go with --kafka"),
            (("--kafka", "nowhere"), "it must be HOST:PORT"),
            (("--kafka", "localhost:9092", "--topic", "a b"), "kafka.topics.usage_events"),
            (("--kafka", "localhost:9092", "--config", "/nowhere/at-all"), "/nowhere/at-all"),
        ],
    )
    def test_2_with_a_sentence(self, arguments: tuple[str, ...], told: str) -> None:
        ended = usage_ledger("publish", "-", *arguments, text=b"")
        assert 2 == ended.code
        assert told in ended.err

    def test_2_no_such_file(self, topic: Topic, tmp_path: Path) -> None:
        assert 2 == publish(topic, tmp_path / "nothing").code

    @pytest.mark.slow
    def test_1_nobody_there(self, tmp_path: Path) -> None:
        path = tmp_path / "events.ndjson"
        path.write_bytes(joined(GOOD))
        ended = publish(Topic("127.0.0.1:9", "usage.events"), path)
        assert (1, (0, 0, 0), False) == (ended.code, counts(ended), ended.answer["finished"])
        assert "Kafka cannot be reached: 127.0.0.1:9: no broker" in ended.err
        assert "ECONNREFUSED" in ended.err
        assert "Run it again: nothing counts twice." in ended.err


LINES = list(synthetic_lines(13, 5_000, 30))
IDS = {json.loads(line)["id"] for line in LINES}


@pytest.mark.slow
class TestCutShort:
    @packing
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
    def test_run_again_everything_is_there(
        self, topic: Topic, number: signal.Signals, options: tuple[str, ...]
    ) -> None:
        half = joined(LINES[: len(LINES) // 2])
        client = started(topic, *options)
        assert client.stdin is not None
        client.stdin.write(half)
        client.stdin.flush()
        while not topic.messages():
            time.sleep(0.05)
        client.send_signal(number)
        out, err = client.communicate(timeout=60)

        there = set(ids_of(topic.messages()))
        if number == signal.SIGINT:
            answer = json.loads(out)
            assert (1, False) == (client.returncode, answer["finished"])
            assert b"Interrupted." in err
            assert b"Run it again: nothing counts twice." in err
            assert answer["acknowledged"] == len(there) <= answer["read"]
        else:
            assert -number == client.returncode
        again = publish(topic, joined(LINES), *options)
        assert (0, (len(LINES), len(LINES), 0)) == (again.code, counts(again))
        assert IDS == set(ids_of(topic.messages()))

    def test_a_broker_that_is_gone_is_told_with_what_it_acknowledged(
        self, own_broker: LocalBroker
    ) -> None:
        servers = own_broker.bootstrap_servers
        topic = Topic(servers, Topics(servers).create("usage.events"))
        client = started(topic)
        assert client.stdin is not None
        client.stdin.write(joined(LINES[:1_000]))
        client.stdin.flush()
        while len(topic.messages()) < 1_000:
            time.sleep(0.05)
        own_broker.kill()
        out, err = client.communicate(joined(LINES[1_000:2_000]), timeout=90)

        answer = json.loads(out)
        assert (1, 2_000, 1_000) == (client.returncode, answer["read"], answer["acknowledged"])
        assert b"of 2,000 events that were read the broker acknowledged 1,000" in err
        assert b"the broker has acknowledged none for 10 seconds" in err
        own_broker.start()
        assert 1_000 == len(set(ids_of(topic.messages())))

    def test_a_broker_that_restarts_is_waited_for(self, own_broker: LocalBroker) -> None:
        servers = own_broker.bootstrap_servers
        topic = Topic(servers, Topics(servers).create("usage.events"))
        client = started(topic)
        assert client.stdin is not None
        client.stdin.write(joined(LINES[:1_000]))
        client.stdin.flush()
        while not topic.messages():
            time.sleep(0.05)
        own_broker.stop()
        own_broker.start()
        out, _ = client.communicate(joined(LINES[1_000:]), timeout=90)
        assert (0, len(LINES)) == (client.returncode, json.loads(out)["acknowledged"])
        assert Counter(IDS) == Counter(ids_of(topic.messages()))


def started(topic: Topic, *options: str) -> subprocess.Popen[bytes]:
    arguments = ("--kafka", topic.bootstrap_servers, "--topic", topic.name, "--json", *options)
    return subprocess.Popen(
        command_line("publish", "-", *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@packing
def test_a_stream_of_100_mb_leaves_the_command_small(
    topics: Topics, options: tuple[str, ...]
) -> None:
    name = topics.create(
        "usage.events", partitions=PARTITIONS, configs={"retention.bytes": "1000000"}
    )
    topic = Topic(topics.bootstrap_servers, name)
    client = started(topic, *options)
    assert client.stdin is not None
    sent = lines = 0
    for line in padded_lines():
        client.stdin.write(line)
        sent += len(line)
        lines += 1
        if sent >= STREAM_BYTES:
            break
    client.stdin.flush()
    mib = resident_mib_max(client.pid)
    out, _ = client.communicate(timeout=100)
    assert (0, lines) == (client.returncode, json.loads(out)["acknowledged"])
    topics.delete(name)
    assert mib <= CLIENT_MIB_MAX
