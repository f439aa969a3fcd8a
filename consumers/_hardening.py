"""What kafka-python's clients must not do here: stop for ever at a record, use up all sockets, or
consume without partitions.

Corrections of kafka-python 3.0, each held by a test on a real broker.
"""

from __future__ import annotations

from typing import Any

from kafka import KafkaConsumer
from kafka.net.inet import KafkaNetSocket
from kafka.net.transport import KafkaSSLTransport

from consumers._records import QuickRecords


class _ClosedSockets(KafkaNetSocket):  # type: ignore[misc]  # it has no types
    """Closes a socket that did not get through.

    The library leaves that to the collector of garbage, which a service may run seldom; a broker
    that is away for hours would cost it all its file descriptors.
    """

    SCHEMES = ("direct",)

    async def sock_connect(self, net: Any, sock: Any, address: Any, timeout_at: Any = None) -> Any:
        try:
            return await super().sock_connect(net, sock, address, timeout_at=timeout_at)
        except BaseException:
            sock.close()
            raise


# The library finds the class above by this scheme.
DIRECT = "direct://"

_handshake = KafkaSSLTransport.handshake


async def _closed_handshake(transport: Any) -> None:
    """Close a connection whose handshake failed, for the same reason."""
    try:
        await _handshake(transport)
    except BaseException:
        transport._sock.close()  # noqa: SLF001  # there is no public way
        raise


# Of every connection with TLS, whichever client makes it.
KafkaSSLTransport.handshake = _closed_handshake


class _Answer:
    """What a group answered to a join; it looks as if the join went on, so that it is awaited."""

    is_done = False

    def __init__(self, future: Any) -> None:
        self.add_callback = future.add_callback
        self.add_errback = future.add_errback
        self._future = future

    def __await__(self) -> Any:
        return self._future.__await__()


def _finish_joining(consumer: KafkaConsumer) -> None:
    """Let a consumer take the group's answer also when it came after or between its polls.

    The library takes it only during a poll. Between polls it throws the answer away and joins anew,
    without end where polls are short. And where the leader rejoins because the topic changed, or
    was not known when it joined, it forgets at the end of the poll that it was joining: then it has
    no partitions and no heartbeat for ever, and everything looks well.
    """
    coordinator = consumer._coordinator  # noqa: SLF001  # there is no public way
    need_rejoin, join_group = coordinator.need_rejoin, coordinator.join_group_async

    async def join_group_async(timeout_ms: float | None = None) -> Any:
        task = coordinator._join_task  # noqa: SLF001
        if coordinator.rejoining and task is not None and task.is_done:
            coordinator._join_task = _Answer(task)  # noqa: SLF001
        return await join_group(timeout_ms=timeout_ms)

    coordinator.need_rejoin = lambda: coordinator.rejoining or need_rejoin()
    coordinator.join_group_async = join_group_async


def _give_back_parked_records(consumer: KafkaConsumer) -> None:
    """Let a partition that was paused go on with the records that had been fetched of it.

    The library puts them aside, and takes them up again only while it has nothing else in hand; it
    counts what is used up as something. Unless another partition is paused at the right moment, it
    never reads that partition again.
    """
    fetcher = consumer._fetcher  # noqa: SLF001  # there is no public way
    fetched_records = fetcher.fetched_records

    def with_parked_records(*arguments: Any, **named: Any) -> Any:
        if not fetcher._next_partition_records:  # noqa: SLF001
            fetcher._next_partition_records = None  # noqa: SLF001
        return fetched_records(*arguments, **named)

    fetcher.fetched_records = with_parked_records


def harden(consumer: KafkaConsumer) -> None:
    """Apply all corrections; to be called before the first poll."""
    consumer._fetcher.PartitionRecords = QuickRecords  # noqa: SLF001  # there is no public way
    _give_back_parked_records(consumer)
    if consumer._coordinator is not None:  # noqa: SLF001  # a consumer without a group has none
        _finish_joining(consumer)


def is_rejoining(consumer: KafkaConsumer) -> bool:
    """Tell whether the group is being shared out; a poll should last until it is."""
    rejoining: bool = consumer._coordinator.rejoining  # noqa: SLF001
    return rejoining
