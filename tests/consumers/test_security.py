"""TLS, mutual TLS and SASL on a real broker, as the settings name them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

from consumers.connecting import BusUnavailableError, Cluster, client_options, compression_of
from consumers.intake import Intake
from ledger.errors import StartRefusedError
from ledger.settings import KafkaSettings, load_settings
from tests.consumers.encodings import binary_protobuf
from tests.consumers.feeds import MemoryLedger
from tests.consumers.producing import keys_of, stop_event, wait_until
from tests.servers.kafka import LocalBroker, ServerMissing, Topics

pytestmark = pytest.mark.kafka

USER, PASSWORD = "ledger", "correct-horse"
LISTENERS = {"MUTUAL": "SSL", "PASSWORD": "SASL_SSL", "SCRAM": "SASL_PLAINTEXT"}


def pem_of(certificate: trustme.LeafCert, path: Path) -> Path:
    """Write key and certificate into one file, the key as a broker in Java reads it."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain = b"".join(one.bytes() for one in certificate.cert_chain_pems)
    path.write_bytes(pkcs8 + chain)
    return path


def properties_of(folder: Path, authority: trustme.CA) -> dict[str, str]:
    server = pem_of(authority.issue_cert("127.0.0.1"), folder / "server.pem")
    trusted = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule"
    properties = {
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.mutual.ssl.truststore.type": "PEM",
        "listener.name.mutual.ssl.truststore.location": str(trusted),
        "listener.name.password.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.password.plain.sasl.jaas.config": (
            f'{plain} required user_{USER}="{PASSWORD}";'
        ),
        "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.scram.scram-sha-512.sasl.jaas.config": f"{scram} required;",
    }
    for name in ("mutual", "password"):
        properties[f"listener.name.{name}.ssl.keystore.type"] = "PEM"
        properties[f"listener.name.{name}.ssl.keystore.location"] = str(server)
    return properties


class Guarded:
    """A broker with three guarded doors, and what opens each."""

    def __init__(self, broker: LocalBroker, folder: Path, authority: trustme.CA) -> None:
        self.broker = broker
        self.topics = Topics(broker.bootstrap_servers)
        self._folder = folder
        self._client = authority.issue_cert("usage-ledger")
        self.client_cert, self.client_key = folder / "client.pem", folder / "client-key.pem"
        self._client.cert_chain_pems[0].write_to_path(str(self.client_cert))
        self._client.private_key_pem.write_to_path(str(self.client_key))
        self.password_file = folder / "password"
        self.password_file.write_text(f"{PASSWORD}\n")
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
        try:
            admin.alter_user_scram_credentials(
                [UserScramCredentialUpsertion(USER, ScramMechanism.SCRAM_SHA_512, PASSWORD)]
            )
        finally:
            admin.close()

    def settings(self, door: str, **changed: Any) -> KafkaSettings:
        """Give the settings that open a door, or do not if they are changed."""
        ca = {"tls": True, "ca_file": self._folder / "ca.pem"}
        user = {"sasl_username": USER, "sasl_password_file": self.password_file}
        opens: dict[str, dict[str, Any]] = {
            "MUTUAL": {**ca, "cert_file": self.client_cert, "key_file": self.client_key},
            "PASSWORD": {**ca, **user, "sasl_mechanism": "plain"},
            "SCRAM": {**user, "sasl_mechanism": "scram-sha-512"},
        }
        given = {
            "bootstrap_servers": f"127.0.0.1:{self.broker.ports[door]}",
            "group_id": self.topics.name("group"),
            **opens[door],
            **changed,
        }
        return load_settings(None, kafka=given).kafka


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    try:
        broker = LocalBroker(
            folder / "kafka", properties=properties_of(folder, authority), listeners=LISTENERS
        )
    except ServerMissing as missing:
        pytest.skip(str(missing))
    with broker:
        yield Guarded(broker, folder, authority)


class TestGuardedBrokers:
    """What opens them, and what does not."""

    @pytest.mark.parametrize("door", sorted(LISTENERS))
    def test_let_the_intake_in(self, guarded: Guarded, door: str) -> None:
        topic = guarded.topics.create("usage")
        kafka = guarded.settings(door, topics={"usage_events": topic})
        producer = KafkaProducer(**client_options(kafka, "test"))
        told = binary_protobuf(stop_event(1))
        producer.send(
            topic, told.value, headers=[(name, value or b"") for name, value in told.headers]
        ).get(timeout=30)
        producer.close()
        ledger = MemoryLedger()
        intake = Intake(kafka, ledger.feed)
        intake.start()
        try:
            wait_until(lambda: ledger.total().received == 1, intake.status)
        finally:
            intake.stop()
        assert keys_of([1]) == ledger.keys_in_order()

    @pytest.mark.parametrize("door", ["PASSWORD", "SCRAM"])
    def test_keep_out_a_wrong_password_and_do_not_tell_it(
        self, guarded: Guarded, door: str, tmp_path: Path
    ) -> None:
        wrong = tmp_path / "password"
        wrong.write_text("battery-staple")
        kafka = guarded.settings(door, sasl_password_file=wrong)
        with Cluster(kafka, "test") as cluster, pytest.raises(BusUnavailableError) as caught:
            cluster.look("any", "group")
        assert "cannot be asked" in str(caught.value)
        assert "battery-staple" not in str(caught.value)

    def test_keep_out_who_has_no_certificate(self, guarded: Guarded) -> None:
        kafka = guarded.settings("MUTUAL", cert_file=None, key_file=None)
        with Cluster(kafka, "test") as cluster, pytest.raises(BusUnavailableError):
            cluster.look("any", "group")

    def test_are_not_believed_when_another_authority_vouches_for_them(
        self, guarded: Guarded, tmp_path: Path
    ) -> None:
        other = tmp_path / "ca.pem"
        trustme.CA().cert_pem.write_to_path(str(other))
        kafka = guarded.settings("PASSWORD", ca_file=other)
        with Cluster(kafka, "test") as cluster, pytest.raises(BusUnavailableError):
            cluster.look("any", "group")


class TestPasswords:
    """The file that holds one."""

    @pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
    def test_that_are_none_refuse_the_start(self, content: bytes, tmp_path: Path) -> None:
        file = tmp_path / "password"
        file.write_bytes(content)
        given = {
            "bootstrap_servers": "127.0.0.1:1",
            "sasl_mechanism": "scram-sha-512",
            "sasl_username": USER,
            "sasl_password_file": file,
        }
        with pytest.raises(StartRefusedError, match="names a file that holds no password"):
            client_options(load_settings(None, kafka=given).kafka, "test")


class TestCompression:
    """What a producer may be told to do."""

    @pytest.mark.parametrize(
        ("name", "compressed"),
        [("none", None), ("gzip", "gzip"), ("lz4", "lz4"), ("zstd", "zstd")],
    )
    def test_is_what_the_setting_says(self, name: str, compressed: str | None) -> None:
        kafka = load_settings(None, kafka={"compression": name}).kafka
        assert compressed == compression_of(kafka)
