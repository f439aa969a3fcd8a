"""What a process does from start to stop, by the parts that it has."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from jobs import Scheduler
from ledger.application import Ledger
from ledger.audit.following import TreeTail
from ledger.audit.sealing import SealingTail
from ledger.errors import StartRefusedError
from ledger.health import Probe
from ledger.live_folding import live_tail
from ledger.live_views import EmbeddedViews, LiveViews
from ledger.probes import HeadsProbe, TailProbe
from ledger.tails import Tail

if TYPE_CHECKING:
    from consumers.intake import Intake

Duty = Callable[[], Coroutine[Any, Any, None]]

NEED_KAFKA = frozenset({"intake", "relay"})


def duties_of(ledger: Ledger, parts: Sequence[str], *, role: str) -> tuple[list[Duty], list[Probe]]:
    """Give what a process does, and how those parts of it are.

    `serve` leaves out what needs Kafka while no servers are named; a role that is nothing without
    it is refused.
    """
    duties: list[Duty] = []
    probes: list[Probe] = []
    has_kafka = ledger.settings.kafka.bootstrap_servers is not None
    if role in NEED_KAFKA and not has_kafka:
        raise StartRefusedError(f"`{role}` works with Kafka: set kafka.bootstrap_servers")
    scheduler = Scheduler(ledger)  # `status` shows when jobs ran, whichever process runs them
    if "jobs" in parts:
        duties.append(scheduler.run)
        probes.append(HeadsProbe(ledger.heads))
    if "intake" in parts and has_kafka:
        intake = _intake(ledger)
        ledger.instruments.intake_lag.follow(lambda: _lags(intake))
        duties.append(lambda: _until_stopped(intake))
        probes.append(intake)
    if "relay" in parts and has_kafka:
        for tail in _relays(ledger):
            duties.append(tail.run)
            probes.append(TailProbe(tail))
    if "project" in parts:
        for tail in map(SealingTail, ledger.shards):
            duties.append(tail.run)
            probe = TailProbe(tail)
            probe.is_needed = False  # without it answers of older moments are only slower
            probes.append(probe)
    if "tree" in parts:
        for tail in map(TreeTail, ledger.shards):
            duties.append(tail.run)
            probe = TailProbe(tail)
            # A broken tree keeps nobody from being served; of the role it is all that it does.
            probe.is_needed = role == "tree"
            probes.append(probe)
    return duties, probes


def live_views_of(ledger: Ledger) -> tuple[LiveViews, list[Duty], list[Probe]]:
    """Give what answers of live meters and alerts, and what keeps it up to date."""
    settings = ledger.settings
    if settings.live_views.folded_by == "faust":
        from consumers.live_follower import BusViews

        followed = BusViews(settings.kafka)
        return followed, [followed.run], [followed.probe]
    duties: list[Duty] = []
    probes: list[Probe] = []
    if "views" in settings.serve.parts:
        for tail in map(live_tail, ledger.shards):
            duties.append(tail.run)
            probe = TailProbe(tail)
            # Meters that lag keep nobody from being served: they say up to where they are.
            probe.is_needed = False
            probes.append(probe)
    return EmbeddedViews(ledger.shards, ledger.placing), duties, probes


_NEEDS_MORE = 'Kafka needs more packages: pip install "usage-ledger[cluster]"'


def _relays(ledger: Ledger) -> list[Tail]:
    try:
        from consumers.relay import DeadLetterTail, RelayTail
    except ImportError as error:
        raise StartRefusedError(_NEEDS_MORE) from error
    kafka = ledger.settings.kafka
    relays: list[Tail] = [RelayTail(kafka, shard) for shard in ledger.shards]
    return relays + [DeadLetterTail(kafka, shard) for shard in ledger.shards]


def _intake(ledger: Ledger) -> "Intake":
    try:
        from consumers.intake import Intake
    except ImportError as error:
        raise StartRefusedError(_NEEDS_MORE) from error
    return Intake(ledger.settings.kafka, ledger.feed, failpoint=ledger.shards[0].core.failpoint)


def _lags(intake: "Intake") -> list[tuple[tuple[str, str], float]]:
    """Give the lag of every partition that is ours, by topic and partition."""
    topic, _, partitions = intake.status()
    return [((topic, str(one.partition)), one.lag) for one in partitions if one.lag is not None]


async def _until_stopped(intake: "Intake") -> None:
    intake.start()
    try:
        await asyncio.Event().wait()
    finally:
        # Its threads wait for answers of this event loop, which goes on meanwhile.
        await asyncio.to_thread(intake.stop)
