"""Several logs give the answers of one, and opening another changes no number."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2

from events import decode
from ledger.placing import Placing
from ledger.queries import Queries
from tests.contract.calls.asking import refused
from tests.contract.data.scene import (
    Scene,
    instance,
    note,
    ran,
    started,
    stopped,
)
from tests.oracle.events import payer_of
from usage_ledger.v1 import queries_pb2

PAYERS = [payer_of(f"payer {number}") for number in range(12)]


def scene(data_dir: Path, count: int, *open_to_new: int, **more: Any) -> Scene:
    return Scene(data_dir, shards={"count": count, "open": list(open_to_new)}, **more)


def story() -> list[Any]:
    """For every payer an ended instance, a running one, and a note."""
    lines: list[Any] = []
    for number, payer in enumerate(PAYERS):
        lines += ran(f"ended {number}", "06:00", f"06:{number + 10}", payer=payer)
        lines.append(started(f"runs {number}", "07:00", payer=payer))
        lines.append(note(number, event_id=f"note {number}", payer=payer))
    return lines


def heads(opened: Scene) -> list[int]:
    return [position.number for position in opened.status().heads]


def answers(opened: Scene) -> list[object]:
    """Everything that can be asked about every payer."""
    told: list[object] = []
    for payer in PAYERS:
        told += [opened.cents(payer), [entry.SerializeToString() for entry in opened.usage(payer)]]
        told.append([entry.SerializeToString() for entry in opened.calls.entries(payer)])
        told.append(opened.calls.draft(payer).SerializeToString())
    status = opened.status()
    told += [opened.counts(), status.running_instances, status.ended_instances]
    return told


def shard_of(opened: Scene, payer: str) -> int:
    key = bytes.fromhex(payer.removeprefix("team:").replace("-", ""))
    found = opened.service.ledger.shards[0].queries.reader.placement(key)
    assert found is not None
    return found


class TestSeveralShards:
    def test_answer_what_one_answers(self, tmp_path: Path) -> None:
        told = []
        for count in (1, 3):
            with scene(tmp_path / str(count), count) as opened:
                opened.record(*story())
                opened.reconcile("08:00")
                for payer in PAYERS[::2]:
                    opened.open_cost_center(payer)
                opened.record(stopped("runs 3", "08:00", payer=PAYERS[3]))
                opened.reconcile("09:00")
                told.append(answers(opened))
                assert [] == opened.calls.breaches()
        assert told[0] == told[1]

    def test_each_have_some_of_the_payers(self, tmp_path: Path) -> None:
        with scene(tmp_path, 3) as opened:
            opened.record(*story())
            assert {0, 1, 2} == {shard_of(opened, payer) for payer in PAYERS}
            assert all(head > 1 for head in heads(opened))

    def test_list_cost_centers_and_balances_in_one_order(self, tmp_path: Path) -> None:
        with scene(tmp_path, 3) as opened:
            opened.record(*story())
            for payer in PAYERS:
                opened.open_cost_center(payer)
            listed: list[str] = []
            cursor = ""
            while True:
                page = opened.calls.queries.ListCostCenters(
                    queries_pb2.ListCostCentersRequest(page_size=5, cursor=cursor)
                )
                listed += [each.cost_center.attribution_id for each in page.cost_centers]
                cursor = page.next_cursor
                if not cursor:
                    break
            assert sorted(PAYERS) == listed
            request = queries_pb2.GetBalancesRequest(attribution_ids=PAYERS)
            balances = opened.calls.queries.GetBalances(request).balances
            assert [(payer, opened.cents(payer)) for payer in PAYERS] == [
                (each.attribution_id, each.credit_cents) for each in balances
            ]

    def test_count_every_line_of_a_delivery_once(self, tmp_path: Path) -> None:
        with scene(tmp_path, 3) as opened:
            lines = [*story(), b"{", note(5, event_id="wrong", payer="nobody")]
            opened.publish(*lines, delivery="file:a")
            again = opened.publish(*lines, delivery="file:a")
            assert (len(lines), len(lines)) == (again.received, again.repeated)
            assert (2 * len(lines), len(lines) - 2, len(lines), 2) == opened.counts("file:a")

    def test_name_dead_letters_so_that_they_are_found_again(self, tmp_path: Path) -> None:
        with scene(tmp_path, 3) as opened:
            opened.record(*story())
            contradictions = [
                started(f"runs {number}", "07:01", payer=payer, event_id=f"again {number}")
                for number, payer in enumerate(PAYERS)
            ]
            rejects = opened.publish(*contradictions).rejects
            numbers = [reject.dead_letter_id for reject in rejects]
            assert len(PAYERS) == len(set(numbers))
            assert set(numbers) == {letter.id for letter in opened.dead_letters()}
            for number in numbers:
                request = queries_pb2.GetDeadLetterRequest(id=number)
                assert number == opened.calls.queries.GetDeadLetter(request).dead_letter.id
            retried = opened.retry()
            assert (len(PAYERS), set(numbers)) == (
                retried.retried,
                {reject.dead_letter_id for reject in retried.rejects},
            )

    def test_keep_a_dead_letter_whose_payer_lives_elsewhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An older reader could not tell whose it is, so the first shard keeps it."""
        strict = started("runs", "07:00", payer=PAYERS[0])
        with scene(tmp_path, 2, 1) as opened:
            opened.record(note(5, event_id="first", payer=PAYERS[0]))
            with monkeypatch.context() as older:
                older.setattr("ledger.cloudevents.EVENT_BYTES_MAX", 100)
                opened.reject(strict)
            (letter,) = opened.dead_letters()
            (reject,) = opened.retry().rejects
            assert letter.id == reject.dead_letter_id
            assert "lives in shard 1, not 0" in reject.reason
            assert [reject.reason] == [each.reason for each in opened.dead_letters()]
            opened.record(strict)
            assert 1 == opened.status().running_instances
            assert [] == opened.calls.breaches()

    def test_end_an_instance_wherever_it_lives(self, tmp_path: Path) -> None:
        with scene(tmp_path, 3) as opened:
            opened.record(*story())
            for number in range(len(PAYERS)):
                opened.end(f"runs {number}", "07:30")
            assert 0 == opened.status().running_instances
            assert [instance("runs 4")] == [opened.known("runs 4").workspace_instance_id]

    def test_tell_their_logs_apart(self, tmp_path: Path) -> None:
        with scene(tmp_path, 3) as opened:
            opened.record(*story())
            for shard, head in enumerate(heads(opened)):
                request = queries_pb2.TailLogRequest(from_position=1, shard=shard)
                events = [e for page in opened.calls.queries.TailLog(request) for e in page.events]
                assert [(shard, n) for n in range(1, head + 1)] == [
                    (event.position.shard, event.position.number) for event in events
                ]

    def test_say_which_instance_has_payers_of_two(self, tmp_path: Path) -> None:
        with scene(tmp_path, 3) as opened:
            opened.record(*story())
            here = shard_of(opened, PAYERS[0])
            other = next(payer for payer in PAYERS if shard_of(opened, payer) != here)
            opened.record(started("runs 0", "07:00", payer=other, event_id="elsewhere"))
            (breach,) = opened.calls.breaches()
            assert f"instance:{instance('runs 0')} is recorded in shards" in breach

    def test_have_an_instance_of_two_payers_once_again_when_one_is_void(
        self, tmp_path: Path
    ) -> None:
        with scene(tmp_path, 3) as opened:
            opened.record(*story())
            here = shard_of(opened, PAYERS[0])
            other = next(payer for payer in PAYERS if shard_of(opened, payer) != here)
            opened.record(started("runs 0", "07:00", payer=other, event_id="elsewhere"))
            with refused(grpc.StatusCode.FAILED_PRECONDITION, "say which payer's"):
                opened.void("runs 0")
            with refused(grpc.StatusCode.FAILED_PRECONDITION, "say which payer's"):
                opened.known("runs 0")
            told = opened.void("runs 0", payer=other)
            assert (other, shard_of(opened, other)) == (told.attribution_id, told.position.shard)
            assert [] == opened.calls.breaches()
            known = opened.known("runs 0")
            assert (PAYERS[0], False) == (known.attribution_id, known.is_void)
            request = queries_pb2.GetInstanceRequest(
                workspace_instance_id=instance("runs 0"), attribution_id=other
            )
            assert opened.calls.queries.GetInstance(request).is_void
            opened.end("runs 0", "07:30")
            opened.clock.advance(minutes=1)
            assert PAYERS[0] == opened.void("runs 0").attribution_id
            assert PAYERS[0] == opened.known("runs 0").attribution_id  # the one voided last
            with refused(grpc.StatusCode.FAILED_PRECONDITION, "is void already"):
                opened.void("runs 0")
            assert [] == opened.calls.breaches()


class TestPlacing:
    @given(st.lists(st.uuids(), min_size=1, max_size=30), st.integers(1, 6), st.integers(1, 4))
    def test_puts_all_payers_of_a_partition_in_one_shard(
        self, payers: list[uuid.UUID], open_shards: int, times: int
    ) -> None:
        """Where Kafka's partitions are a multiple of the shards that are open."""
        placing = Placing([], range(open_shards))
        shards: dict[int, set[int]] = {}
        for payer in payers:
            partition = (murmur2(f"team:{payer}".encode()) & 0x7FFFFFFF) % (open_shards * times)
            shards.setdefault(partition, set()).add(placing.chosen(payer.bytes))
        assert all(len(found) == 1 for found in shards.values())


class TestFactsForEverybody:
    def facts(self, opened: Scene, stream: str) -> list[list[object]]:
        """The stream in every shard, without when it was recorded."""
        return [
            [
                [getattr(decode(e.topic, e.state), name) for name in _fields(e.topic, e.state)]
                for e in shard.queries.reader.stream(stream)
            ]
            for shard in opened.service.ledger.shards
        ]

    def test_are_the_same_in_every_shard(self, tmp_path: Path) -> None:
        with scene(tmp_path, 3) as opened:
            opened.record(*story())
            opened.reconcile("08:00")
            opened.reconcile("09:00")
            for stream in ("price-list", "usage-reconciled"):
                first, *others = self.facts(opened, stream)
                assert first
                assert [first, first] == others

    def test_reach_a_shard_that_is_opened_later(self, tmp_path: Path) -> None:
        with scene(tmp_path, 1) as opened:
            opened.record(*story())
            opened.reconcile("08:00")
        with scene(tmp_path, 2) as opened:
            for stream in ("price-list", "usage-reconciled"):
                first, second = self.facts(opened, stream)
                assert first == second

    def test_are_completed_at_start_when_a_crash_left_a_shard_out(self, tmp_path: Path) -> None:
        with scene(tmp_path, 2) as opened:
            opened.record(*story())
            # What a crash after the first shard leaves: the fact is there and nowhere else.
            ledger = opened.service.ledger
            others, ledger.shards = ledger.shards, ledger.shards[:1]
            opened.reconcile("08:00")
            ledger.shards = others
            first, second = self.facts(opened, "usage-reconciled")
            assert (1, 0) == (len(first), len(second))
        with scene(tmp_path, 2) as opened:
            first, second = self.facts(opened, "usage-reconciled")
            assert first == second
            assert len(PAYERS) == opened.status().running_instances
            assert all(len(opened.usage(payer)) == 2 for payer in PAYERS)


def _fields(topic: str, state: bytes) -> list[str]:
    return [name for name in decode(topic, state).__struct_fields__ if name != "recorded_at"]


class TestOpeningAShard:
    def test_changes_no_number_and_moves_nobody(self, tmp_path: Path) -> None:
        with scene(tmp_path, 1) as opened:
            opened.record(*story()[:30])
            opened.reconcile("08:00")
        with scene(tmp_path, 1) as opened:
            before = answers(opened)
            known = [payer for payer in PAYERS if opened.usage(payer)]
        with scene(tmp_path, 2, 1) as opened:
            assert before == answers(opened)
            opened.repeat(*story()[:30])
            assert before[:-3] == answers(opened)[:-3]
            opened.record(*story()[30:])
            placed = {payer: shard_of(opened, payer) for payer in PAYERS}
            assert {0} == {placed[payer] for payer in known}
            assert {1} == {placed[payer] for payer in PAYERS if payer not in known}
            assert [] == opened.calls.breaches()

    def test_is_refused_when_one_with_payers_is_missing(self, tmp_path: Path) -> None:
        with scene(tmp_path, 2) as opened:
            opened.record(*story())
        with pytest.raises(Exception, match="configure every shard that was ever open"):
            scene(tmp_path, 1).__enter__()


class TestPlacement:
    def test_is_a_hash_over_the_open_shards(self) -> None:
        placing = Placing([], [0, 2])
        chosen = [placing.chosen(number.to_bytes(16)) for number in range(1_000)]
        assert {0, 2} == set(chosen)
        assert 400 < chosen.count(0) < 600

    def test_of_a_payer_comes_with_its_first_event(self, tmp_path: Path) -> None:
        with scene(tmp_path, 1) as opened:
            opened.record(note(1))
            key = bytes.fromhex(PAYERS[0].removeprefix("team:").replace("-", ""))

            def asked(queries: Queries) -> int | None:
                return queries.reader.placement(key)

            shard = opened.service.ledger.shards[0]
            assert None is opened.service.wait(shard.read(asked))
            opened.record(note(1, event_id="first", payer=PAYERS[0]))
            assert 0 == opened.service.wait(shard.read(asked))
