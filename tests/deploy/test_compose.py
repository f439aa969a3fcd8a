"""The compose file agrees with the product and with the files beside it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ledger.audit.keys import load_signer
from ledger.audit.notes import Checkpoint, parse_note
from tests.deploy.descriptions import DEPLOY, ROLES, commands, compose, unknown_variables

SERVICES: dict[str, dict[str, Any]] = compose()["services"]
ONE_SHOTS = {"migrate", "rebuild", "topics"}
SERVERS = {"kafka", "postgres"}

every_role = pytest.mark.parametrize("role", sorted(ROLES))
every_service = pytest.mark.parametrize("service", sorted(SERVICES))


class TestServices:
    def test_are_every_role_and_what_they_need(self) -> None:
        assert ROLES | ONE_SHOTS | SERVERS | {"smoke"} == set(SERVICES)

    @every_role
    def test_a_role_runs_the_command_of_its_name(self, role: str) -> None:
        assert role == SERVICES[role]["command"][0]
        assert role in commands()

    @every_role
    def test_a_role_starts_after_tables_and_topics_are_there(self, role: str) -> None:
        waits = SERVICES[role]["depends_on"]
        for one_shot in ONE_SHOTS:
            assert {"condition": "service_completed_successfully"} == waits[one_shot]

    @every_role
    def test_a_role_is_asked_whether_it_is_ready_and_is_started_again(self, role: str) -> None:
        assert ["CMD", "probe", "readyz"] == SERVICES[role]["healthcheck"]["test"]
        assert "unless-stopped" == SERVICES[role]["restart"]

    @every_service
    def test_has_a_limit_of_memory_and_no_privileges(self, service: str) -> None:
        described = SERVICES[service]
        assert "mem_limit" in described
        assert ["ALL"] == described["cap_drop"]
        assert ["no-new-privileges:true"] == described["security_opt"]
        if service not in SERVERS:
            assert described["read_only"] is True

    def test_only_serve_is_reached_from_outside_and_from_this_machine_alone(self) -> None:
        published = {name: each["ports"] for name, each in SERVICES.items() if "ports" in each}
        assert {"serve"} == set(published)
        for port in published["serve"]:
            assert "127.0.0.1" in str(port), port

    def test_secrets_are_files_that_prepare_makes(self) -> None:
        made = (DEPLOY / "prepare.sh").read_text(encoding="utf-8")
        for secret in compose()["secrets"].values():
            folder, _, name = secret["file"].partition("/")
            assert "secrets" == folder
            assert name in made or name.startswith("token-"), name

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="prepare.sh needs openssl")
    def test_heads_can_be_signed_with_the_key_that_prepare_makes(self, tmp_path: Path) -> None:
        script = shutil.copy(DEPLOY / "prepare.sh", tmp_path)
        for _ in range(2):  # the second time it makes nothing anew
            subprocess.run(["bash", script], check=True, capture_output=True)
            secrets = tmp_path / "secrets"
            signer = load_signer(secrets / "audit-signing.key", secrets / "audit-keys.json")
        assert "usage-ledger-trial" == signer.name
        note = parse_note(signer.sign(Checkpoint("a ledger/0", 1, bytes(32), 0)))
        assert "" == signer.keys.judge(note).objection

    @every_service
    def test_no_secret_stands_in_a_variable(self, service: str) -> None:
        for name in SERVICES[service].get("environment", {}):
            assert "PASSWORD" not in name or name.endswith("_FILE"), name


class TestVariables:
    def test_every_setting_that_is_named_exists(self) -> None:
        # Read by compose itself.
        of_compose = frozenset(
            {
                "USAGE_LEDGER_IMAGE",
                "USAGE_LEDGER_BASE",
                "USAGE_LEDGER_SETTINGS",
                "USAGE_LEDGER_GRPC_PORT",
                "USAGE_LEDGER_HTTP_PORT",
            }
        )
        text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
        assert [] == unknown_variables(text, known=of_compose)
