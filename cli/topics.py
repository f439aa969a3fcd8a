"""The topics of the bus: made, and compared with what they should be."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cli.configuration import read
from cli.exits import FAILED, OK, REJECTED, UNREACHABLE, CommandFailed
from cli.json_form import encode
from cli.tables import print_table
from consumers.connecting import BusUnavailableError, Cluster
from consumers.topics import (
    TopicOutcome,
    TopicPlan,
    check_topics,
    create_topics,
    plan_topics,
    replicas_for,
)
from ledger.errors import StartRefusedError

Act = Callable[[Cluster, Sequence[TopicPlan]], list[TopicOutcome]]


def create(
    config: Path | None, *, partitions: int, replication_factor: int | None, as_json: bool
) -> int:
    """Makes what is missing; says what differs."""
    outcomes = _run(create_topics, config, partitions, replication_factor)
    _print(outcomes, as_json=as_json)
    return OK


def check(
    config: Path | None, *, partitions: int, replication_factor: int | None, as_json: bool
) -> int:
    """Names every difference."""
    outcomes = _run(check_topics, config, partitions, replication_factor)
    _print(outcomes, as_json=as_json)
    return REJECTED if any(outcome.differences for outcome in outcomes) else OK


def _run(
    act: Act, config: Path | None, partitions: int, replication_factor: int | None
) -> list[TopicOutcome]:
    kafka = read(config, {}).settings.kafka
    try:
        with Cluster(kafka, "topics") as cluster:
            copies = replication_factor or replicas_for(cluster)
            plans = plan_topics(kafka, partitions=partitions, replication_factor=copies)
            return act(cluster, plans)
    except StartRefusedError as error:
        raise CommandFailed(str(error), exit_code=FAILED) from None
    except BusUnavailableError as error:
        raise CommandFailed(str(error), exit_code=UNREACHABLE) from None


def _print(outcomes: Sequence[TopicOutcome], *, as_json: bool) -> None:
    if as_json:
        told = {
            "topics": [
                {
                    "name": outcome.name,
                    "created": outcome.created,
                    "differences": list(outcome.differences),
                }
                for outcome in outcomes
            ]
        }
        sys.stdout.write(f"{encode(told, indent=2)}\n")
        return
    rows = [(outcome.name, _state(outcome)) for outcome in outcomes]
    print_table("", ("topic", "state"), rows)


def _state(outcome: TopicOutcome) -> str:
    if outcome.differences:
        return "; ".join(outcome.differences)
    return "created" if outcome.created else "as it should be"
