"""`usage-ledger publish`: receipts, exit codes, and what is true when it ends."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.data.scene import (
    OTHER_PAYER,
    PAYER,
    Scene,
    bytes_of,
    note,
    ran,
    started,
    stopped,
)
from tests.oracle.events import line_of
from tests.publishing.command import publish, usage_ledger

GOOD = bytes_of([*ran("a", "06:00", "07:00"), note(3), *ran("b", "06:00", "07:00")])
TEN_MEGABYTES = b'{"specversion":"1.0","id":"' + b"x" * 10_000_000 + b'"}'


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Scene(tmp_path / "ledger") as scene:
        yield scene
        assert [] == scene.calls.breaches()


def written(path: Path, *lines: bytes, end: bytes = b"\n") -> Path:
    path.write_bytes(b"".join(line + end for line in lines))
    return path


class TestExitCodes:
    def test_0_all_recorded_then_0_all_repeated(self, scene: Scene, tmp_path: Path) -> None:
        path = written(tmp_path / "events.ndjson", *GOOD)
        first = publish(scene.service.target, path)
        again = publish(scene.service.target, path)

        assert (0, (7, 7, 0, 0)) == (first.code, first.counts)
        assert (0, (7, 0, 7, 0)) == (again.code, again.counts)
        assert 1700 == scene.cents()
        assert (14, 7, 7, 0) == scene.counts("file:events.ndjson")
        assert first.answer["finished"]

    def test_3_some_rejected_with_line_and_reason(self, scene: Scene, tmp_path: Path) -> None:
        path = written(tmp_path / "events.ndjson", GOOD[0], b"", b"garbage", *GOOD[1:])
        ended = publish(scene.service.target, path, "--rejects", tmp_path / "rejects.ndjson")

        assert (3, (8, 7, 0, 1)) == (ended.code, ended.counts)
        (reject,) = ended.answer["rejects"]
        assert 3 == reject["line"]
        assert "not a CloudEvent" in reject["reason"]
        assert scene.dead_letters()[0].id == reject["dead_letter_id"]
        assert reject == json.loads((tmp_path / "rejects.ndjson").read_text())

    def test_a_reject_that_repeats_is_no_reject(self, scene: Scene) -> None:
        assert 3 == publish(scene.service.target, b"garbage\n").code
        again = publish(scene.service.target, b"garbage\n")

        assert (0, (1, 0, 1, 0)) == (again.code, again.counts)

    def test_1_nobody_there(self) -> None:
        ended = publish("127.0.0.1:1", b"x\n")

        assert (1, False, 0) == (ended.code, ended.answer["finished"], ended.answer["received"])
        assert "no service answers at 127.0.0.1:1" in ended.err

    def test_2_no_such_file(self, scene: Scene, tmp_path: Path) -> None:
        assert 2 == publish(scene.service.target, tmp_path / "nothing").code

    def test_0_nothing_to_send(self, scene: Scene, tmp_path: Path) -> None:
        empty = written(tmp_path / "empty")

        assert (0, (0, 0, 0, 0)) == (publish(scene.service.target, empty).code, scene.counts())


class TestReceipt:
    def test_people_read_that_it_adds_up(self, scene: Scene) -> None:
        lines = b"\n".join([*GOOD, GOOD[0], b"garbage"])
        ended = publish(scene.service.target, lines, as_json=False)

        told = " ".join((ended.out + ended.err).split())
        assert "received 9 = recorded 7 + repeated 1 + rejected 1" in told
        assert "garbage" not in told
        assert "dead letter" in told

    def test_standard_input_is_a_source_of_its_own(self, scene: Scene) -> None:
        publish(scene.service.target, GOOD[0])

        assert (1, 1, 0, 0) == scene.counts("stdin")

    def test_crlf_and_a_missing_last_line_end_are_fine(self, scene: Scene) -> None:
        assert (7, 7, 0, 0) == publish(scene.service.target, b"\r\n".join(GOOD)).counts

    def test_its_position_is_where_the_log_stood(self, scene: Scene) -> None:
        ended = publish(scene.service.target, b"\n".join(GOOD))

        assert scene.status().head.number == ended.answer["position"]["number"]

    def test_more_than_a_hundred_rejects_are_counted_and_written_to_the_file(
        self, scene: Scene, tmp_path: Path
    ) -> None:
        lines = b"".join(b"garbage %d\n" % number for number in range(25_000))
        ended = publish(scene.service.target, lines, "--rejects", tmp_path / "rejects")

        assert (3, (25_000, 0, 0, 25_000)) == (ended.code, ended.counts)
        assert (100, 24_900) == (len(ended.answer["rejects"]), ended.answer["rejects_not_shown"])
        rejects = list(map(json.loads, (tmp_path / "rejects").read_text().splitlines()))
        assert list(range(1, 25_001)) == [reject["line"] for reject in rejects]

    def test_it_waits_for_a_pipe_and_records_what_comes(self, scene: Scene, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)

        def write() -> None:
            with pipe.open("wb", buffering=0) as file:
                for line in GOOD:
                    file.write(line[:30])
                    file.write(line[30:] + b"\n")

        writer = threading.Thread(target=write)
        writer.start()
        ended = publish(scene.service.target, pipe)
        writer.join()
        assert (0, (7, 7, 0, 0)) == (ended.code, ended.counts)


BAD = {
    "truncated": GOOD[0][:-30],
    "no UTF-8": line_of(started("x", "06:00", userName="ü")).replace("ü".encode(), b"\xfc"),
    "no UTF-8 in an extension": GOOD[0][:-1] + b',"odd":"\xff"}',
    "10 MB": TEN_MEGABYTES,
    "number for a string": line_of(started("x", "06:00", workspaceClass=7)),
    "number for an id": line_of({**started("x", "06:00"), "id": 7}),
    "unknown type": line_of({**started("x", "06:00"), "type": "usage.nothing.v1"}),
    "year 0": line_of(started("x", "0000-06-01T00:00:00Z")),
    "year 10000": line_of(started("x", "10000-01-01T00:00:00Z")),
    "2^31 credits": line_of(note(2**31, event_id="x")),
    "nested too deeply": GOOD[0][:-1] + b',"odd":' + b"[" * 90_000 + b"]" * 90_000 + b"}",
    "no base64": line_of(
        {
            "specversion": "1.0",
            "id": "x",
            "source": "/x",
            "type": "usage.workspace_instance.started.v1",
            "datacontenttype": "application/protobuf",
            "data_base64": "ü",
        }
    ),
    "zeros": bytes(1_000),
    "another payer": line_of(stopped("a", "07:00", payer=OTHER_PAYER, event_id="x")),
}


class TestBadInput:
    def test_each_has_a_clear_error_and_what_stands_around_it_is_recorded(
        self, scene: Scene
    ) -> None:
        ended = publish(scene.service.target, b"\n".join([GOOD[0], *BAD.values(), *GOOD[1:]]))

        counts = (7 + len(BAD), 7, 0, len(BAD))
        assert (3, counts) == (ended.code, ended.counts)
        rejects = {reject["line"]: reject["reason"] for reject in ended.answer["rejects"]}
        assert list(range(2, 2 + len(BAD))) == sorted(rejects)
        assert all(10 < len(reason) <= 1_000 for reason in rejects.values())
        assert counts == scene.counts("stdin")
        assert (1700, 0) == (scene.cents(PAYER), scene.cents(OTHER_PAYER))

    def test_a_truncated_last_line_is_rejected(self, scene: Scene) -> None:
        ended = publish(scene.service.target, b"\n".join(GOOD)[:-40])

        assert (3, (7, 6, 0, 1)) == (ended.code, ended.counts)
        assert 7 == ended.answer["rejects"][0]["line"]

    def test_a_dead_letter_keeps_a_long_lines_beginning_and_size(self, scene: Scene) -> None:
        publish(scene.service.target, TEN_MEGABYTES + b"\n")

        shown = usage_ledger(
            "dead-letters", "show", "1", "--json", "--target", scene.service.target
        ).answer
        assert len(TEN_MEGABYTES) == shown["dead_letter"]["size_bytes"]
        assert shown["original_text"] == TEN_MEGABYTES[:262_144].decode()
