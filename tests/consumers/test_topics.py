"""`usage-ledger topics create|check` on a real broker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from tests.cli.running import usage_ledger
from tests.servers.kafka import Topics

pytestmark = pytest.mark.kafka

ROLES = ("usage_events", "dead_letters", "ledger_events", "alerts", "meters")


@pytest.fixture
def config(topics: Topics, tmp_path: Path) -> Path:
    """Settings with topics that no other test has."""
    path = tmp_path / "usage-ledger.toml"
    names = "\n".join(f'{role} = "{topics.name(role)}"' for role in ROLES)
    path.write_text(
        f'[kafka]\nbootstrap_servers = "{topics.bootstrap_servers}"\n[kafka.topics]\n{names}\n'
    )
    return path


def told(config: Path, what: str, *options: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """What the command says of each topic, by its role."""
    text = usage_ledger("topics", what, "--config", str(config), "--json", *options, code=code)
    outcomes = json.loads(text)["topics"]
    return {outcome["name"].partition(".")[0]: outcome for outcome in outcomes}


class TestTopics:
    """Making and checking."""

    def test_are_made_once_and_are_as_they_should_be(self, config: Path) -> None:
        missing = told(config, "check", code=3)
        assert {role: ["it is not there"] for role in ROLES} == {
            role: outcome["differences"] for role, outcome in missing.items()
        }
        made = told(config, "create")
        assert dict.fromkeys(ROLES, (True, [])) == _states(made)
        again = told(config, "create")
        assert dict.fromkeys(ROLES, (False, [])) == _states(again)
        assert dict.fromkeys(ROLES, (False, [])) == _states(told(config, "check"))

    def test_differences_are_named_one_by_one(self, config: Path, topics: Topics) -> None:
        made = told(config, "create", "--partitions", "2")
        name = made["usage_events"]["name"]
        admin = KafkaAdminClient(bootstrap_servers=topics.bootstrap_servers)
        try:
            resource = ConfigResource(
                ConfigResourceType.TOPIC,
                name,
                {"retention.ms": "1000", "cleanup.policy": "compact"},
            )
            admin.alter_configs([resource])
        finally:
            admin.close()
        checked = told(config, "check", "--partitions", "3", "--replication-factor", "2", code=3)
        assert [
            "2 partitions, at least 3 wanted",
            "replication factor 1, at least 2 wanted",
            "cleanup.policy is compact, delete wanted",
            "retention.ms is 1000, 1209600000 wanted",
        ] == checked["usage_events"]["differences"]

    def test_what_the_cluster_refuses_is_said_in_its_words(self, config: Path) -> None:
        text = usage_ledger(
            "topics", "create", "--config", str(config), "--replication-factor", "7", code=4
        )
        assert "only 1 broker(s) are registered" in text


class TestWithoutABroker:
    """No server, or none set."""

    def test_says_which_servers_do_not_answer(self, tmp_path: Path) -> None:
        path = tmp_path / "usage-ledger.toml"
        path.write_text('[kafka]\nbootstrap_servers = "127.0.0.1:1"\n')
        text = usage_ledger("topics", "check", "--config", str(path), code=4)
        assert "Kafka at 127.0.0.1:1 cannot be asked" in text

    def test_says_which_setting_is_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "usage-ledger.toml"
        path.write_text("")
        text = usage_ledger("topics", "check", "--config", str(path), code=1)
        assert "kafka.bootstrap_servers is not set: name the servers of the bus" in text


def _states(outcomes: dict[str, dict[str, Any]]) -> dict[str, tuple[bool, list[str]]]:
    return {role: (one["created"], one["differences"]) for role, one in outcomes.items()}
