"""What a scenario sends, and what the ledger must make of it by an independent computation."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import OffsetSpec
from kafka.structs import TopicPartition

from consumers.connecting import id_text
from publisher.lines import message_of
from tests.oracle import DEFAULT_RATES, Oracle, instant

NOW = instant("2026-11-01T08:00:00Z")
PACKED = [("content-type", b"application/x-usage-events+protobuf")]
# A broker that is restarted meanwhile is waited for, and the idempotent producer writes each
# message once whatever it sends again.
DELIVERY_MS = 300_000
RECONNECT_MS_MAX = 500
METADATA_MS = 1_000  # how often it looks for new partitions
REQUEST_BYTES_MAX = 8 * 1024 * 1024

Headers = Sequence[tuple[str, bytes | None]]


class Tally(NamedTuple):
    """Counts of one source of delivery."""

    received: int = 0
    recorded: int = 0
    repeated: int = 0
    rejected: int = 0

    def plus(self, other: Tally) -> Tally:
        return Tally(*[mine + theirs for mine, theirs in zip(self, other, strict=True)])


class Truth:
    """The independent ledger: it is told every line that was sent, in the order of its partition.

    Several topics may feed one ledger, so it is shared by their streams.
    """

    def __init__(self) -> None:
        self.oracle = Oracle()
        self.oracle.publish_price_list(1, DEFAULT_RATES, 0)
        self._waiting: list[tuple[str, bytes]] = []
        self._beside: defaultdict[str, Tally] = defaultdict(Tally)

    def tell(self, delivery: str, line: bytes) -> None:
        """Note a line; it is computed when somebody asks, so that sending stays quick."""
        self._waiting.append((delivery, line))

    def tell_counts(self, delivery: str, counts: Tally) -> None:
        """Note what no line of a file could say, with the counts that it must have."""
        self._beside[delivery] = self._beside[delivery].plus(counts)

    def balances(self) -> dict[str, int]:
        """Give cents by payer."""
        self._compute()
        return {payer: self.oracle.balance_cents(payer) for payer in self.oracle.payers()}

    def counts(self, delivery: str) -> Tally:
        """Give what the counts of a source of delivery must be."""
        self._compute()
        counts = self._beside[delivery]
        told = self.oracle.receipts.get(delivery)
        if told is None:
            return counts
        return counts.plus(Tally(told.received, told.recorded, told.repeated, told.rejected))

    def _compute(self) -> None:
        for delivery, line in self._waiting:
            self.oracle.publish(line, NOW, delivery=delivery)
        self._waiting.clear()


class Stream:
    """Sends to one topic, each payer to one of its partitions; `with` closes the producer."""

    def __init__(self, servers: str, topic: str, truth: Truth) -> None:
        """Ask the cluster what the topic is."""
        self.servers = servers
        self.topic = topic
        self.truth = truth
        self.messages: Counter[int] = Counter()  # by partition
        self.cluster_id = self.topic_id = ""
        self.partitions = 0
        self._describe()
        self._failures: list[BaseException] = []
        self._producer = KafkaProducer(
            bootstrap_servers=servers,
            enable_idempotence=True,
            acks="all",
            linger_ms=5,
            delivery_timeout_ms=DELIVERY_MS,
            max_block_ms=DELIVERY_MS,
            reconnect_backoff_max_ms=RECONNECT_MS_MAX,
            metadata_max_age_ms=METADATA_MS,
            max_request_size=REQUEST_BYTES_MAX,
        )

    def _describe(self) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.servers)
        try:
            self.cluster_id = admin.describe_cluster()["cluster_id"]
            (described,) = admin.describe_topics([self.topic])
        finally:
            admin.close()
        assert described["error_code"] == 0, described
        self.topic_id = id_text(described["topic_id"])
        self.partitions = len(described["partitions"])

    def knows_partitions(self, count: int) -> bool:
        """Tell whether the producer has noticed so many partitions; then it sends to all."""
        if len(self._producer.partitions_for(self.topic)) < count:
            return False
        self.partitions = count
        return True

    def delivery(self, partition: int) -> str:
        """Name a partition as the ledger does."""
        return f"kafka:{self.cluster_id}:{self.topic}:{self.topic_id}:{partition}"

    def partition_of(self, key: bytes) -> int:
        """Choose by the key; with more partitions many keys move, as with every producer."""
        return zlib.crc32(key) % self.partitions

    def send(self, lines: Iterable[bytes], *, packed: int = 1) -> None:
        """Send lines, a message each or up to `packed` events of one payer in one."""
        if packed == 1:
            for line in lines:
                message = message_of(line)
                self._send(message.key, message.headers, message.value, [line])
            return
        waiting: dict[bytes, list[tuple[bytes, bytes]]] = {}
        for line in lines:
            piece = message_of(line, packed=True)
            assert piece.is_piece, line
            pieces = waiting.setdefault(piece.key, [])
            pieces.append((piece.value, line))
            if len(pieces) == packed:
                self._send_packed(piece.key, waiting.pop(piece.key))
        for key, pieces in waiting.items():
            self._send_packed(key, pieces)

    def _send_packed(self, key: bytes, pieces: Sequence[tuple[bytes, bytes]]) -> None:
        # A packed message in protobuf is its pieces one behind the other.
        value = b"".join(value for value, _ in pieces)
        self._send(key, PACKED, value, [line for _, line in pieces])

    def _send(
        self, key: bytes, headers: Headers, value: bytes | None, lines: Sequence[bytes]
    ) -> None:
        partition = self.partition_of(key)
        for line in lines:
            self.truth.tell(self.delivery(partition), line)
        self._produce(partition, key, headers, value)

    def send_other(
        self,
        counts: Tally,
        *,
        key: bytes | None,
        headers: Headers = (),
        value: bytes | None,
        partition: int,
        lines: Sequence[bytes] = (),
    ) -> None:
        """Send what no line says, with the counts that the ledger must have of it.

        `lines` say the rest of it, if there is any.
        """
        self.truth.tell_counts(self.delivery(partition), counts)
        for line in lines:
            self.truth.tell(self.delivery(partition), line)
        self._produce(partition, key, headers, value)

    def _produce(
        self, partition: int, key: bytes | None, headers: Headers, value: bytes | None
    ) -> None:
        self.messages[partition] += 1
        self._producer.send(
            self.topic, value=value, key=key, headers=list(headers), partition=partition
        ).add_errback(self._failures.append)

    def flush(self) -> None:
        """Wait until everything is on the topic."""
        self._producer.flush(timeout=DELIVERY_MS / 1_000)
        assert [] == self._failures

    def ends(self) -> Mapping[int, int]:
        """Give the next offset of each partition, as the cluster says."""
        admin = KafkaAdminClient(bootstrap_servers=self.servers)
        try:
            wanted: dict[Any, OffsetSpec] = {
                TopicPartition(self.topic, number): OffsetSpec.LATEST
                for number in range(self.partitions)
            }
            found = admin.list_partition_offsets(wanted)
        finally:
            admin.close()
        return {place.partition: told.offset for place, told in found.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._producer.close(timeout=None if error is None else 0)
