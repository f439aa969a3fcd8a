"""`usage-ledger erase` and `what-if`, as operators run them."""

from __future__ import annotations

import json
import re
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Service, an_hour, event, new_payer, usage_ledger
from tests.contract.data.scene import PAYER, Scene, ran
from tests.harness.backends import POSTGRES, choose
from tests.servers.postgres import PostgresServer

TWICE = '[prices.credits_per_minute]\ng1-large = "0.6666666666"\n'


class TestErase:
    def test_a_user_is_counted_erased_and_listed(self, service: Service) -> None:
        payer, user = new_payer(), str(uuid.uuid4())
        start, stop = an_hour(payer, str(uuid.uuid4()), user=user)
        start["data"]["userName"] = "Ada"
        service.publish(start, stop)
        service.publish({"userId": user}, code=3)

        counted = service.ask("erase", "user", user, "--dry-run")
        erased = service.ask("erase", "user", user, "--reason", "request 17")
        again = service.run("erase", "user", user, "--reason", "request 18")
        listed = service.ask("erase", "list", "--all")["erasures"]

        assert ("counted", 1, 1) == told(counted)
        assert ("done", 1, 1) == told(erased)
        assert "Nothing is left to erase" in again
        assert [erased] == [each for each in listed if each["user_id"] == user]
        assert user in service.run("erase", "list", "--all")
        (entry,) = service.ask("usage", "list", payer)["usage_entries"]
        assert ("", user) == (entry["metadata"]["userName"], entry["metadata"]["userId"])
        shown = service.run("instance", "show", entry["workspace_instance_id"])
        assert "(personal data erased at" in shown

    def test_needs_a_reason(self, service: Service) -> None:
        assert "--reason" in service.run("erase", "user", str(uuid.uuid4()), code=2)

    def test_of_nobody_is_refused(self, service: Service) -> None:
        assert "must be a UUID" in service.run("erase", "user", "ada", "--reason", "x", code=2)


def told(erasure: dict[str, Any]) -> tuple[str, int, int]:
    return erasure["state"], erasure["personal_rows"], erasure["dead_letters"]


class TestWhatIf:
    @pytest.fixture
    def data_dir(self, tmp_path: Path) -> Path:
        return tmp_path / "ledger"

    @pytest.fixture
    def running(self, data_dir: Path) -> Iterator[Service]:
        service = Service(data_dir, "--no-jobs")
        yield service
        service.stop()

    @pytest.fixture
    def prices(self, tmp_path: Path) -> str:
        path = tmp_path / "prices.toml"
        path.write_text(TWICE)
        return str(path)

    def test_shows_differences_while_the_service_goes_on(
        self, running: Service, data_dir: Path, prices: str
    ) -> None:
        small, large = new_payer(), new_payer()
        running.publish(*an_hour(small, str(uuid.uuid4())))
        for _ in range(2):
            running.publish(*an_hour(large, str(uuid.uuid4())))
        running.publish(*small_change(small))
        where = ("--data-dir", str(data_dir))

        table = usage_ledger("what-if", "--prices", prices, *where)
        asked = json.loads(usage_ledger("what-if", "--prices", prices, "--json", *where))
        alone = json.loads(
            usage_ledger("what-if", "--prices", prices, "--payer", small, "--json", *where)
        )
        one = usage_ledger("what-if", "--prices", prices, "--top", "1", *where)

        assert table.index(large) < table.index(small)
        assert "+40.00" in table
        assert "add up to the 2 balances that are shown" in table
        assert [large, small] == [each["attribution_id"] for each in asked["payers"]]
        assert (6100, 12100) == (
            asked["total"]["usage_cents"],
            asked["total"]["usage_what_if_cents"],
        )
        assert 60 == asked["total"]["usage_difference_credits"]
        assert ["default", "g1-large"] == [each["class"] for each in asked["classes"]]
        assert [asked["payers"][1]] == alone["payers"]
        assert ("1 more" in one, small in one) == (True, False)
        assert 4000 == running.cents(large)

    def test_reads_a_ledger_that_no_service_runs_and_changes_nothing(
        self, running: Service, data_dir: Path
    ) -> None:
        payer = new_payer()
        running.publish(*an_hour(payer, str(uuid.uuid4())))
        running.stop()
        before = (data_dir / "ledger.db").read_bytes()

        told = usage_ledger("what-if", "--rounding", "hour-up", "--data-dir", str(data_dir))

        assert payer in told
        assert before == (data_dir / "ledger.db").read_bytes()

    def test_ends_with_3_where_the_log_does_not_add_up(
        self, running: Service, data_dir: Path
    ) -> None:
        payer = new_payer()
        running.publish(*an_hour(payer, str(uuid.uuid4())))
        running.stop()
        with closing(sqlite3.connect(data_dir / "ledger.db")) as ledger, ledger:
            ledger.execute("UPDATE balances SET booked_cents = booked_cents + 1")

        told = usage_ledger("what-if", "--rounding", "hour-up", "--data-dir", str(data_dir), code=3)

        assert f"✗ {payer}: balance 2001 cents, log 2000 cents" in told

    @pytest.mark.parametrize(
        "wrong",
        [
            (),
            ("--rounding", "minute-ceil"),
            ("--prices", "/nowhere/at-all"),
            ("--resets", "nothing", "--spending-limit", "5"),
            ("--rounding", "minute-up", "--payer", "ada"),
            ("--rounding", "minute-up", "--from", "yesterday"),
        ],
    )
    def test_what_is_wrong_ends_with_2(self, data_dir: Path, wrong: tuple[str, ...]) -> None:
        usage_ledger("what-if", *wrong, "--data-dir", str(data_dir), code=2)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ('[prices]\ng1-large = "0.5"\n', "rates of classes belong below credits_per_minute"),
            ('[rates]\ng1-large = "0.5"\n', r"has no table \[prices\], nor any \[\[prices\]\]"),
            ("[prices.credits_per_minute]\ndefault = true\n", "rate True: write a decimal"),
            ('[prices]\nfallback = "1"\n', "no credits_per_minute: write class = rate"),
            ("prices", "is not TOML"),
        ],
    )
    def test_a_file_that_holds_no_prices_is_told_what_to_change(
        self, data_dir: Path, tmp_path: Path, text: str, reason: str
    ) -> None:
        file = tmp_path / "tried.toml"
        file.write_text(text)
        told = usage_ledger("what-if", "--prices", str(file), "--data-dir", str(data_dir), code=2)
        assert re.search(reason, told)

    def test_where_no_ledger_is_it_makes_none(self, data_dir: Path) -> None:
        told = usage_ledger(
            "what-if", "--rounding", "minute-up", "--data-dir", str(data_dir), code=1
        )

        assert "is not there; name another data directory" in told
        assert not data_dir.exists()

    def test_of_another_programs_file_is_refused(self, data_dir: Path) -> None:
        data_dir.mkdir()
        with closing(sqlite3.connect(data_dir / "ledger.db")) as other, other:
            other.execute("CREATE TABLE t (a)")

        told = usage_ledger(
            "what-if", "--rounding", "minute-up", "--data-dir", str(data_dir), code=1
        )

        assert "is not a ledger" in told

    @pytest.mark.postgres
    def test_reads_the_databases_of_a_cluster(
        self, postgres_server: PostgresServer, tmp_path: Path, prices: str
    ) -> None:
        file = tmp_path / "usage-ledger.toml"
        with choose(POSTGRES, postgres_server) as backend:
            with Scene() as scene:
                scene.record(*ran("a", "06:00", "07:00", workspaceClass="g1-large"))
                urls = json.dumps(scene.service.settings.postgres.urls)
                file.write_text(f'store = "postgres"\n[postgres]\nurls = {urls}\n')

                told = json.loads(
                    usage_ledger("what-if", "--prices", prices, "--config", str(file), "--json")
                )
            backend.close()

        (payer,) = told["payers"]
        assert (PAYER, 2000, 4000) == (
            payer["attribution_id"],
            payer["usage_cents"],
            payer["usage_what_if_cents"],
        )


def small_change(payer: str) -> list[dict[str, Any]]:
    """A credit of a class that the other prices leave alone: six minutes of 1/6 credit."""
    instance = str(uuid.uuid4())
    return [
        event("started", payer, instance, startedTime="2026-01-01T00:00:00Z"),
        event("stopped", payer, instance, stoppedTime="2026-01-01T00:06:00Z"),
    ]
