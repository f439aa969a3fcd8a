"""Producers that send twice and out of order: each event counts once, and the counts say so."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator

import pytest

from tests.oracle.synthetic import synthetic_lines
from tests.oracle.trace import shuffled, with_repeats
from tests.servers.postgres import PostgresServer
from tests.survival.cluster import Cluster, postgres
from tests.survival.stream import Stream

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(900)]

INSTANCES = 800
PAYERS = 30

Lines = list[bytes]


def twice_in_a_row(lines: Lines) -> Lines:
    return list(with_repeats(lines, every=1))


def twice_over(lines: Lines) -> Lines:
    return lines + lines


def in_windows(lines: Lines) -> Lines:
    return shuffled(lines, window=200)


def in_any_order(lines: Lines) -> Lines:
    return random.Random(5).sample(lines, len(lines))


def twice_in_any_order(lines: Lines) -> Lines:
    return in_any_order(twice_over(lines))


@pytest.fixture(scope="module")
def flowing(
    kafka_broker: str,
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Cluster, Stream]]:
    url = postgres_server.new_ledger()
    with Cluster(tmp_path_factory.mktemp("flowing"), kafka_broker, postgres(url)) as cluster:
        cluster.serve("project")
        cluster.start("intake")
        cluster.start("intake")
        yield cluster, cluster.stream()
    postgres_server.drop_database(url)


@pytest.mark.parametrize("packed", [1, 20], ids=["alone", "packed"])
@pytest.mark.parametrize(
    "way", [twice_in_a_row, twice_over, in_windows, in_any_order, twice_in_any_order]
)
def test_events_sent(
    flowing: tuple[Cluster, Stream], way: Callable[[Lines], Lines], packed: int
) -> None:
    cluster, stream = flowing
    before = cluster.status().total
    seed = zlib.crc32(f"{way.__name__} {packed}".encode())
    lines = list(synthetic_lines(seed, INSTANCES, PAYERS))
    sent = way(lines)
    stream.send(sent, packed=packed)
    cluster.assert_accounts(stream)
    after = cluster.status().total
    assert (len(sent), len(lines), len(sent) - len(lines), 0) == (
        after.received - before.received,
        after.recorded - before.recorded,
        after.repeated - before.repeated,
        after.rejected - before.rejected,
    )
