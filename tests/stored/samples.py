"""Samples of events: makes new ones from the types of a class's fields, and reads recorded ones.

Run as a module it records those that are missing, and overwrites none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect as types

from events import LedgerEvent, encode, type_registry

FOLDER = Path(__file__).parent
FULL, LEAST, OTHER = 0, 1, 2
KINDS = (FULL, LEAST, OTHER)


def samples_of(event_class: type[LedgerEvent]) -> list[LedgerEvent]:
    """One with something in each field, one with as little as possible, one of large values."""
    return [_struct(event_class, kind) for kind in KINDS]


def _struct(struct_class: type[Any], kind: int) -> Any:
    info = types.type_info(struct_class)
    assert isinstance(info, types.StructType)
    values = [_value(field.type, kind, seed) for seed, field in enumerate(info.fields, start=1)]
    return struct_class(*values)


def _value(field_type: types.Type, kind: int, seed: int) -> Any:
    """Different in every field, so that two that change places are noticed."""
    choices: tuple[Any, ...]  # by kind
    match field_type:
        case types.UnionType(types=(one, types.NoneType())):
            choices = (_value(one, FULL, seed), None, _value(one, OTHER, seed))
        case types.IntType():
            choices = (1_793_520_000_000 + seed, 0, -62_135_596_800_000 + seed)
        case types.StrType():
            choices = (f"text {seed} – ünïcödé", "", "x" * (300 + seed))
        case types.BytesType():
            choices = (_bytes(16, seed), b"", _bytes(32, seed))
        case types.DictType(key_type=key, value_type=value):
            many = {_value(key, FULL, n): _value(value, FULL, n + 10) for n in (seed, seed + 1)}
            choices = (many, {}, {_value(key, OTHER, seed): _value(value, OTHER, seed)})
        case types.VarTupleType(item_type=types.StrType() as one):
            texts = [_value(one, each, seed) for each in KINDS]
            choices = (tuple(texts), (), tuple(texts[:1]))
        case types.VarTupleType(item_type=types.StructType(cls=nested)):
            samples = [_struct(nested, each) for each in KINDS]
            choices = (tuple(samples), (), tuple(samples[:1]))
        case _:
            raise TypeError(f"say how to make a sample of {field_type}")
    return choices[kind]


def _bytes(size: int, seed: int) -> bytes:
    return bytes(range(seed, seed + size))


def plain(value: Any) -> Any:
    """As JSON has it: bytes in hexadecimal, structs as objects."""
    match value:
        case bytes():
            return value.hex()
        case msgspec.Struct():
            return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
        case tuple():
            return [plain(each) for each in value]
        case dict():
            return {name: plain(each) for name, each in value.items()}
        case _:
            return value


def paths_of(topic: str, version: int) -> tuple[Path, Path]:
    """Where the bytes are, and where what they load as."""
    return FOLDER / f"{topic}.v{version}.hex", FOLDER / f"{topic}.v{version}.json"


def recorded() -> Iterator[tuple[str, int, int, bytes, Any]]:
    """Topic, version, number of the line, its bytes, and what they load as."""
    for path in sorted(FOLDER.glob("*.hex")):
        topic, _, version = path.stem.rpartition(".v")
        expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        lines = path.read_text(encoding="ascii").split()
        for number, (line, value) in enumerate(zip(lines, expected, strict=True), start=1):
            yield topic, int(version), number, bytes.fromhex(line), value


def record_missing() -> list[str]:
    """Record samples of today's version of every class that has none."""
    written: list[str] = []
    for topic, event_class in sorted(type_registry.items()):
        states, values = paths_of(topic, event_class.VERSION)
        if states.exists():
            continue
        events = samples_of(event_class)
        states.write_text("".join(f"{encode(e).hex()}\n" for e in events), encoding="ascii")
        text = json.dumps([plain(event) for event in events], indent=1, ensure_ascii=False)
        values.write_text(text + "\n", encoding="utf-8")
        written.append(states.name)
    return written


if __name__ == "__main__":
    sys.stdout.writelines(f"recorded {name}\n" for name in record_missing())
