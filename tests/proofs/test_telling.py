"""A tree that is broken and heads that are not signed are told in health, metrics and status."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli.duties import duties_of
from ledger.audit.status import JOB
from ledger.probes import HeadsProbe
from tests.contract.data.scene import Scene
from tests.proofs.scene import BackDoor, Signing, add_notes, tree_scene, until_current, wait_for
from usage_ledger.v1 import queries_pb2

HTTP = {"http": {"listen": "127.0.0.1:0"}}


@pytest.fixture
def place(tmp_path: Path) -> BackDoor:
    return BackDoor(tmp_path / "ledger", "")


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(tmp_path / "keys")


@pytest.fixture
def scene(place: BackDoor, signing: Signing) -> Iterator[Scene]:
    with tree_scene(place, **signing.settings, **HTTP) as scene:
        yield scene


def get(scene: Scene, path: str) -> httpx.Response:
    http = scene.service.service.http
    assert http is not None
    return httpx.get(f"http://127.0.0.1:{http.port}{path}")


def metrics(scene: Scene) -> dict[str, float]:
    """Those of the tree, of the only shard."""
    names = ("tree_", "heads_held")
    return {
        sample.name.removeprefix("usage_ledger_"): sample.value
        for family in text_string_to_metric_families(get(scene, "/metrics").text)
        for sample in family.samples
        if sample.name.removeprefix("usage_ledger_").startswith(names)
    }


def status(scene: Scene) -> queries_pb2.GetStatusResponse:
    return scene.calls.queries.GetStatus(queries_pb2.GetStatusRequest())


def break_tree(scene: Scene, place: BackDoor) -> None:
    """Lose the edge of a tree, and let its follower look at it."""
    place.run("UPDATE tree_tiles SET hashes = zeroblob(32) WHERE level = 0")
    (tail,) = scene.service.tree_tails
    tail._is_positioned = False
    wait_for("the fault", lambda: place.fault() != "")


class TestMetrics:
    def test_tell_how_far_tree_and_heads_are(
        self, scene: Scene, place: BackDoor, signing: Signing
    ) -> None:
        add_notes(scene, 5)
        size = until_current(place)
        assert {"tree_size": size, "tree_broken": 0, "heads_held": 0} == metrics(scene)
        (head,) = signing.sign(scene)
        add_notes(scene, 5, first=5)
        until_current(place)
        wait_for("the figures", lambda: metrics(scene)["tree_size"] == size + 5)
        told = metrics(scene)
        assert size == told["tree_head_size"]
        assert head.signed_at / 1_000 == told["tree_head_signed_timestamp_seconds"]

    def test_tell_that_a_tree_is_broken(self, scene: Scene, place: BackDoor) -> None:
        add_notes(scene, 5)
        until_current(place)
        break_tree(scene, place)
        wait_for("the figures", lambda: metrics(scene)["tree_broken"] == 1)

    def test_tell_that_heads_are_held(self, scene: Scene, signing: Signing) -> None:
        add_notes(scene, 5)
        signing.key_file.unlink()
        scene.service.run_job(JOB)
        wait_for("the figures", lambda: metrics(scene)["heads_held"] == 1)


class TestHealth:
    def test_of_a_broken_tree_is_told_and_sends_nobody_away(
        self, scene: Scene, place: BackDoor
    ) -> None:
        add_notes(scene, 5)
        until_current(place)
        break_tree(scene, place)
        wait_for("the part", lambda: get(scene, "/readyz/tree-0").status_code == 503)
        ready = get(scene, "/readyz")
        part = ready.json()["parts"]["tree-0"]
        assert (200, False) == (ready.status_code, part["ready"])
        assert "waits for the tree to be mended: tile 0/0" in part["reason"]
        assert 200 == get(scene, "/healthz").status_code
        assert "tile 0/0" in status(scene).trees[0].fault

    def test_of_heads_says_why_none_is_signed(self, scene: Scene, signing: Signing) -> None:
        add_notes(scene, 5)
        probe = HeadsProbe(scene.service.ledger.heads)
        assert (True, "", False) == (probe.ready, probe.reason, probe.is_needed)
        hidden = signing.key_file.read_bytes()
        signing.key_file.unlink()
        scene.service.run_job(JOB)
        assert probe.ready is False
        assert f"no head is signed: audit.signing_key_file {signing.key_file}" in probe.reason
        job = next(job for job in status(scene).jobs if job.name == JOB)
        assert str(signing.key_file) in job.last_error
        signing.key_file.write_bytes(hidden)
        scene.service.run_job(JOB)
        assert (True, "") == (probe.ready, status(scene).heads_held)


class TestDuties:
    @pytest.mark.parametrize(("role", "is_needed"), [("serve", False), ("tree", True)])
    def test_a_broken_tree_matters_to_nobody_but_its_own_role(
        self, scene: Scene, role: str, is_needed: bool
    ) -> None:
        duties, probes = duties_of(scene.service.ledger, ["tree"], role=role)
        assert [("tree-0", is_needed)] == [(probe.name, probe.is_needed) for probe in probes]
        assert 1 == len(duties)

    def test_whoever_runs_the_jobs_tells_of_heads(self, scene: Scene) -> None:
        _, probes = duties_of(scene.service.ledger, ["jobs"], role="jobs")
        assert [("heads", False)] == [(probe.name, probe.is_needed) for probe in probes]

    def test_the_tree_is_a_part_that_can_be_left_to_others(self, scene: Scene) -> None:
        assert "tree" in scene.service.settings.serve.parts
        duties, _ = duties_of(scene.service.ledger, ["views"], role="serve")
        assert [] == duties
