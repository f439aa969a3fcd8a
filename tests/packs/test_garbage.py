"""Packs that are no packs any more: whatever was done to one, the answer is a sentence."""

from __future__ import annotations

import base64
import contextlib
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.audit.packs.layout import PackError
from tests.laws.histories import examples
from tests.packs.scene import (
    NOT_PROVED,
    PROVED,
    UNREADABLE,
    Doctored,
    Packed,
    outcome_of,
    taken_over,
    with_checksum,
)

EVENTS = "shard-0/events.jsonl"
# What is proved, and what follows from it. The rest is told, or only an import reads it.
COUNTED = ("entries.jsonl", "entries.csv", "payers.jsonl", "prices.jsonl", "prices.csv", EVENTS)
DEEP = "[" * 100_000
VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**4_000,
    "", "x", "\ud800", "\x00", "\x1b[2J", "-1", "1e999999999", "9" * 5_000, "é" * 3, "AAAA",
    "====", "2026-13-01T00:00:00.000Z", "team:", [], {}, [[]] * 3, {"a": {}}, ["a", None],
)  # fmt: skip
TEXTS = ("NaN", "-Infinity", "1.5", "1e400", "1" * 5_000, DEEP, f'{{"a":{DEEP}', '"\\ud800"', "'x'")


def json_files(pack: Doctored) -> list[str]:
    return [name for name in pack.names() if name.endswith((".json", ".jsonl"))]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there is something in a JSON value."""
    yield path
    if isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, name))


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    place = value
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = new
    return value


def changed_bytes(data: st.DataObject, raw: bytes) -> bytes:
    """Bytes with some flipped, cut, put in, said twice or exchanged for others."""
    at = data.draw(st.integers(0, len(raw)))
    end = min(len(raw), at + data.draw(st.integers(1, 40)))
    way = data.draw(st.sampled_from(("flip", "cut", "end", "put", "twice", "other")))
    if way == "flip" and at < len(raw):
        return raw[:at] + bytes([raw[at] ^ (1 << data.draw(st.integers(0, 7)))]) + raw[at + 1 :]
    if way == "cut":
        return raw[:at] + raw[end:]
    if way == "end":
        return raw[:at]
    if way == "twice":
        return raw[:end] + raw[at:]
    some = data.draw(st.binary(min_size=1, max_size=40))
    return raw[:at] + some + raw[at if way == "put" else end :]


def changed_json(data: st.DataObject, text: str, *, lines: bool) -> str:
    """A JSON text in which one value, or the writing of one, is another."""
    rows = text.splitlines() if lines else [text]
    number = data.draw(st.integers(0, max(0, len(rows) - 1))) if rows else 0
    if not rows:
        rows = [""]
    told = json.loads(rows[number] or "null")
    path = data.draw(st.sampled_from(list(places(told))))
    if data.draw(st.booleans()):
        rows[number] = json.dumps(put(told, path, data.draw(st.sampled_from(VALUES))))
    else:
        mark = "here it comes"
        as_text = json.dumps(put(told, path, mark))
        rows[number] = as_text.replace(f'"{mark}"', data.draw(st.sampled_from(TEXTS)), 1)
    return "".join(f"{row}\n" for row in rows)


class Judge:
    """Has a pack verified in this process, where an error that is not told would be seen."""

    def __init__(self, packed: Packed, verifier: ModuleType) -> None:
        self.packed = packed
        self.verifier = verifier
        self.told = {
            path: outcome_of(verifier, path, packed.keys)[1]
            for path in (packed.everything, packed.of_payer)
        }

    def judge(self, original: Path, changed: Path) -> int:
        code, told = outcome_of(self.verifier, changed, self.packed.keys)
        assert code in {PROVED, NOT_PROVED, UNREADABLE}
        assert told.strip()
        if code == PROVED:
            assert self.told[original] == told
            for name in COUNTED:
                assert rows(original / name) == rows(changed / name), name
        else:
            assert "NOT PROVED" in told or "cannot be read" in told
        return code


def rows(path: Path) -> list[Any]:
    """What a file says, however it is written."""
    lines = path.read_bytes().splitlines()
    return [json.loads(line) for line in lines] if path.suffix == ".jsonl" else lines


@pytest.fixture(scope="session")
def judge(packed: Packed, verifier: ModuleType) -> Judge:
    return Judge(packed, verifier)


@contextlib.contextmanager
def copied(path: Path) -> Iterator[Doctored]:
    with TemporaryDirectory() as folder:
        yield Doctored(path, Path(folder) / "pack")


class TestAnyChange:
    @examples(120)
    @given(data=st.data())
    def test_of_bytes(self, judge: Judge, data: st.DataObject) -> None:
        original = data.draw(st.sampled_from(list(judge.told)))
        with copied(original) as pack:
            file = pack.folder / data.draw(st.sampled_from(pack.names()))
            file.write_bytes(changed_bytes(data, file.read_bytes()))
            if data.draw(st.booleans()):
                with contextlib.suppress(PackError):  # what is no manifest cannot be mended
                    pack.seal()
            judge.judge(original, pack.folder)

    @examples(150)
    @given(data=st.data())
    def test_of_values(self, judge: Judge, data: st.DataObject) -> None:
        original = data.draw(st.sampled_from(list(judge.told)))
        with copied(original) as pack:
            name = data.draw(st.sampled_from(json_files(pack)))
            file, is_lines = pack.folder / name, name.endswith(".jsonl")
            text = changed_json(data, file.read_text(), lines=is_lines)
            file.write_text(text, errors="surrogatepass")
            if data.draw(st.booleans()):
                with contextlib.suppress(PackError):
                    pack.seal()
            judge.judge(original, pack.folder)

    @examples(100)
    @given(data=st.data())
    def test_of_what_an_event_says(self, judge: Judge, data: st.DataObject) -> None:
        """No proof holds of it, but it is folded, so that what was changed can be named."""
        original = data.draw(st.sampled_from(list(judge.told)))
        with copied(original) as pack:
            lines = pack.lines(EVENTS)
            line = lines[data.draw(st.integers(0, len(lines) - 1))]
            state = base64.b64decode(line["state"])
            values = msgspec.msgpack.decode(state[1:])
            if data.draw(st.booleans()):
                state = changed_bytes(data, state)
            else:
                path = data.draw(st.sampled_from([p for p in places(values) if p]))
                new = data.draw(st.sampled_from([v for v in VALUES if packable(v)] + [1.5, b"x"]))
                state = state[:1] + msgspec.msgpack.encode(put(values, path, new))
            before, line["state"] = line["state"], base64.b64encode(state).decode()
            pack.write_lines(EVENTS, lines)
            pack.seal()
            code = judge.judge(original, pack.folder)
            assert (code == PROVED) == (before == line["state"])

    @examples(60)
    @given(data=st.data())
    def test_of_an_archive(self, judge: Judge, archive: Path, data: st.DataObject) -> None:
        with TemporaryDirectory() as folder:
            changed = Path(folder) / "pack.tar"
            raw = bytearray(archive.read_bytes())
            header = data.draw(st.sampled_from(headers(archive)))
            at = header + data.draw(st.integers(0, 511))
            raw[at] = data.draw(st.integers(0, 255))
            if data.draw(st.booleans()):
                raw[header : header + 512] = with_checksum(bytes(raw[header : header + 512]))
            changed.write_bytes(raw)
            code, told = outcome_of(judge.verifier, changed, judge.packed.keys)
            assert code in {PROVED, NOT_PROVED, UNREADABLE}
            assert code != PROVED or told == judge.told[judge.packed.everything]


def packable(value: Any) -> bool:
    try:
        msgspec.msgpack.encode(value)
    except (OverflowError, ValueError):
        return False
    return True


def headers(archive: Path) -> list[int]:
    with tarfile.open(archive) as tar:
        return [member.offset for member in tar]


class TestAnImport:
    """Of any change it says that it refuses it, or what it took over is the ledger that was."""

    @examples(60)
    @given(data=st.data())
    def test_of_values(self, packed: Packed, data: st.DataObject) -> None:
        self.judge(packed, data, lambda text, is_lines: changed_json(data, text, lines=is_lines))

    @examples(40)
    @given(data=st.data())
    def test_of_bytes(self, packed: Packed, data: st.DataObject) -> None:
        def change(text: str, _: bool) -> str:
            changed = changed_bytes(data, text.encode())
            return changed.decode(errors="surrogateescape")

        self.judge(packed, data, change)

    def judge(
        self, packed: Packed, data: st.DataObject, change: Callable[[str, bool], str]
    ) -> None:
        with copied(packed.everything) as pack:
            name = data.draw(st.sampled_from(json_files(pack)))
            file = pack.folder / name
            text = change(file.read_text(), name.endswith(".jsonl"))
            file.write_bytes(text.encode(errors="surrogateescape"))
            with contextlib.suppress(PackError):
                pack.seal()
            with contextlib.suppress(PackError), taken_over(pack.folder, packed):
                assert rows(packed.everything / EVENTS) == rows(pack.folder / EVENTS)
