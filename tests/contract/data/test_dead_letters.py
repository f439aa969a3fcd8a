"""Section 6: rejects are kept, counted and retried."""

import hashlib
import json
import sqlite3
from pathlib import Path

import grpc
import pytest

from tests.contract.data.scene import (
    OTHER_PAYER,
    PAYER,
    Event,
    Line,
    Scene,
    bytes_of,
    note,
    ran,
    started,
    stopped,
    stopping,
)
from tests.oracle.events import line_of
from usage_ledger.v1 import admin_pb2, publishing_pb2, queries_pb2

TRUNCATED = line_of(started("a", "06:00"))[:-20]
CONTRADICTING = stopped("a", "07:00", payer=OTHER_PAYER)


def original(scene: Scene, number: int) -> bytes:
    request = queries_pb2.GetDeadLetterRequest(id=number)
    return scene.calls.queries.GetDeadLetter(request).original


def oversized(line: bytes, *, number: int = 1) -> publishing_pb2.PublishRequest:
    return publishing_pb2.PublishRequest(
        oversized=publishing_pb2.OversizedLine(
            line=number,
            size_bytes=len(line),
            sha256=hashlib.sha256(line).digest(),
            head=line[:262_144],
        )
    )


def send(scene: Scene, *requests: publishing_pb2.PublishRequest) -> list[publishing_pb2.Receipt]:
    return [answer.receipt for answer in scene.calls.publishing.Publish(iter(requests))]


class TestKept:
    @pytest.mark.parametrize(
        "line",
        [
            TRUNCATED,
            b"not JSON at all",
            b"\xff\xfe\x00",
            line_of(started("a", "06:00", userName="ü")).replace("ü".encode(), b"\xfc"),
            line_of(note(2**31)),
            line_of({**started("a", "06:00"), "type": "usage.unknown.v1"}),
            line_of(CONTRADICTING),
        ],
    )
    def test_what_cannot_be_taken_becomes_a_dead_letter_with_bytes_reason_and_time(
        self, scene: Scene, line: bytes
    ) -> None:
        scene.record(started("a", "05:00"))
        scene.clock.advance(minutes=5)
        receipt = scene.publish(b"", line, delivery="a file")

        (letter,) = scene.dead_letters()
        (reject,) = receipt.rejects
        assert line == original(scene, letter.id)
        assert letter.reason == reject.reason != ""
        assert (letter.id, 2, 2) == (reject.dead_letter_id, reject.line, letter.line)
        assert ("a file", 1, len(line)) == (letter.delivery, letter.times, letter.size_bytes)
        assert {"2026-11-01T08:05:00Z"} == {
            letter.first_rejected.ToJsonString(),
            letter.last_rejected.ToJsonString(),
        }

    def test_nothing_blocks_what_follows(self, scene: Scene) -> None:
        receipt = scene.publish(
            TRUNCATED, started("a", "06:00"), b"\xff", CONTRADICTING, stopped("a", "07:00")
        )

        assert (5, 2, 0, 3) == (
            receipt.received,
            receipt.recorded,
            receipt.repeated,
            receipt.rejected,
        )
        assert [1, 3, 4] == [reject.line for reject in receipt.rejects]
        assert 1000 == scene.cents()

    def test_a_dead_letter_outlives_a_restart(self, tmp_path: Path) -> None:
        with Scene(tmp_path) as scene:
            scene.reject(TRUNCATED)
        with Scene(tmp_path) as scene:
            (letter,) = scene.dead_letters()
            assert TRUNCATED == original(scene, letter.id)
            assert (1, 0, 0, 1) == scene.counts()

    def test_a_dead_letter_that_is_not_kept_is_not_found(self, scene: Scene) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            original(scene, 17)
        assert grpc.StatusCode.NOT_FOUND == refused.value.code()

    def test_reasons_are_bounded(self, scene: Scene) -> None:
        reason = scene.reject(started("a", "06:00", workspaceType="x" * 200_000))

        assert len(reason) <= 1000


class TestAgain:
    def test_the_same_bytes_rejected_again_count_as_repeated_and_raise_the_counter(
        self, scene: Scene
    ) -> None:
        scene.reject(TRUNCATED)
        scene.clock.advance(hours=1)
        receipt = scene.publish(TRUNCATED, TRUNCATED, delivery="another")

        assert (2, 0, 2, 0) == (
            receipt.received,
            receipt.recorded,
            receipt.repeated,
            receipt.rejected,
        )
        assert [] == list(receipt.rejects)
        (letter,) = scene.dead_letters()
        assert (3, "2026-11-01T08:00:00Z", "2026-11-01T09:00:00Z") == (
            letter.times,
            letter.first_rejected.ToJsonString(),
            letter.last_rejected.ToJsonString(),
        )

    def test_twice_in_one_batch_too(self, scene: Scene) -> None:
        receipt = scene.publish(TRUNCATED, CONTRADICTING, TRUNCATED)

        # There was nothing to contradict: the stop was the first that was heard of the instance.
        assert (1, 1, 1) == (receipt.recorded, receipt.repeated, receipt.rejected)
        assert 2 == scene.dead_letters()[0].times

    def test_other_bytes_of_the_same_content_are_another_letter(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"))
        line = line_of(CONTRADICTING)

        scene.reject(line, line + b" ")
        assert 2 == len(scene.dead_letters())

    def test_a_line_end_does_not_belong_to_the_bytes(self, scene: Scene) -> None:
        scene.reject(TRUNCATED)

        scene.repeat(TRUNCATED + b"\r")
        (letter,) = scene.dead_letters()
        assert (2, TRUNCATED) == (letter.times, original(scene, letter.id))


class TestRetry:
    def test_one_that_is_still_rejected_stays_with_todays_reason(self, scene: Scene) -> None:
        scene.reject(TRUNCATED)
        scene.clock.advance(hours=1)
        (letter,) = scene.dead_letters()
        answer = scene.retry(letter.id)

        assert (1, 0, 0) == (answer.retried, answer.recorded, answer.repeated)
        assert [letter.id] == [reject.dead_letter_id for reject in answer.rejects]
        (kept,) = scene.dead_letters()
        assert (1, 1) == (kept.times, kept.line)
        assert (1, 0, 0, 1) == scene.counts()

    @pytest.mark.embedded  # it writes into the file
    def test_one_that_is_now_accepted_moves_from_rejected_to_recorded(self, tmp_path: Path) -> None:
        line = _accepted_by_now(tmp_path, note(3))
        with Scene(tmp_path) as scene:
            assert (1, 0, 0, 1) == scene.counts("d")
            answer = scene.retry()

            assert (1, 1, 0, []) == (
                answer.retried,
                answer.recorded,
                answer.repeated,
                list(answer.rejects),
            )
            assert (1, 1, 0, 0) == scene.counts("d") == scene.counts()
            assert ([], -300) == (scene.dead_letters(), scene.cents())
            scene.repeat(line)
            assert [] == scene.calls.breaches()

    @pytest.mark.embedded  # it writes into the file
    def test_one_that_was_recorded_meanwhile_moves_to_repeated(self, tmp_path: Path) -> None:
        line = _accepted_by_now(tmp_path, note(3))
        with Scene(tmp_path) as scene:
            scene.record(line)
            answer = scene.retry()

            assert (1, 0, 1) == (answer.retried, answer.recorded, answer.repeated)
            assert (1, 0, 1, 0) == scene.counts("d")
            assert (2, 1, 1, 0) == scene.counts()
            assert -300 == scene.cents()

    @pytest.mark.embedded  # it writes into the file
    def test_rejected_again_after_it_was_accepted_is_a_new_letter(self, tmp_path: Path) -> None:
        _accepted_by_now(tmp_path, note(3))
        with Scene(tmp_path) as scene:
            scene.retry()
            scene.reject(TRUNCATED)
            (letter,) = scene.dead_letters()
            assert letter.id > 1  # numbers are not given out twice

    def test_all_are_retried_by_number_or_at_once(self, scene: Scene) -> None:
        lines: list[Line] = [b"x%d" % number for number in range(1_200)]
        scene.reject(*lines)

        assert 1_200 == scene.retry().retried
        assert 2 == scene.retry(*(letter.id for letter in scene.dead_letters()[:2])).retried
        assert 1_200 == scene.status().dead_letters

    @pytest.mark.parametrize("ids", [(17,), (1, 17), (-1,), (2**62,)])
    def test_one_that_is_not_kept_is_not_found_and_nothing_is_retried(
        self, scene: Scene, ids: tuple[int, ...]
    ) -> None:
        scene.reject(TRUNCATED)
        with pytest.raises(grpc.RpcError) as refused:
            scene.retry(*ids)

        assert grpc.StatusCode.NOT_FOUND == refused.value.code()

    def test_no_more_than_1000_are_named(self, scene: Scene) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            scene.retry(*range(1, 1002))

        assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()

    def test_naming_none_is_refused_and_not_written_down(self, scene: Scene) -> None:
        """It read as if somebody had tried all of them again."""
        scene.reject(TRUNCATED)
        with pytest.raises(grpc.RpcError) as refused:
            scene.calls.admin.RetryDeadLetters(admin_pb2.RetryDeadLettersRequest())

        assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()
        assert "ids and all are both missing" in (refused.value.details() or "")
        assert [] == list(scene.status().acts)

    def test_all_of_none_is_not_written_down(self, scene: Scene) -> None:
        assert 0 == scene.retry().retried
        assert [] == list(scene.status().acts)
        scene.reject(TRUNCATED)
        scene.retry()
        assert [("dead-letters retry", "all")] == [(a.what, a.detail) for a in scene.status().acts]

    def test_an_oversized_line_stays_rejected(self, scene: Scene) -> None:
        send(scene, oversized(b"x" * 300_000))

        answer = scene.retry()
        assert (1, 1) == (answer.retried, len(answer.rejects))


def _accepted_by_now(data_dir: Path, event: Event) -> bytes:
    """Leaves a dead letter whose bytes this version takes, as one from an older version would be.

    Reached through the file, because no event that is rejected today is valid tomorrow by itself.
    """
    line = line_of(event)
    wrong = line.replace(b".v1", b".v2")
    with Scene(data_dir) as scene:
        scene.publish(wrong, delivery="d")
    with sqlite3.connect(data_dir / "ledger.db") as database:
        digest = hashlib.sha256(line).digest()
        database.execute("UPDATE dead_letters SET original = ?, digest = ?", (line, digest))
    database.close()
    return line


class TestOversized:
    LINE = b'{"specversion":"1.0","long":"' + b"x" * 10_000_000 + b'"}'

    def test_a_line_told_by_size_and_beginning_is_rejected_and_kept(self, scene: Scene) -> None:
        (receipt,) = send(scene, oversized(self.LINE, number=7))

        assert (1, 1) == (receipt.received, receipt.rejected)
        (letter,) = scene.dead_letters()
        assert (7, len(self.LINE)) == (letter.line, letter.size_bytes)
        assert self.LINE[:262_144] == original(scene, letter.id)
        assert "262144" in letter.reason

    def test_again_it_is_a_repeat_by_its_digest(self, scene: Scene) -> None:
        send(scene, oversized(self.LINE))
        (receipt,) = send(scene, oversized(self.LINE))
        assert (1, 0) == (receipt.repeated, receipt.rejected)
        (receipt,) = send(scene, oversized(self.LINE + b" "))
        assert (0, 1) == (receipt.repeated, receipt.rejected)

    def test_what_follows_is_recorded(self, scene: Scene) -> None:
        lines = b"\n".join(bytes_of(ran("a", "06:00", "07:00")))
        receipts = send(
            scene, oversized(self.LINE), publishing_pb2.PublishRequest(first_line=2, lines=lines)
        )

        assert [1, 3] == [receipt.received for receipt in receipts]
        assert 1000 == scene.cents()

    @pytest.mark.parametrize("digest", [b"", b"x" * 31, b"x" * 33])
    def test_its_digest_has_32_bytes(self, scene: Scene, digest: bytes) -> None:
        request = oversized(self.LINE)
        request.oversized.sha256 = digest

        with pytest.raises(grpc.RpcError) as refused:
            send(scene, request)
        assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()


class TestPersonalData:
    def test_the_reason_does_not_repeat_personal_fields(self, scene: Scene) -> None:
        reason = scene.reject(started("a", "06:00", userName="Ada", workspaceType="odd"))

        assert "Ada" not in reason

    def test_the_log_holds_no_personal_field(self, scene: Scene) -> None:
        scene.record(
            started(
                "a", "06:00", userName="Ada Lo", contextUrl="https://x", userAvatarUrl="picture"
            )
        )
        scene.record(stopping("a", "07:00"), note(3, description="for Ada Lo"))

        request = queries_pb2.TailLogRequest(from_position=1)
        told = [e.json for page in scene.calls.queries.TailLog(request) for e in page.events]
        # Nothing that a commitment, which is random digits and letters up to f, may hold by chance.
        personal = ("Ada Lo", "https:", "picture")
        assert not any(field in each for field in personal for each in told)
        assert PAYER in json.dumps(told)


class TestRetention:
    def test_a_dead_letter_older_than_its_retention_is_forgotten_and_the_counts_stay(
        self,
    ) -> None:
        with Scene(dead_letters={"retention": "2h"}) as scene:
            scene.reject(TRUNCATED)
            scene.clock.advance(hours=1)
            scene.reject(b"younger")
            scene.clock.advance(hours=1, seconds=1)
            scene.service.run_job("reset")

            assert [7] == [letter.size_bytes for letter in scene.dead_letters()]
            assert (2, 0, 0, 2) == scene.counts()
            scene.reject(TRUNCATED)  # nobody remembers
