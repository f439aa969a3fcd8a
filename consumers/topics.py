"""The topics of the ledger: made as they should be, and compared with how they should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, for_code

from consumers.connecting import BusUnavailableError, Cluster
from ledger.settings import KafkaSettings

# Twelve can be shared evenly by 1, 2, 3, 4, 6 and 12 consumers. More can be added at any time: an
# event's payer decides its shard, not its partition.
PARTITIONS = 12
PARTITIONS_MAX = 10_000
REPLICAS_WANTED = 3  # as many as the cluster has brokers for
_ALREADY_EXISTS = 36  # Kafka's code for a topic that is there
_DAY_MS = 86_400_000
_FOREVER = "-1"
# The longest outage that must not lose an event: what was published and not taken in lies here.
USAGE_EVENTS_DAYS = 14
DEAD_LETTER_DAYS = 90
ALERT_DAYS = 400  # a year's alerts can be compared with those of the year before


class TopicPlan(NamedTuple):
    """How a topic should be."""

    name: str
    partitions: int
    replication_factor: int
    configs: Mapping[str, str]


class TopicOutcome(NamedTuple):
    """What became of a topic, and what differs from its plan."""

    name: str
    created: bool
    differences: Sequence[str]


def plan_topics(
    kafka: KafkaSettings, *, partitions: int, replication_factor: int
) -> list[TopicPlan]:
    """Give how the five topics should be."""
    names = kafka.topics
    # With three copies one broker may be down for repair while another one fails to answer.
    common = {"min.insync.replicas": str(max(1, min(2, replication_factor - 1)))}

    def kept(days: int) -> dict[str, str]:
        return {"cleanup.policy": "delete", "retention.ms": str(days * _DAY_MS)}

    forever = {"cleanup.policy": "delete", "retention.ms": _FOREVER, "retention.bytes": _FOREVER}
    wanted = {
        names.usage_events: kept(USAGE_EVENTS_DAYS),
        names.dead_letters: kept(DEAD_LETTER_DAYS),
        names.ledger_events: forever,
        names.alerts: kept(ALERT_DAYS),
        # Only the newest value of each meter matters.
        names.meters: {"cleanup.policy": "compact"},
    }
    return [
        TopicPlan(name, partitions, replication_factor, common | configs)
        for name, configs in wanted.items()
    ]


def replicas_for(cluster: Cluster) -> int:
    """Give the replication factor that the cluster has brokers for."""
    try:
        brokers = cluster.admin().describe_cluster()["brokers"]
    except KafkaError as error:
        raise BusUnavailableError(cluster.sentence(error)) from error
    return max(1, min(REPLICAS_WANTED, len(brokers)))


def create_topics(cluster: Cluster, plans: Sequence[TopicPlan]) -> list[TopicOutcome]:
    """Make the topics that are missing; those that are there stay as they are, and are compared.

    BusUnavailableError names what the cluster refused.
    """
    missing = {plan.name for plan in plans} - _existing(cluster, plans)
    wanted = {
        plan.name: {
            "num_partitions": plan.partitions,
            "replication_factor": plan.replication_factor,
            "configs": dict(plan.configs),
        }
        for plan in plans
        if plan.name in missing
    }
    if wanted:
        _create(cluster, wanted)
    return [
        TopicOutcome(plan.name, plan.name in missing, _differences(cluster, plan)) for plan in plans
    ]


def check_topics(cluster: Cluster, plans: Sequence[TopicPlan]) -> list[TopicOutcome]:
    """Compare the topics with their plans; nothing is changed."""
    existing = _existing(cluster, plans)
    return [
        TopicOutcome(
            plan.name,
            created=False,
            differences=(
                _differences(cluster, plan) if plan.name in existing else ["it is not there"]
            ),
        )
        for plan in plans
    ]


def _create(cluster: Cluster, wanted: Mapping[str, object]) -> None:
    try:
        answer = cluster.admin().create_topics(dict(wanted), raise_errors=False)
        refused = [
            f"topic {topic['name']!r}: {topic['error_message'] or for_code(topic['error_code'])}"
            for topic in answer["topics"]
            # Another process made it in between.
            if topic["error_code"] not in {0, _ALREADY_EXISTS}
        ]
        if refused:
            raise BusUnavailableError("; ".join(refused))
        cluster.admin().wait_for_topics(list(wanted))
    except KafkaError as error:
        raise BusUnavailableError(cluster.sentence(error)) from error


def _existing(cluster: Cluster, plans: Sequence[TopicPlan]) -> set[str]:
    try:
        return {plan.name for plan in plans} & set(cluster.admin().list_topics())
    except KafkaError as error:
        raise BusUnavailableError(cluster.sentence(error)) from error


def _differences(cluster: Cluster, plan: TopicPlan) -> list[str]:
    """Say each thing that is not as planned, and as it should be."""
    try:
        (described,) = cluster.admin().describe_topics([plan.name])
        resource = ConfigResource(ConfigResourceType.TOPIC, plan.name, list(plan.configs))
        answer = cluster.admin().describe_configs([resource], config_filter="all")
    except KafkaError as error:
        raise BusUnavailableError(cluster.sentence(error)) from error
    found: list[str] = []
    partitions = described["partitions"]
    if len(partitions) < plan.partitions:
        found.append(f"{len(partitions)} partitions, at least {plan.partitions} wanted")
    copies = min((len(one["replica_nodes"]) for one in partitions), default=0)
    if copies < plan.replication_factor:
        found.append(f"replication factor {copies}, at least {plan.replication_factor} wanted")
    actual = answer["topic"][plan.name]
    for name, wanted in plan.configs.items():
        value = actual[name]["value"]
        if value != wanted:
            found.append(f"{name} is {value}, {wanted} wanted")
    return found
