"""How clients of the bus connect, and what a cluster says of its topics."""

from __future__ import annotations

import base64
import logging
import uuid
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError, NodeNotReadyError, for_code

from consumers._hardening import DIRECT
from ledger.errors import StartRefusedError, UnavailableError
from ledger.settings import KafkaSettings

REQUEST_MS = 10_000  # a broker that is silent for so long is taken for gone
BOOTSTRAP_MS = 5_000  # ... and so is a cluster none of whose servers answers a new client
RECONNECT_MS_MAX = 1_000  # between two tries to reach a broker; more would delay the recovery

_UNKNOWN_TOPIC = 3  # Kafka's code for a topic or partition that is not there

_SASL_MECHANISMS = {
    "plain": "PLAIN",
    "scram-sha-256": "SCRAM-SHA-256",
    "scram-sha-512": "SCRAM-SHA-512",
}


class BusUnavailableError(UnavailableError):
    """No broker answers, or the cluster cannot do it now; the text says which and why."""


class TopicMissingError(BusUnavailableError):
    """There is no such topic yet."""


class Committed(NamedTuple):
    """What a group has committed for a partition."""

    offset: int
    note: str  # by whom; empty when it was set by Kafka's own tools


class PartitionState(NamedTuple):
    """Where the log of a partition begins, its next offset, and what the group has committed."""

    start: int
    end: int
    committed: Committed | None = None


class TopicState(NamedTuple):
    """A topic as the cluster knows it at one moment."""

    cluster: str
    topic_id: str  # as Kafka's own tools write it
    partitions: Mapping[int, PartitionState]


def client_options(kafka: KafkaSettings, purpose: str) -> dict[str, Any]:
    """Give the options that every client has: where, how safely, how long to wait.

    StartRefusedError when there are no servers or the password cannot be read.
    """
    if kafka.bootstrap_servers is None:
        raise StartRefusedError("kafka.bootstrap_servers is not set: name the servers of the bus")
    _quiet_library()
    with_sasl = kafka.sasl_mechanism != "none"
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers.split(","),
        "client_id": f"usage-ledger-{purpose}",
        "request_timeout_ms": REQUEST_MS,
        "bootstrap_timeout_ms": BOOTSTRAP_MS,
        "reconnect_backoff_max_ms": RECONNECT_MS_MAX,
        "proxy_url": DIRECT,
        "security_protocol": ("SASL_" if with_sasl else "") + ("SSL" if kafka.tls else "PLAINTEXT"),
    }
    files = {
        "ssl_cafile": kafka.ca_file,
        "ssl_certfile": kafka.cert_file,
        "ssl_keyfile": kafka.key_file,
    }
    options |= {name: str(path) for name, path in files.items() if path is not None}
    if with_sasl:
        options["sasl_mechanism"] = _SASL_MECHANISMS[kafka.sasl_mechanism]
        options["sasl_plain_username"] = kafka.sasl_username
        options["sasl_plain_password"] = _password(kafka)
    return options


def compression_of(kafka: KafkaSettings) -> str | None:
    """Give how messages are compressed, as the clients name it."""
    return None if kafka.compression == "none" else kafka.compression


def _quiet_library() -> None:
    """Let the library's own log be heard at debug level only.

    It writes several errors a second while a broker is away. What matters of them is in what it
    raises, and said once by whoever asked.
    """
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        logging.getLogger("kafka").setLevel(logging.CRITICAL)


def _password(kafka: KafkaSettings) -> str:
    assert kafka.sasl_password_file is not None  # the settings hold both or none
    try:
        password = kafka.sasl_password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        password = ""
    if not password:
        raise StartRefusedError(
            "kafka.sasl_password_file names a file that holds no password: write it there, alone"
        )
    return password


def id_text(topic_id: str) -> str:
    """Write a topic's ID, a UUID, as Kafka's own tools do."""
    return base64.urlsafe_b64encode(uuid.UUID(topic_id).bytes).decode("ascii").rstrip("=")


def worded(error: BaseException) -> str:
    """Word an error; the library's own begin with their names, or do not."""
    name, text = type(error).__name__, str(error)
    return text if name in text else f"{name}: {text}"


class Cluster:
    """Asks the cluster about itself; every call ends, whatever the brokers do."""

    def __init__(self, kafka: KafkaSettings, purpose: str) -> None:
        """Connect with the first question."""
        self._options = client_options(kafka, purpose)
        self._servers = kafka.bootstrap_servers
        self._name = kafka.cluster_name
        self._admin: KafkaAdminClient | None = None

    def look(self, topic: str, group: str) -> TopicState:
        """Tell how a topic stands now, and what a group has committed of it.

        BusUnavailableError says what is in the way.
        """
        try:
            admin = self.admin()
            cluster = self.name()
            (described,) = admin.describe_topics([topic])
            error = for_code(described["error_code"])
            if error.errno == _UNKNOWN_TOPIC:
                raise TopicMissingError(
                    f"topic {topic!r} is not there: `usage-ledger topics create` makes it"
                )
            if error.errno:
                raise BusUnavailableError(f"topic {topic!r}: {error.__name__}")
            numbers = [one["partition_index"] for one in described["partitions"]]
            starts = self._offsets(topic, numbers, OffsetSpec.EARLIEST)
            ends = self._offsets(topic, numbers, OffsetSpec.LATEST)
            committed = self._committed(topic, numbers, group)
        except KafkaError as error:
            raise BusUnavailableError(self.sentence(error)) from error
        partitions = {
            number: PartitionState(starts[number], ends[number], committed.get(number))
            for number in numbers
        }
        return TopicState(cluster, id_text(described["topic_id"]), partitions)

    def name(self) -> str:
        """Give the name of the cluster that positions are kept under: its ID, or the setting."""
        # Asked each time: behind the same addresses another cluster may have come up.
        name: str = self._name or self.admin().describe_cluster()["cluster_id"]
        return name

    def admin(self) -> KafkaAdminClient:
        """Give the client for administration; BusUnavailableError when no server answers."""
        if self._admin is None:
            try:
                self._admin = KafkaAdminClient(**self._options)
            except (KafkaError, OSError) as error:
                raise BusUnavailableError(self.sentence(error)) from error
        return self._admin

    def sentence(self, error: BaseException) -> str:
        """Word what a client raised."""
        if isinstance(error, NodeNotReadyError):
            return f"Kafka at {self._servers} cannot be asked: no broker answers"
        return f"Kafka at {self._servers} cannot be asked: {worded(error)}"

    def close(self) -> None:
        """Close the connection."""
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def _offsets(self, topic: str, numbers: Sequence[int], spec: OffsetSpec) -> dict[int, int]:
        wanted = {TopicPartition(topic, number): spec for number in numbers}
        found = self.admin().list_partition_offsets(wanted)
        return {partition.partition: place.offset for partition, place in found.items()}

    def _committed(self, topic: str, numbers: Sequence[int], group: str) -> dict[int, Committed]:
        wanted = [TopicPartition(topic, number) for number in numbers]
        found = self.admin().list_group_offsets({group: wanted})[group]
        return {
            partition.partition: Committed(place.offset, place.metadata or "")
            for partition, place in found.items()
            if place.offset >= 0
        }

    def __enter__(self) -> Self:
        """Use it for a while."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()
