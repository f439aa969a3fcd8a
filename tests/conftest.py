"""The rule about skipped server tests, the Hypothesis profiles, and servers that tests share."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer

# Fixtures of the servers that tests ask for, wherever the tests lie.
pytest_plugins = ("tests.servers.kafka",)

# In CI these servers are there or can be started, so a skip means that something is broken.
REQUIRED_IN_CI: Final = frozenset({"kafka", "postgres"})
# What a machine may lack, in CI too; these skips are only said loudly. Docker is among them: the
# tests start Kafka and PostgreSQL without it, a daemon is not everybody's to start, and CI's
# machine has none and can pull no image. tests/containers/README.md says how to run that tier.
MAY_LACK: Final = frozenset({"docker", "go", "node", "stripe_account", "stripe_mock"})
ANNOUNCED: Final = REQUIRED_IN_CI | MAY_LACK

IN_CI: Final = os.environ.get("CI", "").lower() not in {"", "0", "false"}

NOT_RUN: Final = "not run"  # a property of reports: whoever runs a test hands it to who tells

# No deadline: a loaded machine is slow, not wrong. In CI the examples are the same on every run, so
# that a red build is the change's doing; at home new ones are searched for on every run.
settings.register_profile("dev", deadline=None, print_blob=True)
settings.register_profile(
    "ci", deadline=None, print_blob=True, max_examples=200, derandomize=True, database=None
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if IN_CI else "dev"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    needed = ANNOUNCED.intersection(mark.name for mark in item.iter_markers())
    if not report.skipped or hasattr(report, "wasxfail") or not needed:
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    told = f"{item.nodeid} [{', '.join(sorted(needed))}]: {reason}"
    report.user_properties.append((NOT_RUN, told))
    # A test that needs a server and a toolchain may be without the toolchain.
    if IN_CI and needed & REQUIRED_IN_CI and not needed & MAY_LACK:
        report.outcome = "failed"
        report.longrepr = f"{reason}\nCI has this server, so a skip here is a failure."
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if IN_CI and report.skipped and isinstance(collector, pytest.Module):
        # A whole module that skips itself while it is imported has no marks to judge it by.
        report.outcome = "failed"
        report.longrepr = f"{report.longrepr}\nSkip by a mark or in a fixture, not at import."
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [each for kind in ("skipped", "failed") for each in terminalreporter.getreports(kind)]
    skipped = sorted(
        told
        for report in reports
        for name, told in getattr(report, "user_properties", ())
        if name == NOT_RUN
    )
    if skipped:
        title = f"{len(skipped)} NOT RUN: their server or toolchain is missing"
        terminalreporter.section(title, sep="!", red=True, bold=True)
        for line in skipped:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server that stays up; mark what asks for it `postgres`."""
    from tests.servers.postgres import any_server  # noqa: PLC0415  # most tests need no server

    with any_server() as server:
        yield server


@pytest.fixture
def empty_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def ledger_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a database that was migrated: an empty ledger, shard 0."""
    url = postgres_server.new_ledger()
    yield url
    postgres_server.drop_database(url)
