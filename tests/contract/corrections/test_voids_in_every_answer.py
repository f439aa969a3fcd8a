"""A voided instance and a voided note show, or count for nothing, wherever an answer could tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aggregates import PriceBook
from events import PriceListPublished
from events.readable import TIME_MAX, TIME_MIN
from ledger.audit.alternative import try_rules
from ledger.audit.rules import Rules
from ledger.audit.what_if import Account, Shown
from ledger.identifiers import parse_payer
from tests.contract.data.scene import (
    CENT_PRICES,
    OTHER_PAYER,
    PAYER,
    Scene,
    at,
    instance,
    note,
    ran,
    started,
)
from tests.contract.queries.test_two_clocks import balance, compare, draft, moment, usage
from tests.harness.backends import chosen
from tests.packs.scene import pack_of, verified
from tests.proofs.scene import Signing
from tests.proofs.test_commands import usage_ledger
from usage_ledger.v1 import audit_clocks_pb2 as clocks_pb
from usage_ledger.v1 import audit_proofs_pb2, queries_pb2
from usage_ledger.v1 import audit_why_pb2 as why_pb

pytestmark = pytest.mark.sharded

EVER = Shown(TIME_MIN, TIME_MAX + 1)
TWICE = Rules(PriceBook([PriceListPublished(0, "", 1, None, {"cent": "0.02"}, "1/3")]))
BEFORE, AFTER = "12-02 09:00", "12-03 09:00"  # the voids are of the morning in between


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(tmp_path / "keys")


@pytest.fixture
def scene(data_dir: Path, signing: Signing) -> Iterator[Scene]:
    """Of a closed cycle an instance and a note, of the open one a note and what runs, voided."""
    settings = {"prices": CENT_PRICES, **signing.settings}
    with Scene(data_dir, tree=True, **settings) as scene:
        scene.open_cost_center()
        scene.set_cost_center(0)
        scene.clock.set(at("11-24 08:00"))
        scene.record(
            *cents("kept", "11-20 06:00", "11-20 06:30"),
            *cents("gone", "11-20 04:00", "11-20 07:00"),
            given("closed", 1, "11-20 07:00"),
        )
        scene.reconcile("11-25 08:00")
        scene.reset("12-02 08:00")
        scene.record(
            started("runs", "12-02 07:00", workspaceClass="cent"), given("open", 1, "12-02 08:00")
        )
        scene.reconcile("12-02 08:30")
        scene.record(*cents("kept too", "06:00", "07:40", payer=OTHER_PAYER))
        scene.clock.set(at("12-03 08:00"))
        scene.void("gone")
        scene.void("runs")
        for entry_id in notes(scene):
            scene.void_note(entry_id)
        scene.reconcile("12-03 08:30")
        scene.clock.set(at("12-03 10:00"))
        yield scene
        assert [] == scene.calls.breaches()


def cents(name: str, start: str, end: str, payer: str = PAYER) -> list[dict[str, Any]]:
    return ran(name, start, end, workspaceClass="cent", payer=payer)


def given(name: str, credits: int, time: str) -> dict[str, Any]:
    return note(credits, event_id=name, time=time, description=name)


def notes(scene: Scene) -> list[str]:
    return [
        each.id
        for each in scene.calls.entries(PAYER)
        if each.kind == queries_pb2.ENTRY_KIND_CREDIT_NOTE
    ]


def lines(found: queries_pb2.InvoiceDraft) -> list[tuple[int | None, int, int]]:
    """Cycle that a line is for, seconds and cents."""
    return [
        (line.late_for.cycle_number, line.seconds, line.credit_cents)
        if line.HasField("late_for")
        else (None, line.seconds, line.credit_cents)
        for line in found.lines
    ]


def options(folder: Path, data_dir: Path) -> tuple[str, ...]:
    """Give what leads a command to the scene's store."""
    given = chosen().settings(data_dir)
    urls = ", ".join(f'"{url}"' for url in given.get("postgres", {}).get("urls", []))
    text = f'data_dir = "{data_dir}"\n'
    if urls:
        text += f'store = "postgres"\n[postgres]\nurls = [{urls}]\n'
    if "shards" in given:
        text += f"[shards]\ncount = {given['shards']['count']}\n"
    file = folder / "usage-ledger.toml"
    file.write_text(text)
    return ("--config", str(file))


class TestTwoClocks:
    def test_know_them_before_the_void_and_not_after(self, scene: Scene) -> None:
        before, after = moment(known_at=BEFORE), moment(known_at=AFTER)
        # 30 kept, 180 gone, a note: all of it was written off; 90 that ran, and another note
        assert 30 + 180 - 100 - 110 + 90 - 100 == balance(scene, before)
        assert 30 - 110 == balance(scene, after) == scene.cents()
        assert [30] == [each.credit_cents for each in usage(scene, after).entries]
        assert [30, 90, 180] == sorted(each.credit_cents for each in usage(scene, before).entries)

    def test_know_that_they_never_were_as_of_any_time(self, scene: Scene) -> None:
        """A void has no date: what is known now is that nothing of it was ever true."""
        assert 0 == balance(scene, moment("11-20 06:00", AFTER))
        assert 30 == balance(scene, moment("11-21 08:00", AFTER))
        assert 30 + 180 - 100 == balance(scene, moment("11-21 08:00", BEFORE))

    def test_show_them_in_the_open_draft_with_their_period(self, scene: Scene) -> None:
        found = draft(scene, moment(known_at=AFTER))
        assert scene.calls.draft(PAYER).lines == found.lines
        assert [(1, -10_800, -180)] == lines(found)
        (voided,) = found.voided_credit_notes
        assert (1, 100, 1) == (
            voided.credit_notes,
            voided.credit_cents,
            voided.late_for.cycle_number,
        )
        earlier = draft(scene, moment(known_at=BEFORE))
        assert [] == list(earlier.voided_credit_notes)
        assert 1 == earlier.credit_note_count

    def test_tell_each_as_a_difference_with_its_void(self, scene: Scene) -> None:
        answer = compare(scene, moment(known_at=BEFORE), moment(known_at=AFTER))
        told = {
            each.workspace_instance_id or each.entry_id: (each.cause, each.difference_cents)
            for each in answer.differences
        }
        voided = clocks_pb.EntryDifference.CAUSE_VOIDED
        gone = {void.workspace_instance_id or void.entry_id for void in scene.voids()}
        assert 4 == len(gone) == len(told)
        assert [-180, -90, 100, 100] == sorted(cents for _, cents in told.values())
        assert {voided} == {cause for cause, _ in told.values()}
        assert gone == set(told)
        positions = {each.position.number for each in answer.differences}
        assert positions == {void.position.number for void in scene.voids()}
        assert -70 == answer.second_balance_cents - answer.first_balance_cents

    def test_are_the_other_way_round_when_they_are_asked_so(self, scene: Scene) -> None:
        answer = compare(scene, moment(known_at=AFTER), moment(known_at=BEFORE))
        assert [-100, -100, 90, 180] == sorted(each.difference_cents for each in answer.differences)
        assert all(not each.HasField("first") for each in answer.differences)


class TestWhy:
    def test_names_each_void_beside_what_it_took(self, scene: Scene) -> None:
        request = why_pb.ExplainBalanceRequest(attribution_id=PAYER, page_size=50)
        number = scene.calls.audit.ExplainBalance(request).explanation.number
        assert scene.cents() == number.credit_cents
        topics = [event.event.topic for event in events_in(number)]
        assert {"instance-voided": 2, "credit-note-voided": 2} == {
            topic: topics.count(topic) for topic in topics if "voided" in topic
        }


def events_in(number: why_pb.ExplainedNumber) -> Iterator[why_pb.ExplainedEvent]:
    yield from number.events
    for part in number.parts:
        yield from events_in(part)


class TestWhatIf:
    def account(self, scene: Scene) -> Account:
        readers = [shard.new_queries().reader for shard in scene.service.ledger.shards]
        try:
            outcome = try_rules(readers, TWICE, EVER)
        finally:
            for reader in readers:
                reader.close()
        assert [] == outcome.breaches
        (found,) = [each for each in outcome.accounts if each.payer == parse_payer(PAYER)]
        return found

    def test_costs_nothing_by_any_price(self, scene: Scene) -> None:
        found = self.account(scene)
        assert ({"cent": 1}, 0) == (found.instances, found.note_cents)
        assert (30, 60) == (found.usage.recorded, found.usage.what_if)
        assert scene.cents() == found.balance.recorded

    def test_writes_off_what_was_owed_before_the_void(self, scene: Scene) -> None:
        """What a close has forgiven stays forgiven, here and there."""
        found = self.account(scene)
        assert (-110, -320) == (found.written_off.recorded, found.written_off.what_if)
        assert (30 - 110, 60 - 320) == (found.balance.recorded, found.balance.what_if)


class TestAPack:
    def test_shows_them_and_is_proved(self, scene: Scene, signing: Signing, tmp_path: Path) -> None:
        assert 0 == scene.calls.audit.SignHeads(audit_proofs_pb2.SignHeadsRequest()).uncovered
        readers = [shard.new_queries().reader for shard in scene.service.ledger.shards]
        pack = tmp_path / "pack"
        try:
            made = pack_of(readers, pack, payer=parse_payer(PAYER))
        finally:
            for reader in readers:
                reader.close()
        assert scene.cents() == made.manifest.totals.balance_cents
        assert "PROVED" in verified(pack, signing.keys_file)
        topics = [
            json.loads(line)["topic"]
            for file in pack.rglob("events.jsonl")
            for line in file.read_text().splitlines()
        ]
        assert (2, 2) == (topics.count("instance-voided"), topics.count("credit-note-voided"))


class TestFoldsOfTheLog:
    """The scene goes on to serve meanwhile."""

    def test_a_replay_is_the_live_rows(self, scene: Scene, tmp_path: Path, data_dir: Path) -> None:
        told = usage_ledger(
            "replay",
            *("--into", str(tmp_path / "replayed"), "--compare", "--json"),
            *options(tmp_path, data_dir),
        )
        for shard in json.loads(told)["shards"]:
            assert {} == shard["differences"]
            assert [] == shard["not_compared"]
        rows = [shard["rows"] for shard in json.loads(told)["shards"]]
        assert 4 == sum(each.get("voids", 0) for each in rows)
        assert 1 == sum(each.get("cycle_voided_notes", 0) for each in rows)

    def test_a_generation_that_is_built_anew_answers_the_same(
        self, scene: Scene, tmp_path: Path, data_dir: Path
    ) -> None:
        def answers() -> list[Any]:
            return [
                scene.cents(),
                scene.calls.draft(PAYER),
                scene.voids(),
                usage(scene, moment(known_at=BEFORE)),
                compare(scene, moment(known_at=BEFORE), moment(known_at=AFTER)),
                scene.known("gone"),
            ]

        before = answers()
        usage_ledger("projections", "rebuild", "--promote", *options(tmp_path, data_dir))
        assert before == answers()
        assert instance("gone") in {void.workspace_instance_id for void in scene.voids()}
