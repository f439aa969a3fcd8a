"""A service of three shards, handed over in a pack: another one answers every call the same."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from tests.contract.data.scene import Scene, instance, started
from tests.laws.acts import payer_bytes
from tests.packs.scene import KILLED, Doctored, usage_ledger, verified
from tests.proofs.scene import Signing
from tests.shards.test_shards import PAYERS, answers, heads, scene, shard_of, story
from usage_ledger.v1 import audit_corrections_pb2 as corrections
from usage_ledger.v1 import audit_proofs_pb2 as proofs

SHARDS = 3
ENVIRONMENT = {"USAGE_LEDGER_SHARDS__COUNT": f"{SHARDS}"}


class Handed:
    """A ledger with its key, and packs of it."""

    def __init__(self, folder: Path) -> None:
        self.signing = Signing(folder / "keys")
        self.data_dir = folder / "ledger"
        self.pack = folder / "pack"
        self.of_payer = folder / "of-payer"
        self.told: list[object] = []
        self.heads: list[Any] = []
        self.payer = ""

    def fill(self) -> None:
        with self.opened(self.data_dir) as opened:
            opened.record(*story())
            opened.reconcile("08:30")
            for payer in PAYERS[::2]:
                opened.open_cost_center(payer)
            opened.calls.audit.VoidInstance(
                corrections.VoidInstanceRequest(
                    workspace_instance_id=instance("ended 1"), reason="of another payer"
                )
            )
            # The right payer's life; its pack needs the earlier one, or its stream had a gap.
            self.payer = next(
                payer for payer in PAYERS[2:] if shard_of(opened, payer) == shard_of(
                    opened, PAYERS[1]
                )
            )  # fmt: skip
            opened.record(started("ended 1", "08:00", payer=self.payer, event_id="right"))
            opened.reconcile("09:00")
            self.signing.sign(opened)
            self.told, self.heads = asked(opened), signed(opened)

    def opened(self, data_dir: Path) -> Scene:
        return scene(data_dir, SHARDS, tree=True, **self.signing.settings)


def asked(opened: Scene) -> list[object]:
    """What calls answer, corrections and heads too."""
    told = answers(opened)
    for payer in PAYERS:
        voids = corrections.ListVoidsRequest(attribution_id=payer, page_size=100)
        told.append(opened.calls.audit.ListVoids(voids).SerializeToString())
    return told


def signed(opened: Scene) -> list[Any]:
    calls = opened.calls.audit
    return [
        [head.note for head in calls.ListHeads(proofs.ListHeadsRequest(shard=shard)).heads]
        for shard in range(SHARDS)
    ]


@pytest.fixture(scope="module")
def handed(tmp_path_factory: pytest.TempPathFactory) -> Handed:
    handed = Handed(tmp_path_factory.mktemp("shards"))
    handed.fill()
    command = ("export", handed.pack, "--everything", "--with-personal")
    assert 0 == usage_ledger(*command, "--data-dir", handed.data_dir, **ENVIRONMENT)
    return handed


class TestAPackOfEverything:
    def test_is_proved_in_every_shard(self, handed: Handed) -> None:
        told = verified(handed.pack, handed.signing.keys_file)
        assert SHARDS == told.count("all there are in the log")

    def test_gives_a_ledger_that_answers_the_same(self, handed: Handed, tmp_path: Path) -> None:
        new = tmp_path / "new"
        command = ("import-pack", handed.pack, "--keys", handed.signing.keys_file)
        more = ("--data-dir", new)
        # Killed between two shards, it goes on.
        died = usage_ledger(*command, *more, failpoint="pack-shard-imported", **ENVIRONMENT)
        assert KILLED == died
        assert 0 == usage_ledger(*command, *more, **ENVIRONMENT)
        with handed.opened(new) as opened:
            opened.clock.set(at_nine())
            assert handed.told == asked(opened)
            assert handed.heads == signed(opened)
            before = heads(opened)
            opened.repeat(*story())
            assert before == heads(opened)
            assert [] == [
                answer.finding
                for answer in opened.calls.audit.Verify(proofs.VerifyRequest())
                if answer.HasField("finding")
            ]
            handed.signing.sign(opened)

    @pytest.mark.parametrize("says", ["elsewhere", "nothing"])
    def test_is_refused_where_a_payer_lives_elsewhere_than_its_events(
        self, handed: Handed, tmp_path: Path, capfd: pytest.CaptureFixture[str], says: str
    ) -> None:
        """What is recorded later would go to another shard, and half of a balance be seen."""
        doctored = Doctored(handed.pack, tmp_path / "doctored")
        first, *others = doctored.lines("placement.jsonl")
        moved = {**first, "shard": (first["shard"] + 1) % SHARDS}
        doctored.write_lines("placement.jsonl", [moved, *others] if says == "elsewhere" else others)
        doctored.seal()
        command = ("import-pack", doctored.folder, "--keys", handed.signing.keys_file)
        assert 1 == usage_ledger(*command, "--data-dir", tmp_path / "new", **ENVIRONMENT)
        assert f"{first['attribution_id']} has events in shard" in capfd.readouterr().err

    def test_is_refused_by_a_ledger_of_one_shard(self, handed: Handed, tmp_path: Path) -> None:
        keys = ("--keys", str(handed.signing.keys_file))
        assert 1 == main(["import-pack", str(handed.pack), *keys, "--data-dir", str(tmp_path)])


class TestAPackOfAPayer:
    def test_has_the_earlier_life_of_an_instance_that_was_anothers(
        self, handed: Handed, tmp_path: Path
    ) -> None:
        pack = tmp_path / "pack"
        command = ("export", pack, "--payer", handed.payer, "--data-dir", handed.data_dir)
        assert 0 == usage_ledger(*command, **ENVIRONMENT)
        verified(pack, handed.signing.keys_file)
        (folder,) = pack.glob("shard-*")
        lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
        stream = f"instance:{instance('ended 1')}"
        versions = [line["version"] for line in lines if line["stream"] == stream]
        assert list(range(1, len(versions) + 1)) == versions
        assert 4 < len(versions)
        told = [json.loads(line) for line in (pack / "payers.jsonl").read_text().splitlines()]
        assert [handed.payer] == [line["attribution_id"] for line in told]

    def test_of_the_one_whose_life_was_voided_has_nothing_of_the_others(
        self, handed: Handed, tmp_path: Path
    ) -> None:
        pack = tmp_path / "pack"
        command = ("export", pack, "--payer", PAYERS[1], "--data-dir", handed.data_dir)
        assert 0 == usage_ledger(*command, **ENVIRONMENT)
        verified(pack, handed.signing.keys_file)
        (events,) = pack.glob("shard-*/events.jsonl")
        key = payer_bytes(handed.payer)
        states = [
            base64.b64decode(json.loads(line)["state"]) for line in events.read_text().splitlines()
        ]
        assert not any(key in state for state in states)


def at_nine() -> str:
    return "2026-11-01T09:00:00Z"
