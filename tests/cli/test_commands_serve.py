"""Starting and stopping the service, and where its settings come from."""

import json
import uuid
from pathlib import Path

from tests.cli.running import Service, an_hour, new_payer, usage_ledger


class TestServe:
    def test_what_was_published_is_there_after_a_restart(self, tmp_path: Path) -> None:
        payer = new_payer()
        first = Service(tmp_path / "ledger")
        first.publish(*an_hour(payer, str(uuid.uuid4())))
        assert 0 == first.stop()

        second = Service(tmp_path / "ledger")
        try:
            assert 2000 == second.cents(payer)
        finally:
            second.stop()

    def test_a_second_service_on_the_same_directory_is_refused(
        self, service: Service, tmp_path: Path
    ) -> None:
        own = Service(tmp_path / "ledger", "--no-jobs")
        try:
            told = usage_ledger(
                *("serve", "--data-dir", str(tmp_path / "ledger"), "--listen", "127.0.0.1:0"),
                code=1,
            )
        finally:
            own.stop()

        assert str(tmp_path / "ledger") in told

    def test_a_port_that_is_taken_is_refused(self, service: Service, tmp_path: Path) -> None:
        told = usage_ledger(
            *("serve", "--data-dir", str(tmp_path / "ledger"), "--listen", service.target), code=1
        )

        assert service.target in told

    def test_settings_come_from_the_file(self, tmp_path: Path) -> None:
        config = tmp_path / "usage-ledger.toml"
        config.write_text('ledger_interval = "30m"\n')
        own = Service(tmp_path / "ledger", "--config", str(config), "--store", "memory")
        try:
            status = own.ask("status")
        finally:
            own.stop()

        assert 1800 == status["ledger_interval_seconds"]
        assert all(job["enabled"] for job in status["jobs"])

    def test_no_jobs_switches_them_off(self, service: Service) -> None:
        assert not any(job["enabled"] for job in service.ask("status")["jobs"])


class TestConfigShow:
    def test_values_and_where_they_came_from(self, tmp_path: Path) -> None:
        config = tmp_path / "usage-ledger.toml"
        config.write_text('[log]\nlevel = "debug"\n')

        told = usage_ledger("config", "show", "--config", str(config), "--no-jobs", "--json")

        rows = {row["name"]: row for row in json.loads(told)["settings"]}
        assert ("debug", "file", str(config)) == tuple(
            rows["log.level"][key] for key in ("value", "origin", "where")
        )
        assert ("option", False) == (
            rows["jobs.reset_enabled"]["origin"],
            rows["jobs.reset_enabled"]["value"],
        )
        assert "default" in usage_ledger("config", "show")
