"""Kafka and PostgreSQL in containers, or a skip that says what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from testcontainers.core.container import DockerContainer

from tests.servers.kafka import PROPERTIES, answers
from tests.servers.ports import free_ports

KAFKA_IMAGE = os.environ.get("USAGE_LEDGER_TEST_KAFKA_IMAGE", "apache/kafka:4.4.0")
POSTGRES_IMAGE = os.environ.get("USAGE_LEDGER_TEST_POSTGRES_IMAGE", "postgres:17")
READY_SECONDS_MAX = 180  # a broker on a loaded machine takes a minute
PULL_SECONDS_MAX = 600
_PASSWORD = "of-a-test"  # the container lives as long as the test


# In a process of its own: a client that finds no daemon leaves its socket open, and a warning about
# that would come up in the middle of another test.
_LOOK = """
import sys, docker
client = docker.from_env()
client.ping()
for image in sys.argv[1:]:
    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        client.images.pull(image)
"""


def require(*images: str) -> None:
    """Skips the test unless a daemon answers and has, or can pull, every image."""
    # Its helper that tidies up is one more image to pull; these containers are stopped here.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    done = subprocess.run(
        (sys.executable, "-c", _LOOK, *images),
        capture_output=True,
        text=True,
        timeout=PULL_SECONDS_MAX,
        check=False,
    )
    if done.returncode != 0:
        reason = done.stderr.strip().rpartition("\n")[2]
        pytest.skip(f"no Docker daemon with {' and '.join(images)}: {reason}")


@contextmanager
def kafka() -> Iterator[str]:
    """A broker; gives its bootstrap servers."""
    (port,) = free_ports(1)
    settings = {
        # As the broker that the tests start themselves: they rely on some of it.
        **PROPERTIES,
        # Clients are sent to where the port is on this machine. The broker itself cannot
        # reach that, and must reach itself to end a transaction.
        "listeners": "PLAINTEXT://0.0.0.0:9092,BROKER://127.0.0.1:9094,CONTROLLER://127.0.0.1:9093",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},BROKER://127.0.0.1:9094",
        "inter.broker.listener.name": "BROKER",
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT"
        ),
        "controller.quorum.voters": "1@127.0.0.1:9093",
        "log.dirs": "/var/lib/kafka/data",
    }
    container = DockerContainer(KAFKA_IMAGE).with_bind_ports("9092/tcp", port)
    for name, value in settings.items():
        container = container.with_env(f"KAFKA_{name.upper().replace('.', '_')}", value)
    with container:
        _wait(container, lambda: answers(port))
        yield f"127.0.0.1:{port}"


@contextmanager
def postgres() -> Iterator[str]:
    """A server; gives the URL of a database whose user may make others."""
    container = (
        DockerContainer(POSTGRES_IMAGE)
        .with_exposed_ports(5432)
        .with_env("POSTGRES_USER", "postgres")
        .with_env("POSTGRES_DB", "postgres")
        .with_env("POSTGRES_PASSWORD", _PASSWORD)
    )
    with container:
        url = f"postgresql://postgres:{_PASSWORD}@127.0.0.1:{container.get_exposed_port(5432)}/postgres"
        _wait(container, lambda: _answers(url))
        yield url


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=1) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def _wait(container: DockerContainer, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while not is_ready():
        if time.monotonic() > deadline:
            output, errors = container.get_logs()
            raise RuntimeError(
                "the container was not ready in time:\n" + (output + errors).decode()[-4000:]
            )
        time.sleep(0.2)
