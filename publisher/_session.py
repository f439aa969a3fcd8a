"""One session of Kafka's idempotent producer.

Within a session each message is in the topic once, in the order it was handed over in its
partition, whatever was sent again on the way. An error that Kafka's client cannot recover from
ends its session: all that it holds fails, and it sends nothing any more, so the next one begins.
"""

import contextlib
import os
import ssl
import warnings
from collections.abc import Sequence
from typing import Any, Final, TypedDict

with warnings.catch_warnings():
    # It reads its message schemas by functions that Python 3.13 has taken back in.
    warnings.filterwarnings("ignore", "(read|open)_text is deprecated", DeprecationWarning)
    from kafka import KafkaProducer
    from kafka.errors import KafkaError, KafkaTimeoutError, RetriableError
    from kafka.partitioner import DefaultPartitioner, murmur2

from publisher._buffer import Buffer, Entry
from publisher._messages import Message
from publisher._reasons import Reasons
from publisher.errors import NotDelivered

# The broker's own limit on one message is the same; ours are far smaller.
REQUEST_BYTES_MAX: Final = 1 << 20
# A batch is for one partition; one of them is on its way at a time. Larger ones were no faster.
BATCH_BYTES: Final = 128 * 1024
# A bound on what is on its way unanswered; Kafka keeps the order of an idempotent session up to 5.
IN_FLIGHT_MAX: Final = 5
# An answer that takes longer is lost, and the message is sent again.
REQUEST_TIMEOUT_SECONDS: Final = 30.0
# How long one call into Kafka's client may block: in between we look at deadlines.
BLOCK_SECONDS: Final = 0.5
# The client's thread may be in the middle of a call that nobody answers; then it is left behind.
END_SECONDS_MAX: Final = 2.0
# A broker that is back is found within this time; Kafka's own value is 30 seconds.
RECONNECT_SECONDS_MAX: Final = 2.0
# Given, the client connects when it sends and not when it is made; an older broker is found out
# then, and spoken to in its own version.
API_VERSION: Final = (4, 0)
# Attribution IDs whose partition is remembered; then the memory starts anew.
KEYS_REMEMBERED_MAX: Final = 50_000
CLOSED_EARLY: Final = "the publisher was closed before the event was acknowledged"


class Security(TypedDict, total=False):
    """TLS and SASL, by kafka-python's names."""

    security_protocol: str  # PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL
    ssl_context: ssl.SSLContext
    ssl_check_hostname: bool
    ssl_cafile: str
    ssl_certfile: str
    ssl_keyfile: str
    ssl_password: str
    ssl_crlfile: str
    ssl_ciphers: str
    sasl_mechanism: str  # PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, GSSAPI
    sasl_plain_username: str
    sasl_plain_password: str
    sasl_kerberos_name: str
    sasl_kerberos_service_name: str
    sasl_kerberos_domain_name: str
    sasl_oauth_token_provider: object


PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI")
FILES: Final = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile")


def check_security(security: Security) -> None:
    """Raise ValueError for what cannot work; Kafka's client would try it again for ever."""
    given: dict[str, Any] = {**security}
    unknown = given.keys() - Security.__annotations__.keys()
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: no such option")
    protocol = given.get("security_protocol", "PLAINTEXT")
    if protocol not in PROTOCOLS:
        raise ValueError(f"security_protocol {protocol!r}: must be one of {', '.join(PROTOCOLS)}")
    mechanism = given.get("sasl_mechanism")
    if protocol.startswith("SASL") and mechanism not in MECHANISMS:
        raise ValueError(f"sasl_mechanism {mechanism!r}: must be one of {', '.join(MECHANISMS)}")
    for name in FILES:
        if given.get(name) is not None and not os.access(given[name], os.R_OK):
            raise ValueError(f"{name} {given[name]!r}: there is no such file to read")


class Session:
    """Made without a broker; connects when it is asked whether it is ready."""

    def __init__(
        self,
        bootstrap_servers: list[str],
        topic: str,
        buffer: Buffer,
        *,
        client_id: str,
        linger_seconds: float,
        delivery_timeout_seconds: float,
        security: Security,
    ) -> None:
        """Start the client's thread; raise ValueError for security that does not fit together."""
        self.topic = topic
        self._buffer = buffer
        self._is_ending = False
        # Set by an error that may have ended the session; its owner then begins another.
        self.is_suspect = False
        # Why nothing can be sent, as a sentence; empty while it can.
        self.trouble = ""
        self._is_ready = False
        check_security(security)
        self._reasons = Reasons(client_id)
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap_servers,
            client_id=client_id,
            enable_idempotence=True,
            acks="all",
            max_in_flight_requests_per_connection=IN_FLIGHT_MAX,
            linger_ms=round(linger_seconds * 1000),
            delivery_timeout_ms=round(delivery_timeout_seconds * 1000),
            request_timeout_ms=round(
                min(REQUEST_TIMEOUT_SECONDS, delivery_timeout_seconds - linger_seconds) * 1000
            ),
            batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES_MAX,
            max_block_ms=round(BLOCK_SECONDS * 1000),
            reconnect_backoff_max_ms=round(RECONNECT_SECONDS_MAX * 1000),
            partitioner=_RememberingPartitioner(),
            api_version=API_VERSION,
            metrics_enabled=False,
            **security,
        )

    def is_ready(self) -> bool:
        """Whether the topic's partitions are known; waits for them for BLOCK_SECONDS at most."""
        if not self._is_ready:
            try:
                self._is_ready = bool(self._producer.partitions_for(self.topic))
                self.trouble = ""
            except KafkaTimeoutError:
                reason = self._reasons.last or "no answer"
                self.trouble = f"no broker, or no topic {self.topic!r} ({reason})"
            except KafkaError as error:
                self.trouble = sentence(error)
        return self._is_ready

    def send(self, message: Message, entries: Sequence[Entry]) -> bool:
        """Hand over the message of these entries; False if that is not possible now."""
        try:
            future = self._producer.send(
                self.topic, key=message.key, value=message.value, headers=message.headers
            )
        except KafkaTimeoutError:
            self._is_ready = False
            return False
        # Both are called on the client's thread.
        future.add_callback(self._acknowledged, entries)
        future.add_errback(self._failed, entries)
        return True

    def _acknowledged(self, entries: Sequence[Entry], record: Any) -> None:
        self._buffer.acknowledge(entries, record.partition, record.offset)

    def _failed(self, entries: Sequence[Entry], error: BaseException) -> None:
        if not isinstance(error, (KafkaTimeoutError, RetriableError)):
            self.is_suspect = True
        reason = CLOSED_EARLY if self._is_ending else sentence(error)
        self._buffer.fail(entries, NotDelivered(reason, may_be_there=True))

    def settle(self, seconds: float) -> bool:
        """Wait until all that was handed over is settled; False if that takes longer."""
        try:
            self._producer.flush(seconds)
        except KafkaTimeoutError:
            return False
        return True

    def end(self) -> None:
        """Close. What is not settled fails."""
        # kafka-python 3.0: its `close` first waits for what is unsettled, raises when that takes
        # longer, and then has closed nothing. So what is left is failed before.
        sender = self._producer._sender  # noqa: SLF001
        self._is_ending = True
        if not self.settle(0):
            sender.force_close()
            sender.join(END_SECONDS_MAX)
        with contextlib.suppress(KafkaError):
            self._producer.close(END_SECONDS_MAX)
        self._reasons.end()

    def forget(self) -> None:
        """After a fork: the client is the parent's, and this process must not close it."""
        self._producer._unregister_cleanup()  # noqa: SLF001
        self._producer._closed = True  # noqa: SLF001


class _RememberingPartitioner(DefaultPartitioner):  # type: ignore[misc] # it ships no types
    """The partition of Kafka's default partitioner, whose hash in Python costs as much as the rest.

    Programs in Java, Go and JavaScript that hash by murmur2 send a payer to the same partition.
    """

    def __init__(self) -> None:
        self._hashes: dict[bytes, int] = {}

    def partition(
        self,
        topic: str,
        key: Any,  # noqa: ARG002 - the library calls it with all of them
        serialized_key: bytes,
        value: Any,  # noqa: ARG002
        serialized_value: bytes,  # noqa: ARG002
        cluster: Any,
    ) -> int:
        """The hash of the key modulo the number of partitions."""
        found = self._hashes.get(serialized_key)
        if found is None:
            if len(self._hashes) >= KEYS_REMEMBERED_MAX:
                self._hashes.clear()
            found = self._hashes[serialized_key] = murmur2(serialized_key) & 0x7FFFFFFF
        # Kafka numbers the partitions of a topic from 0 without gaps.
        return int(found % len(cluster.partitions_for_topic(topic)))


def sentence(error: BaseException) -> str:
    """Kafka's error for people."""
    said = str(error).strip()
    name = type(error).__name__
    return said if said.startswith(name) or not said else f"{name}: {said}"
