"""The tests of intake and store, with the servers in containers instead of our own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import servers

ROOT = Path(__file__).parents[2]
RUN_SECONDS_MAX = 900


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """The variables that send the tests to the containers."""
    servers.require(servers.KAFKA_IMAGE, servers.POSTGRES_IMAGE)
    with servers.kafka() as bootstrap_servers, servers.postgres() as url:
        yield {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "USAGE_LEDGER_TEST_POSTGRES_URL": url,
        }


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(RUN_SECONDS_MAX)
class TestAgainstContainers:
    @pytest.mark.parametrize("tests", ["tests/consumers", "tests/cluster", "tests/store"])
    def test_pass_with_the_servers_of_others(self, environment: dict[str, str], tests: str) -> None:
        """A run of pytest of its own: its fixtures take the servers that the variables name."""
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["-m", "kafka or postgres", tests]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_SECONDS_MAX,
            check=False,
        )
        assert 0 == done.returncode, done.stdout
        passed = re.search(r"(\d+) passed", done.stdout)
        assert passed is not None, done.stdout
        assert int(passed[1]) > 0
