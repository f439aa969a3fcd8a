"""TLS and SASL: by the client's options, and by the settings of the command."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from publisher import Unreachable
from tests.contract.data.scene import bytes_of, ran
from tests.publisher.samples import stops
from tests.publisher.topic import Topic, ids_of
from tests.publishing.command import usage_ledger
from tests.servers.kafka import LocalBroker, ServerMissing, Topics

# Kafka's client leaves a connection that was refused to the garbage collector.
UNCLOSED = "ignore:unclosed <:ResourceWarning"
pytestmark = [pytest.mark.kafka, pytest.mark.filterwarnings(UNCLOSED)]

PASSWORD = "correct horse"
LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"


class Secured(NamedTuple):
    """A broker with a listener for everybody, and one for who has a password, over TLS."""

    plain: Topic
    secure: Topic
    authority: Path


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    certificate = authority.issue_cert("127.0.0.1")
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    keystore = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    keystore += b"".join(one.bytes() for one in certificate.cert_chain_pems)
    (folder / "server.pem").write_bytes(keystore)
    properties = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "server.pem"),
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.secure.plain.sasl.jaas.config": f'{LOGIN} user_service="{PASSWORD}";',
    }
    try:
        broker = LocalBroker(
            folder / "kafka", properties=properties, listeners={"SECURE": "SASL_SSL"}
        )
    except ServerMissing as missing:
        pytest.skip(str(missing))
    with broker:
        servers = broker.bootstrap_servers
        name = Topics(servers).create("usage.events")
        secure = Topic(f"127.0.0.1:{broker.ports['SECURE']}", name)
        yield Secured(Topic(servers, name), secure, folder / "authority.pem")
    gc.collect()


def options(secured: Secured, **changed: Any) -> dict[str, Any]:
    return {
        "security_protocol": "SASL_SSL",
        "ssl_cafile": str(secured.authority),
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "service",
        "sasl_plain_password": PASSWORD,
        **changed,
    }


class TestTheClient:
    def test_publishes_over_tls_with_a_password(self, secured: Secured) -> None:
        with secured.secure.publisher(**options(secured)) as publisher:
            publisher.connect(30)
            for event in stops(50, word="tls"):
                publisher.publish(event)
        assert {event.id for event in stops(50, word="tls")} <= set(
            ids_of(secured.plain.messages())
        )

    def test_says_that_the_broker_hangs_up_on_a_wrong_password(self, secured: Secured) -> None:
        wrong = options(secured, sasl_plain_password="guessed")
        with (
            secured.secure.publisher(**wrong) as publisher,
            # The broker answers and hangs up; sometimes the client reads no answer any more.
            pytest.raises(Unreachable, match=r"socket disconnected|Authentication failed"),
        ):
            publisher.connect(5)

    def test_trusts_nobody_that_its_authority_has_not_signed(
        self, secured: Secured, tmp_path: Path
    ) -> None:
        trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
        wrong = options(secured, ssl_cafile=str(tmp_path / "other.pem"))
        with (
            secured.secure.publisher(**wrong) as publisher,
            pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            publisher.connect(5)

    @pytest.mark.parametrize(
        ("wrong", "told"),
        [
            ({"ssl_cafile": "/nowhere"}, "ssl_cafile '/nowhere': there is no such file to read"),
            ({"sasl_mechanism": "NONE"}, "sasl_mechanism 'NONE': must be one of PLAIN, SCRAM"),
            ({"security_protocol": "TLS"}, "security_protocol 'TLS': must be one of PLAINTEXT"),
        ],
    )
    def test_refuses_options_that_cannot_work(
        self, secured: Secured, wrong: dict[str, Any], told: str
    ) -> None:
        with pytest.raises(ValueError, match=told):
            secured.secure.publisher(**options(secured, **wrong))


class TestTheCommand:
    def test_takes_them_from_the_settings(self, secured: Secured, tmp_path: Path) -> None:
        (tmp_path / "password").write_text(PASSWORD + "\n")
        config = tmp_path / "ledger.toml"
        config.write_text(
            "[kafka]\n"
            "tls = true\n"
            f'ca_file = "{secured.authority}"\n'
            'sasl_mechanism = "plain"\n'
            'sasl_username = "service"\n'
            'sasl_password_file = "password"\n'
            "[kafka.topics]\n"
            f'usage_events = "{secured.secure.name}"\n'
        )
        lines = bytes_of(ran("secured", "06:00", "07:00"))
        servers = secured.secure.bootstrap_servers
        arguments = ("--kafka", servers, "--config", config, "--json")
        ended = usage_ledger("publish", "-", *arguments, text=b"\n".join(lines))
        assert (0, len(lines)) == (ended.code, ended.answer["acknowledged"])
