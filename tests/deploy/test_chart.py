"""The Helm chart as Helm renders it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml

from tests.clients.toolchain import BUILD_SECONDS_MAX
from tests.deploy.descriptions import CHART, ROLES, ROOT, commands, setting_variables
from tests.deploy.helm import rendered, require_helm, run_helm, template

SECRETS = (
    "postgres.urls={postgresql://ledger@db-0/ledger,postgresql://ledger@db-1/ledger}",
    "postgres.secretName=databases",
    "freeCreditKey.secretName=free-credit",
    "kafka.bootstrapServers=kafka-0:9092\\,kafka-1:9092",
)
AUTHENTICATED = (*SECRETS, "tls.secretName=tls", "tokens.secretName=tokens")
EVERYTHING = (
    *AUTHENTICATED,
    "tls.clientCertificates=true",
    "kafka.tls.enabled=true",
    "kafka.tls.secretName=kafka-ca",
    "kafka.tls.clientCertificate=true",
    "kafka.sasl.mechanism=scram-sha-512",
    "kafka.sasl.username=ledger",
    "kafka.sasl.secretName=kafka-password",
    "networkPolicy.enabled=true",
    "podMonitor.enabled=true",
    "podMonitor.tokenSecret.name=prometheus",
    "podMonitor.tokenSecret.key=token",
    "signingKey.secretName=signing",
    "intakeScaling.enabled=true",
    "intakeScaling.minReplicas=2",
    "intakeScaling.keda.authenticationRef=kafka",
    "migrations.finish=true",
)
IN_A_MESH = (*SECRETS, "insecure=true", "intakeScaling.enabled=true", "intakeScaling.kind=hpa")
EMBEDDED_VIEWS = (*AUTHENTICATED, "roles.faust.enabled=false", "roles.serve.replicas=1")

every_set = pytest.mark.parametrize(
    "sets",
    [
        pytest.param(AUTHENTICATED, id="authenticated"),
        pytest.param(EVERYTHING, id="everything"),
        pytest.param(IN_A_MESH, id="in-a-mesh"),
        pytest.param(EMBEDDED_VIEWS, id="embedded-views"),
    ],
)
# The oldest that Chart.yaml allows, and one of today.
every_kubernetes = pytest.mark.parametrize("kubernetes", ["1.27", "1.33"])
# Kinds of operators that a cluster may have; their schemas are not Kubernetes' own.
OPERATORS_KINDS = frozenset({"ScaledObject", "PodMonitor"})

pytestmark = [pytest.mark.go, pytest.mark.timeout(BUILD_SECONDS_MAX)]


@pytest.fixture(scope="module")
def helm() -> Path:
    return require_helm()


def pods(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and specification of every pod that would run."""
    for each in objects:
        if each["kind"] == "Pod":
            yield each["metadata"]["name"], each["spec"]
        elif each["kind"] in {"Deployment", "Job"}:
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def deployments(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Role to its only container."""
    return {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"]["template"]["spec"][
            "containers"
        ][0]
        for each in objects
        if each["kind"] == "Deployment"
    }


class TestTheChart:
    @every_set
    def test_is_clean_to_helm_lint(self, helm: Path, sets: tuple[str, ...]) -> None:
        options = [word for value in sets for word in ("--set", value)]
        done = run_helm(helm, "lint", "--strict", str(CHART), *options)
        assert (0, "") == (done.returncode, done.stderr), done.stdout
        assert "[WARNING]" not in done.stdout
        assert "[ERROR]" not in done.stdout

    @every_set
    @every_kubernetes
    def test_renders_what_the_schemas_of_kubernetes_allow(
        self, helm: Path, sets: tuple[str, ...], kubernetes: str
    ) -> None:
        for each in rendered(helm, *sets):
            if each["kind"] not in OPERATORS_KINDS:
                kubernetes_validate.validate(each, kubernetes, strict=True)

    @every_set
    def test_names_every_object_once(self, helm: Path, sets: tuple[str, ...]) -> None:
        names = [(each["kind"], each["metadata"]["name"]) for each in rendered(helm, *sets)]
        assert sorted(set(names)) == sorted(names)

    def test_has_the_version_of_the_product(self) -> None:
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert project["version"] == chart["appVersion"]


class TestPods:
    @every_set
    def test_run_without_privileges(self, helm: Path, sets: tuple[str, ...]) -> None:
        for name, spec in pods(rendered(helm, *sets)):
            assert spec["securityContext"]["runAsNonRoot"] is True, name
            assert 10001 == spec["securityContext"]["runAsUser"], name
            assert {"type": "RuntimeDefault"} == spec["securityContext"]["seccompProfile"], name
            assert spec["automountServiceAccountToken"] is False, name
            for container in spec["containers"]:
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }, name

    @every_set
    def test_ask_for_what_they_need_and_have_a_limit(
        self, helm: Path, sets: tuple[str, ...]
    ) -> None:
        for name, spec in pods(rendered(helm, *sets)):
            for container in spec["containers"]:
                resources = container["resources"]
                assert {"cpu", "memory"} == set(resources["requests"]), name
                assert "memory" in resources["limits"], name

    @every_set
    def test_mount_each_volume_they_have_and_have_each_they_mount(
        self, helm: Path, sets: tuple[str, ...]
    ) -> None:
        for name, spec in pods(rendered(helm, *sets)):
            if name.endswith("-test"):
                continue
            volumes = {volume["name"] for volume in spec["volumes"]}
            for container in spec["containers"]:
                mounted = [mount["name"] for mount in container["volumeMounts"]]
                assert sorted(volumes) == sorted(mounted), name

    @every_set
    def test_carry_secrets_as_files_only(self, helm: Path, sets: tuple[str, ...]) -> None:
        objects = rendered(helm, *sets)
        assert [] == [each["metadata"]["name"] for each in objects if each["kind"] == "Secret"]
        for name, spec in pods(objects):
            for container in spec["containers"]:
                assert all("value" in variable for variable in container.get("env", ())), name

    @every_set
    def test_are_set_up_by_settings_that_exist(self, helm: Path, sets: tuple[str, ...]) -> None:
        known = setting_variables() | {"USAGE_LEDGER_CONFIG"}
        for name, spec in pods(rendered(helm, *sets)):
            for container in spec["containers"]:
                given = [variable["name"] for variable in container.get("env", ())]
                assert set(given) <= known, name
                assert len(set(given)) == len(given), name

    @every_set
    def test_run_commands_that_exist(self, helm: Path, sets: tuple[str, ...]) -> None:
        for name, spec in pods(rendered(helm, *sets)):
            if not name.endswith("-test"):
                assert spec["containers"][0]["args"][0] in commands(), name


class TestRoles:
    def test_each_role_is_a_deployment(self, helm: Path) -> None:
        assert set(ROLES) == set(deployments(rendered(helm, *AUTHENTICATED)))

    def test_a_role_that_is_switched_off_is_not_there(self, helm: Path) -> None:
        assert ROLES - {"faust"} == set(deployments(rendered(helm, *EMBEDDED_VIEWS)))

    @pytest.mark.parametrize(
        ("sets", "parts", "folded_by"),
        [(AUTHENTICATED, "none", "faust"), (EMBEDDED_VIEWS, "views", None)],
    )
    def test_serve_does_what_no_other_role_does(
        self, helm: Path, sets: tuple[str, ...], parts: str, folded_by: str | None
    ) -> None:
        serve = deployments(rendered(helm, *sets))["serve"]
        variables = {variable["name"]: variable["value"] for variable in serve["env"]}
        assert parts == variables["USAGE_LEDGER_SERVE__PARTS"]
        assert folded_by == variables.get("USAGE_LEDGER_LIVE_VIEWS__FOLDED_BY")

    def test_each_is_probed_where_it_listens(self, helm: Path) -> None:
        for role, container in deployments(rendered(helm, *AUTHENTICATED)).items():
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            variables = {variable["name"]: variable["value"] for variable in container["env"]}
            assert variables["USAGE_LEDGER_HTTP__LISTEN"] == f"0.0.0.0:{ports['http']}", role
            live = container["livenessProbe"]["httpGet"]
            ready = container["readinessProbe"]["httpGet"]
            assert ("/healthz", "/readyz") == (live["path"], ready["path"]), role
            assert ("http", "HTTPS") == (ready["port"], ready["scheme"]), role

    def test_without_a_certificate_probes_speak_http(self, helm: Path) -> None:
        for role, container in deployments(rendered(helm, *IN_A_MESH)).items():
            assert "HTTP" == container["livenessProbe"]["httpGet"]["scheme"], role

    def test_the_key_that_signs_heads_lies_where_they_are_signed(self, helm: Path) -> None:
        def holders(*sets: str) -> dict[str, str]:
            return {
                role: variable["value"]
                for role, container in deployments(rendered(helm, *sets)).items()
                for variable in container["env"]
                if variable["name"] == "USAGE_LEDGER_AUDIT__SIGNING_KEY_FILE"
            }

        path = "/run/secrets/usage-ledger/signing/audit-signing.key"
        assert {"serve": path, "jobs": path} == holders(*EVERYTHING)
        assert {} == holders(*AUTHENTICATED)

    def test_a_change_of_the_settings_starts_new_pods(self, helm: Path) -> None:
        def checksums(*sets: str) -> set[str]:
            return {
                each["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
                for each in rendered(helm, *AUTHENTICATED, *sets)
                if each["kind"] == "Deployment"
            }

        before, after = checksums(), checksums("config=shutdown_grace = '5s'")
        assert (1, 1) == (len(before), len(after))
        assert before != after


class TestScalingOfIntake:
    def test_takes_the_number_of_replicas_out_of_the_deployment(self, helm: Path) -> None:
        (intake,) = (
            each
            for each in rendered(helm, *EVERYTHING)
            if (each["kind"], each["metadata"]["name"].rpartition("-")[2])
            == ("Deployment", "intake")
        )
        assert "replicas" not in intake["spec"]

    @pytest.mark.parametrize(
        ("sets", "kind", "fields"),
        [
            (EVERYTHING, "ScaledObject", ("minReplicaCount", "maxReplicaCount")),
            (IN_A_MESH, "HorizontalPodAutoscaler", ("minReplicas", "maxReplicas")),
        ],
    )
    def test_keeps_within_its_bounds(
        self, helm: Path, sets: tuple[str, ...], kind: str, fields: tuple[str, str]
    ) -> None:
        (scaler,) = (each for each in rendered(helm, *sets) if each["kind"] == kind)
        low, high = (scaler["spec"][field] for field in fields)
        assert low <= high
        assert scaler["spec"]["scaleTargetRef"]["name"].endswith("-intake")

    def test_refuses_more_intakes_than_partitions(self, helm: Path) -> None:
        done = template(helm, *EVERYTHING, "kafka.partitions=4", "intakeScaling.maxReplicas=5")
        assert 0 != done.returncode
        assert "an intake without a partition does nothing" in done.stderr


class TestRefusals:
    @pytest.mark.parametrize(
        ("sets", "sentence"),
        [
            (("kafka.bootstrapServers=",), "kafka.bootstrapServers is empty"),
            (("postgres.urls=null",), "postgres.urls is empty"),
            (("postgres.urls={postgresql://a:b@c/d}",), "postgres.urls holds a password"),
            (("postgres.urls={postgresql://a@b\\,c/d}",), "has a comma inside a URL"),
            (("postgres.secretName=",), "postgres.secretName is empty"),
            (("freeCreditKey.secretName=",), "freeCreditKey.secretName is empty"),
            (("tls.secretName=",), "tls.secretName is empty"),
            (("tokens.secretName=",), "Nobody would be authenticated"),
            (("kafka.sasl.mechanism=plain",), "kafka.sasl.secretName is empty"),
            (("roles.serv.replicas=2",), "additional properties 'serv' not allowed"),
        ],
    )
    def test_say_what_to_change(self, helm: Path, sets: tuple[str, ...], sentence: str) -> None:
        done = template(helm, *AUTHENTICATED, *sets)
        assert 0 != done.returncode
        assert sentence in done.stderr
