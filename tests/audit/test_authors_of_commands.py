"""Every command is known for what it changes, and one that changes something says who ran it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer

from cli.main import app
from ledger.audit.keys import read_key_list
from ledger.operator import operator
from ledger.settings import load_settings
from ledger.stores import open_readers
from persistence.sqlite import FILE_NAME
from tests.audit.test_authors import BILLING_CASES, CASES
from tests.contract.data.scene import bytes_of, ran
from tests.harness import Calls, InProcessService, ServiceProcess, settings_for
from tests.proofs.test_commands import usage_ledger
from tests.servers.postgres import PostgresServer

# They change nothing of a ledger.
READ = {
    *("balance", "compare", "meters", "alerts", "status", "check", "verify", "config show"),
    *("dead-letters list", "dead-letters show", "usage list", "entries list", "entries voided"),
    *("cost-center list", "invoice-draft show", "why balance", "why entry", "why instance"),
    *("why draft-line", "why invoice", "why more", "instance show", "instance suspects"),
    *("log tail", "heads list", "heads show", "proof event", "proof consistency", "keys list"),
    *("projections status", "billing status", "billing webhooks", "erase list", "topics check"),
}
# They write what is no ledger: a pack, a file of a replay, topics of a broker, a line of a file.
ELSEWHERE = {"export", "replay", "what-if", "topics create", "token new"}
# They are the service: what they change is of whoever calls it, or publishes, or of their own user.
SERVICE = {"serve", "intake", "project", "relay", "jobs", "tree", "faust"}
# They make a call, which says who made it.
OF_A_CALL = {
    "publish": "/usage_ledger.v1.PublishingService/Publish",
    "import": "/usage_ledger.v1.AdminService/ImportOpeningState",
    "reconcile": "/usage.v1.UsageService/ReconcileUsage",
    "reset": "/usage_ledger.v1.AdminService/ConfirmReset",
    "accept-gap": "/usage_ledger.v1.AdminService/AcceptGap",
    "rebuild-tree": "/usage_ledger.v1.AuditService/RebuildTree",
    "dead-letters retry": "/usage_ledger.v1.AdminService/RetryDeadLetters",
    "cost-center get": "/usage.v1.UsageService/GetCostCenter",
    "cost-center set": "/usage.v1.UsageService/SetCostCenter",
    "credit-note add": "/usage.v1.UsageService/AddUsageCreditNote",
    "credit-note void": "/usage_ledger.v1.AuditService/VoidCreditNote",
    "instance end": "/usage_ledger.v1.AdminService/EndInstance",
    "instance void": "/usage_ledger.v1.AuditService/VoidInstance",
    "heads sign": "/usage_ledger.v1.AuditService/SignHeads",
    "erase user": "/usage_ledger.v1.AuditService/EraseUser",
    "billing reconcile": "/usage.v1.BillingService/ReconcileInvoices",
    "billing cancel": "/usage.v1.BillingService/CancelSubscription",
    "billing resume": "/usage_ledger.v1.BillingStatusService/ResumeReports",
    "billing settle": "/usage_ledger.v1.BillingStatusService/SettleInvoice",
    "billing replay": "/usage_ledger.v1.BillingStatusService/ReplayWebhook",
}
# They write themselves, and are tried below.
THEMSELVES = {
    *("migrate", "import-pack", "keys new", "keys add", "keys rotate", "keys retire"),
    *("projections rebuild", "projections promote", "projections rollback", "projections drop"),
}
ME = operator()


def commands() -> set[str]:
    """The names of all commands there are."""
    found: set[str] = set()

    def walk(group: Any, path: str) -> None:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                walk(command, f"{path}{name} ")
            else:
                found.add(f"{path}{name}")

    walk(typer.main.get_command(app), "")
    return found


def acts(data_dir: Path, **more: Any) -> list[tuple[str, str]]:
    """What is written down beside the log, and by whom, oldest first."""
    found = []
    for reader in open_readers(load_settings(None, data_dir=data_dir, **more)):
        with closing(reader):
            told = reader.status(runs_since=0, stopped_since=0).acts
            found += [(each.what, each.author) for each in reversed(told)]
    return found


def record(calls: Calls) -> None:
    calls.publish(bytes_of(ran("a", "06:00", "07:00")))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Of a ledger in a file, with an event in it."""
    with InProcessService(settings_for(tmp_path / "ledger")) as service:
        record(service.calls)
    return tmp_path / "ledger"


class TestACommand:
    def test_is_known_for_what_it_changes(self) -> None:
        kinds = (READ, ELSEWHERE, SERVICE, set(OF_A_CALL), THEMSELVES)
        assert commands() == set().union(*kinds)
        assert len(commands()) == sum(map(len, kinds)), "one has two kinds"

    def test_that_makes_a_call_makes_one_that_says_who_made_it(self) -> None:
        assert set() == set(OF_A_CALL.values()) - set(CASES) - set(BILLING_CASES)


class TestMigrate:
    def test_of_a_file(self, tmp_path: Path) -> None:
        usage_ledger("migrate", "--data-dir", str(tmp_path / "ledger"))
        assert [("migrate", ME)] == acts(tmp_path / "ledger")
        usage_ledger("migrate", "--data-dir", str(tmp_path / "ledger"))
        assert [("migrate", ME)] == acts(tmp_path / "ledger"), "nothing was to be done"

    @pytest.mark.postgres
    def test_of_a_database(self, postgres_server: PostgresServer, tmp_path: Path) -> None:
        url = postgres_server.new_database()
        config = tmp_path / "usage-ledger.toml"
        config.write_text(f'store = "postgres"\n[postgres]\nurls = ["{url}"]\n')
        given: dict[str, Any] = {"store": "postgres", "postgres": {"urls": [url]}}
        usage_ledger("migrate", "--config", str(config))
        assert [("migrate", ME)] == acts(tmp_path, **given)
        with psycopg.connect(url) as connection:  # as an upgrade leaves it
            connection.execute("UPDATE migrations SET finished_at = NULL WHERE number = 5")
        usage_ledger("migrate", "--finish", "--config", str(config))
        assert [("migrate", ME), ("migrate --finish", ME)] == acts(tmp_path, **given)


class TestKeys:
    def test_that_are_made_added_exchanged_and_retired(self, tmp_path: Path) -> None:
        data = ("--data-dir", str(tmp_path / "ledger"))
        other = ("--key-file", str(tmp_path / "other.key"))
        usage_ledger("keys", "new", "--name", "first", *data)
        usage_ledger("keys", "new", "--name", "x", *other, "--keys-file", str(tmp_path / "x.json"))
        usage_ledger("keys", "add", "--name", "added", *other, *data)
        with InProcessService(settings_for(tmp_path / "ledger"), tree=True) as service:
            record(service.calls)
            target = ("--target", service.target)
            usage_ledger("heads", "sign", *target)
            usage_ledger("keys", "rotate", "--name", "second", *data, *target)
            usage_ledger("keys", "retire", "added", *data, *target)
        listed = read_key_list(tmp_path / "ledger" / "audit-keys.json").keys
        assert [("first", ME, ME), ("added", ME, ME), ("second", ME, "")] == [
            (key.name, key.added_by, key.retired.by if key.retired else "") for key in listed
        ]


class TestPacks:
    def test_that_are_taken_over(self, tmp_path: Path) -> None:
        old, new = tmp_path / "old", tmp_path / "new"
        usage_ledger("keys", "new", "--data-dir", str(old))
        with InProcessService(settings_for(old), tree=True) as service:
            record(service.calls)
            usage_ledger("heads", "sign", "--target", service.target)
        pack = str(tmp_path / "pack")
        usage_ledger("export", pack, "--everything", "--data-dir", str(old))
        keys = str(old / "audit-keys.json")
        usage_ledger("import-pack", pack, "--keys", keys, "--data-dir", str(new))
        usage_ledger("import-pack", pack, "--keys", keys, "--data-dir", str(new))
        assert [("import-pack", ME)] == acts(new)


class TestProjections:
    @pytest.fixture
    def rows(self, data_dir: Path) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(data_dir / FILE_NAME)) as connection:
            yield connection

    def test_that_are_built_promoted_taken_back_and_dropped(
        self, data_dir: Path, rows: sqlite3.Connection
    ) -> None:
        data = ("--data-dir", str(data_dir))
        usage_ledger("projections", "rebuild", *data)
        usage_ledger("projections", "promote", *data)
        usage_ledger("projections", "rollback", *data)
        usage_ledger("projections", "drop", "2", *data)
        begun = rows.execute("SELECT begun_by FROM generations WHERE number = 2").fetchall()
        promoted = rows.execute("SELECT author FROM promotions WHERE number > 1").fetchall()
        assert ([(ME,)], [(ME,), (ME,)]) == (begun, promoted)
        assert [("projections drop", ME)] == acts(data_dir)


def test_over_loopback_it_is_the_user_of_the_service(data_dir: Path) -> None:
    with ServiceProcess(data_dir) as service:
        usage_ledger("rebuild-tree", "--target", service.target)
    assert [("rebuild-tree", ME)] == acts(data_dir)
