#!/usr/bin/env python3
"""Checks heads, proofs and evidence packs of a usage-ledger, offline and without usage-ledger.

    python usage_ledger_verify.py --keys audit-keys.json head event.proof.json …
    python usage_ledger_verify.py pack FOLDER --keys audit-keys.json

Files are heads (a text each, or what `usage-ledger heads list --json` prints), proofs that an event
is in the log, and proofs that one head begins another. All that are given are taken together: a
consistency proof lets an older head be believed because a newer one is. The list of keys is the
only thing that is believed outright, so get it from somebody you trust.

A pack is a folder, or one archive, that `usage-ledger export` has made. Its events are proved to be
in the log that a signed head covers, and are folded anew to the entries and balances that it tells.

Needs Python 3.10 or newer and the package `cryptography`; nothing of usage-ledger. The formats are
in docs/proofs.md and docs/evidence-packs.md of usage-ledger, with all that is needed to write such
a program anew.

Ends with 0 if everything given is proved, 1 if something is not, 2 if a file cannot be read.
"""

# ruff: noqa: E402  # the path is put right before anything is imported from it

from __future__ import annotations

import os
import sys

# This file may lie beside a pack, and a pack may have a file json.py.
sys.path[:] = [
    each
    for each in sys.path
    if os.path.realpath(each) != os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120
]

import argparse
import base64
import binascii
import contextlib
import csv
import datetime as dt
import functools
import hashlib
import io
import itertools
import json
import operator
import re
import sqlite3
import struct
import tarfile
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PROVED, NOT_PROVED, UNREADABLE = 0, 1, 2
FILE_BYTES_MAX = 64 << 20
NUMBER_MAX = 2**63 - 1  # what is larger fits in no leaf, and in no ledger
RECORDED_MIN, RECORDED_MAX = -62_135_596_800_000, 253_402_300_799_999  # ms, years 1 to 9999
KEYS_FORMAT = "usage-ledger-keys-1"
EVENT_FORMAT = "usage-ledger-event-proof-1"
DEPTH_MAX = 16  # of arrays in an event; it has three
CONSISTENCY_FORMAT = "usage-ledger-consistency-proof-1"
SHOWN_MAX = 400  # characters of a value that is told
EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001  # UTC throughout


class UnreadableError(Exception):
    """A file is not what it should be."""


class NotProvedError(Exception):
    """Something that was given is not so."""


# What reading garbage may raise, beside the two above. Who catches it says what it was read as.
GARBAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    csv.Error,
    sqlite3.Error,
    struct.error,
    tarfile.TarError,
)


class Point(NamedTuple):
    """The tree of a ledger's shard at a size."""

    origin: str
    size: int
    root: bytes


class Head(NamedTuple):
    """A signed note, taken apart."""

    point: Point
    recorded: str
    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]  # name, id and signature


class Event(NamedTuple):
    """A proof that an event is in the log."""

    head: Head
    leaf_number: int
    stream: str
    version: int
    topic: str
    recorded_ms: int
    state: bytes
    hashes: list[bytes]


class Consistency(NamedTuple):
    """A proof that one tree begins another."""

    first: Point
    second: Point
    heads: list[Head]
    hashes: list[bytes]


class Key(NamedTuple):
    """A listed key; `last` are the last heads of one that is retired, by origin."""

    name: str
    public: bytes
    last: dict[str, Point] | None


# Hashes ----------------------------------------------------------------------------------------


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def event_entry(event: Event) -> bytes:
    """What the leaf of an event hashes."""
    stream, topic = event.stream.encode(), event.topic.encode()
    return b"".join(
        (
            b"\x01",
            struct.pack(">I", len(stream)),
            stream,
            struct.pack(">Q", event.version),
            struct.pack(">I", len(topic)),
            topic,
            struct.pack(">q", event.recorded_ms),
            struct.pack(">I", len(event.state)),
            event.state,
        )
    )


def sides(number: int, last: int, count: int) -> list[bool]:
    """For each hash of a proof, from the bottom: whether it stands to the left.

    RFC 9162, sections 2.1.3.2 and 2.1.4.2, walk up a tree in the same way.
    """
    found = []
    for _ in range(count):
        if last == 0:
            raise NotProvedError("the proof has too many hashes")
        is_left = number % 2 == 1 or number == last
        while is_left and number and number % 2 == 0:
            number, last = number >> 1, last >> 1
        found.append(is_left)
        number, last = number >> 1, last >> 1
    if last:
        raise NotProvedError("the proof has too few hashes")
    return found


def root_of_path(leaf: bytes, number: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that a proof of inclusion leads to."""
    if not 0 <= number < size:
        raise NotProvedError(f"leaf {number} lies outside a tree of {size}")
    root = leaf
    for other, is_left in zip(path, sides(number, size - 1, len(path)), strict=True):
        root = node_hash(other, root) if is_left else node_hash(root, other)
    return root


def check_consistency(first: Point, second: Point, proof: Sequence[bytes]) -> None:
    """Refuse a proof that does not lead to both roots."""
    if first.origin != second.origin or not 0 < first.size <= second.size:
        raise NotProvedError(f"a tree of {first.size} cannot begin this one of {second.size}")
    if first.size == second.size:
        if proof or first.root != second.root:
            raise NotProvedError("two trees of one size have different roots")
        return
    # The first tree is a subtree of the second where its size is a power of two.
    is_subtree = first.size & (first.size - 1) == 0
    path = [first.root, *proof] if is_subtree else list(proof)
    if not path:
        raise NotProvedError("the proof has too few hashes")
    number, last = first.size - 1, second.size - 1
    while number % 2:
        number, last = number >> 1, last >> 1
    one = two = path[0]
    for other, is_left in zip(path[1:], sides(number, last, len(path) - 1), strict=True):
        one = node_hash(other, one) if is_left else one
        two = node_hash(other, two) if is_left else node_hash(two, other)
    if (one, two) != (first.root, second.root):
        raise NotProvedError("the proof leads to other roots")


def _holds(link: Consistency) -> bool:
    try:
        check_consistency(link.first, link.second, link.hashes)
    except NotProvedError:
        return False
    return True


# Reading ---------------------------------------------------------------------------------------

_SIZE = re.compile(r"(?:0|[1-9][0-9]{0,17})\Z", re.ASCII)
_RECORDED = re.compile(r"recorded (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)\Z", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9._/:@-]{1,200}\Z", re.ASCII)
_ORIGIN = re.compile(r"[!-~]{1,400}\Z", re.ASCII)


def unbase64(text: object, size: int | None = 32) -> bytes:
    """Bytes of a known length, in the one way to write them."""
    try:
        raw = base64.b64decode(str(text), validate=True)
    except binascii.Error:
        raise UnreadableError("what should be base64 is not") from None
    if (size is not None and len(raw) != size) or base64.b64encode(raw).decode() != text:
        raise UnreadableError("what should be base64 is cut off, or written otherwise")
    return raw


def number_of(value: object, least: int = 0, most: int = NUMBER_MAX) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnreadableError(f"{shown(value)} is not a whole number")
    if not least <= value <= most:
        raise UnreadableError(f"{shown(value)} does not lie between {least} and {most}")
    return value


def text_of(value: object) -> str:
    if not isinstance(value, str):
        raise UnreadableError(f"{shown(value)} is not a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UnreadableError(f"{shown(value)} is not a text") from None
    return value


def shown(value: object) -> str:
    """A value for people: not longer than they can read, whatever it is."""
    try:
        text = json.dumps(value, default=repr)
    except GARBAGE:
        text = "what lies there"
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"


def parsed(raw: bytes | str, what: str) -> Any:
    """A JSON text, if every program must read the same in it.

    UTF-8, whole numbers, and no name twice in an object: of two values some programs take the
    first, others the last.
    """
    try:
        return _STRICT.decode(raw if isinstance(raw, str) else raw.decode())
    except UnreadableError as error:
        raise UnreadableError(f"{what}: {error}") from None
    except (ValueError, RecursionError):
        raise UnreadableError(f"{what} is no JSON") from None


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UnreadableError(f"the name {shown(twice)} stands twice in one object")
    return found


def _no_fraction(text: str) -> Any:
    raise UnreadableError(f"{text[:40]} is not a whole number")


_STRICT = json.JSONDecoder(
    object_pairs_hook=_object_of, parse_float=_no_fraction, parse_constant=_no_fraction
)


def read_head(note: str) -> Head:
    """Take a signed note apart: four lines, an empty one, and a line for each signature."""
    text, between, rest = note.partition("\n\n")
    lines = text.split("\n")
    if not between or not rest.endswith("\n") or len(lines) != 4:
        raise UnreadableError("it is no signed head")
    origin, size, root, recorded = lines
    told = _RECORDED.match(recorded)
    if not _ORIGIN.match(origin) or not _SIZE.match(size) or told is None:
        raise UnreadableError("it is no signed head")
    signatures = []
    for line in rest[:-1].split("\n"):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "\u2014" or not _NAME.match(parts[1]):
            raise UnreadableError("a signature of the head is not written as one")
        raw = unbase64(parts[2], 68)
        signatures.append((parts[1], raw[:4], raw[4:]))
    point = Point(origin, int(size), unbase64(root))
    return Head(point, told[1], text + "\n", tuple(signatures))


def read_event(told: dict[str, Any]) -> Event:
    event = told["event"]
    return Event(
        read_head(text_of(told["head"])),
        number_of(told["leaf_number"], -NUMBER_MAX),
        text_of(event["stream"]),
        number_of(event["version"]),
        text_of(event["topic"]),
        number_of(event["recorded_ms"], RECORDED_MIN, RECORDED_MAX),
        unbase64(event["state"], None),
        [unbase64(each) for each in told["hashes"]],
    )


def read_consistency(told: dict[str, Any]) -> Consistency:
    origin, heads, points = text_of(told["origin"]), [], []
    for each in (told["first"], told["second"]):
        points.append(Point(origin, number_of(each["size"]), unbase64(each["root"])))
        if each["head"] is not None:
            head = read_head(text_of(each["head"]))
            if head.point != points[-1]:
                raise UnreadableError("its head says something else than it does")
            heads.append(head)
    return Consistency(points[0], points[1], heads, [unbase64(each) for each in told["hashes"]])


def read_keys(path: Path) -> dict[str, Key]:
    told = parsed(read_file(path), "its text")
    if told["format"] != KEYS_FORMAT:
        raise UnreadableError(f"its format is not {KEYS_FORMAT}")
    keys: dict[str, Key] = {}
    for each in told["keys"]:
        name, public = text_of(each["name"]), unbase64(each["public_key"])
        if (
            each["algorithm"] != "ed25519"
            or name in keys
            or each["id"] != key_id(name, public).hex()
        ):
            raise UnreadableError(f"its key {shown(name)} does not fit together")
        last = None
        if each["retired"] is not None:
            last = {}
            for head in each["retired"]["last_heads"]:
                origin, size = text_of(head["origin"]), number_of(head["size"])
                if origin in last:
                    raise UnreadableError(f"its key {shown(name)} has two last heads of one tree")
                last[origin] = Point(origin, size, unbase64(head["root"]))
        keys[name] = Key(name, public, last)
    return keys


def read_claims(path: Path) -> list[Any]:
    """The heads and proofs in a file."""
    text = read_file(path)
    if not text.lstrip().startswith("{"):
        return [read_head(text)]
    told = parsed(text, "its text")
    if told.get("format") == EVENT_FORMAT:
        return [read_event(told)]
    if told.get("format") == CONSISTENCY_FORMAT:
        return [read_consistency(told)]
    if "heads" in told:
        return [read_head(text_of(each["note"])) for each in told["heads"]]
    raise UnreadableError("it is neither a head nor a proof")


def read_file(path: Path) -> str:
    with path.open("rb") as file:
        raw = file.read(FILE_BYTES_MAX + 1)
    if len(raw) > FILE_BYTES_MAX:
        raise UnreadableError(f"it is longer than {FILE_BYTES_MAX} bytes")
    return raw.decode()


# What is believed ------------------------------------------------------------------------------


def key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]


class Trust:
    """The trees that are believed: by a signature, by the list of keys, or by a proof."""

    def __init__(self, keys: dict[str, Key], claims: Sequence[Any]) -> None:
        self.keys = keys
        self._roots: dict[tuple[str, int], set[bytes]] = {}  # believed, by origin and size
        for key in keys.values():
            for last in (key.last or {}).values():
                self.believe(last)
        links = [claim for claim in claims if isinstance(claim, Consistency)]
        for claim in claims:
            for head in _heads_of(claim):
                if not self.judge(head)[0]:
                    self.believe(head.point)
        self._follow(links)

    def believe(self, point: Point) -> None:
        """Let a tree be believed: something leads to it."""
        self._roots.setdefault(point[:2], set()).add(point.root)

    def believes(self, point: Point) -> bool:
        return point.root in self._roots.get(point[:2], ())

    def judge(self, head: Head) -> tuple[str, bool]:
        """Say why its signatures do not let a head be believed, and whether a proof may.

        Nothing if one of them does.
        """
        verdicts = [self._judge(head, *signature) for signature in head.signatures]
        return min(verdicts, key=lambda verdict: (bool(verdict[0]), not verdict[1]))

    def _judge(self, head: Head, name: str, told_id: bytes, signature: bytes) -> tuple[str, bool]:
        key = self.keys.get(name)
        if key is None:
            return f"key {name!r} is not in the list of keys", False
        if told_id != key_id(name, key.public) or not _signed(head, key, signature):
            return f"the signature of key {name!r} does not hold", False
        return ("", True) if key.last is None else self._of_retired(key, key.last, head.point)

    @staticmethod
    def _of_retired(key: Key, lasts: dict[str, Point], point: Point) -> tuple[str, bool]:
        last = lasts.get(point.origin)
        if last is None or point.size > last.size:
            return f"key {key.name!r} is retired, and signed no tree of that size", False
        if point.size == last.size:
            objection = f"key {key.name!r} is retired, and the last tree that it signed is another"
            return ("", True) if point == last else (objection, False)
        # Whoever has stolen a retired key can sign any older tree.
        objection = (
            f"key {key.name!r} is retired: an older head of it is believed only with a consistency"
            f" proof to its last one, of {last.size} events, or to a newer head"
        )
        return objection, True

    def _follow(self, links: Sequence[Consistency]) -> None:
        """What begins a tree that is believed, is believed."""
        grown = True
        while grown:
            grown = False
            for link in links:
                is_new = self.believes(link.second) and not self.believes(link.first)
                if is_new and _holds(link):
                    self.believe(link.first)
                    grown = True

    def says_when(self, head: Head) -> bool:
        """Say whether a key that is not retired signed it; a stolen one may name any time."""
        return any(
            key is not None and key.last is None and not self._judge(head, *signature)[0]
            for signature in head.signatures
            for key in [self.keys.get(signature[0])]
        )

    def check_head(self, head: Head) -> None:
        """Refuse a head that is not believed."""
        objection, may_be_lifted = self.judge(head)
        if objection and not (may_be_lifted and self.believes(head.point)):
            raise NotProvedError(objection)
        self.check(head.point)

    def check(self, point: Point) -> None:
        """Refuse a tree that is not believed, or that another one that is contradicts."""
        if not self.believes(point):
            raise NotProvedError(
                f"no head that is believed leads to the tree of {point.size} events"
            )
        if len(self._roots[point[:2]]) > 1:
            raise NotProvedError(
                f"there are two trees of {point.size} events with different roots: the ledger was"
                " shown in two versions"
            )


def _heads_of(claim: Any) -> list[Head]:
    if isinstance(claim, Head):
        return [claim]
    return [claim.head] if isinstance(claim, Event) else claim.heads


def _signed(head: Head, key: Key, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, head.text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


# Telling ---------------------------------------------------------------------------------------


def prove(claim: Any, trust: Trust) -> str:
    """Say what a claim proves; NotProvedError says why it does not."""
    for head in _heads_of(claim):
        trust.check_head(head)
    if isinstance(claim, Head):
        if not trust.says_when(claim):
            return f"a head of {claim.point.size} events; a retired key does not prove when"
        return f"a head of {claim.point.size} events, recorded up to {claim.recorded}"
    if isinstance(claim, Consistency):
        check_consistency(claim.first, claim.second, claim.hashes)
        trust.check(claim.second)
        return f"the log of {claim.first.size} events begins that of {claim.second.size}"
    return _prove_event(claim)


def _prove_event(event: Event) -> str:
    point = event.head.point
    leaf = leaf_hash(event_entry(event))
    if root_of_path(leaf, event.leaf_number, point.size, event.hashes) != point.root:
        raise NotProvedError("the event is not the one that the head covers, or not at that place")
    values = unpacked(event.state)
    if not values or values[0] != event.recorded_ms:
        raise NotProvedError("the event's bytes say another time than its leaf")
    recorded = EPOCH + dt.timedelta(milliseconds=event.recorded_ms)
    return (
        f"event {event.leaf_number} of the log of {point.size} events of {point.origin}:\n"
        f"    {printable(event.stream)} version {event.version}, {printable(event.topic)}\n"
        f"    recorded {recorded.isoformat(timespec='milliseconds')}Z\n"
        f"    {json.dumps(values, default=_shown, ensure_ascii=True)}"
    )


def printable(text: str) -> str:
    """A text without what could move a terminal's cursor."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def unpacked(state: bytes) -> list[Any]:
    """The values of an event: a byte for the version of its fields, then an array in msgpack."""
    try:
        value, end = _unpack(state, 1, DEPTH_MAX)
    except (IndexError, struct.error, UnicodeDecodeError, KeyError):
        raise NotProvedError("the event's bytes are no event") from None
    if end != len(state) or not isinstance(value, list):
        raise NotProvedError("the event's bytes are no event")
    return value


_FIXED = {0xC0: None, 0xC2: False, 0xC3: True}
_PACKED = {  # no fractions: money and times are whole numbers
    0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_SIZED = {
    0xC4: (bytes, ">B"), 0xC5: (bytes, ">H"), 0xC6: (bytes, ">I"),
    0xD9: (str, ">B"), 0xDA: (str, ">H"), 0xDB: (str, ">I"),
    0xDC: (list, ">H"), 0xDD: (list, ">I"), 0xDE: (dict, ">H"), 0xDF: (dict, ">I"),
}  # fmt: skip


def _unpack(raw: bytes, at: int, depth: int) -> tuple[Any, int]:
    if not depth:
        raise IndexError
    mark, at = raw[at], at + 1
    value: Any = None
    if mark <= 0x7F or mark >= 0xE0:
        value = mark if mark <= 0x7F else mark - 0x100
    elif mark in _FIXED:
        value = _FIXED[mark]
    elif mark in _PACKED:
        (value,) = struct.unpack_from(_PACKED[mark], raw, at)
        at += struct.calcsize(_PACKED[mark])
    elif mark <= 0xBF:
        kind: type = dict if mark <= 0x8F else list if mark <= 0x9F else str
        return _many(raw, at, kind, mark & (0x1F if kind is str else 0x0F), depth)
    else:
        kind, size_format = _SIZED[mark]
        (count,) = struct.unpack_from(size_format, raw, at)
        return _many(raw, at + struct.calcsize(size_format), kind, count, depth)
    return value, at


def _many(raw: bytes, at: int, kind: type, count: int, depth: int) -> tuple[Any, int]:
    if kind in (bytes, str):
        piece = raw[at : at + count]
        if len(piece) < count:
            raise IndexError
        return (piece if kind is bytes else piece.decode()), at + count
    values = []
    for _ in range(count * 2 if kind is dict else count):
        value, at = _unpack(raw, at, depth - 1)
        values.append(value)
    if kind is dict:
        found = {str(values[i]): values[i + 1] for i in range(0, len(values), 2)}
        if len(found) != count:
            raise KeyError
        return found, at
    return values, at


# Evidence packs: their files ------------------------------------------------------------------

PACK_FORMAT = "usage-ledger-pack-1"
MANIFEST, SUMS = "manifest.json", "SHA256SUMS"
TABLE_KINDS = ("csv", "jsonl", "parquet")
# What a pack says of itself is the same in all of them, by version of usage-ledger: whoever may
# change how a balance is computed, or what a column means, need not change any number.
WRITTEN = {
    "README.md": {"100f501083cca8b777bef41fe99b457ea103c6fa5ecb4fcb3b070d612aa71a51"},
    "balances.sql": {"9dbf4d2ad4740c9a2ca958adabf19e069e918fb11d625854489c639a937bf2e4"},
    "schema.json": {"bd1e67a9abac8dd27b7e985589a923b6164f8f0dcfba89e9b47ba34f6bd57a55"},
}
LINE_BYTES_MAX = 16 << 20
PROBLEMS_SHOWN = 50
PIECE = 1 << 20
FILES_MAX = 10_000
_TEAM = re.compile(r"team:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.ASCII)
_PACK_NAME = re.compile(r"(?:shard-[0-9]{1,6}/)?[A-Za-z0-9-]{1,40}(?:\.[a-z]{1,8})?\Z", re.ASCII)


class Report:
    """What was proved of a pack, and what was not."""

    def __init__(self) -> None:
        self.problems = 0

    def proved(self, text: str) -> None:
        print(f"PROVED      {text}")

    def note(self, text: str) -> None:
        print(f"NOTE        {printable(text)}")

    def problem(self, where: str, text: str) -> None:
        self.problems += 1
        if self.problems <= PROBLEMS_SHOWN:
            print(f"NOT PROVED  {printable(where)}: {printable(text)}")


class Pack:
    """A folder, or one archive that holds the same files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tar: tarfile.TarFile | None = None
        self._members: dict[str, tarfile.TarInfo] = {}
        self.names: set[str] = set()
        self.odd: set[str] = set()  # links, pipes, what has holes: nothing to read from
        if path.is_dir():
            self._look_into(path)
        elif path.exists() and not path.is_file():
            raise UnreadableError("it is neither a folder nor a whole archive")
        else:
            self._open_archive(path)

    def _look_into(self, path: Path) -> None:
        for each in path.rglob("*"):
            if each.is_symlink() or not each.is_dir():
                name = each.relative_to(path).as_posix()
                self._add(name, is_odd=each.is_symlink() or not each.is_file())

    def _open_archive(self, path: Path) -> None:
        try:
            # Nothing is unpacked: a small archive that is compressed may hold any amount.
            self._tar = tarfile.open(path, "r:")  # noqa: SIM115  # open as long as the pack is read
            while (each := self._tar.next()) is not None:
                # One with a size below 0 would be read for ever.
                if each.name in self.names or each.size < 0:
                    raise UnreadableError("its archive holds a file twice, or what is no file")
                is_file = each.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not each.issparse()
                self._add(each.name, is_odd=not is_file)
                self._members[each.name] = each
        except GARBAGE as error:
            text = str(error) if isinstance(error, tarfile.TarError) else "it cannot be unpacked"
            raise UnreadableError(
                f"it is neither a folder nor a whole archive that is not compressed: {text}"
            ) from None

    def _add(self, name: str, *, is_odd: bool) -> None:
        self.names.add(name)
        if is_odd:
            self.odd.add(name)
        if len(self.names) > FILES_MAX:
            raise UnreadableError(f"it has more than {FILES_MAX} files, as no pack has")

    def size(self, name: str) -> int:
        if self._tar is None:
            return (self.path / name).stat().st_size
        return self._members[name].size

    def close(self) -> None:
        if self._tar is not None:
            self._tar.close()

    def open(self, name: str) -> IO[bytes]:
        if name not in self.names or name in self.odd:
            raise UnreadableError(f"{name} is missing")
        if self._tar is None:
            return (self.path / name).open("rb")
        file = self._tar.extractfile(self._members[name])
        if file is None:
            raise UnreadableError(f"{name} is no file")
        return file

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            raw = file.read(FILE_BYTES_MAX + 1)
        if len(raw) > FILE_BYTES_MAX:
            raise UnreadableError(f"{name} is longer than {FILE_BYTES_MAX} bytes")
        return raw

    def lines(self, name: str) -> Iterator[tuple[int, Any]]:
        """The rows of a file of JSON lines, each with its number."""
        with self.open(name) as file:
            number = 0
            while line := file.readline(LINE_BYTES_MAX + 1):
                number += 1
                if not line.endswith(b"\n"):
                    raise UnreadableError(f"{name} is cut off in line {number}")
                yield number, parsed(line, f"line {number} of {name}")


def read_pack_manifest(pack: Pack) -> tuple[dict[str, Any], bytes]:
    raw = pack.read(MANIFEST)
    told = parsed(raw, MANIFEST)
    try:
        if told["format"] != PACK_FORMAT:
            raise UnreadableError(f"{MANIFEST} is not of the format {PACK_FORMAT}")
        _check_whose(told)
        _check_shards(told)
        for file in told["files"]:
            named = text_of(file["name"])
            if not _PACK_NAME.match(named) or named in {MANIFEST, SUMS}:
                raise UnreadableError(f"{MANIFEST} names a file {shown(named)}")
            number_of(file["bytes"])
            if file["rows"] is not None:
                number_of(file["rows"])
            text_of(file["sha256"])
    except GARBAGE:
        raise UnreadableError(f"{MANIFEST} does not fit together") from None
    return told, raw


def _check_whose(told: dict[str, Any]) -> None:
    """Refuse what could not be told as what was proved: it stands there in this text."""
    payer, ledger = told["payer"], text_of(told["ledger"])
    if payer is not None and not _TEAM.match(text_of(payer)):
        raise UnreadableError(f"{MANIFEST} is of a payer {shown(payer)}")
    if not _ORIGIN.match(ledger) or not isinstance(told["with_personal"], bool):
        raise UnreadableError(f"{MANIFEST} is of a ledger {shown(ledger)}")
    begin, end = told["period_from"], told["period_to"]
    try:
        ends = [milliseconds(text_of(each)) for each in (begin, end) if each is not None]
    except UnreadableError as error:
        raise UnreadableError(f"{MANIFEST}: {error}") from None
    if ends != sorted(ends):
        raise UnreadableError(f"{MANIFEST} has a period that ends before it begins")


def _check_shards(told: dict[str, Any]) -> None:
    shards = [number_of(shard["shard"]) for shard in told["shards"]]
    wanted = list(range(len(shards))) if told["payer"] is None else shards[:1]
    if not shards or shards != wanted:
        raise UnreadableError(f"{MANIFEST} is of shards {shown(shards)}, as no pack is")
    for shard in told["shards"]:
        for name in ("size", "events", "last_position"):
            number_of(shard[name])
        text_of(shard["origin"])


def milliseconds(text: str) -> int:
    """A time as packs and heads write it."""
    if not _RECORDED.match(f"recorded {text}"):
        raise UnreadableError(f"{shown(text)} is not a time")
    try:
        moment = dt.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: DTZ007  # UTC throughout
    except ValueError:
        raise UnreadableError(f"{shown(text)} is not a time") from None
    return (moment - EPOCH) // dt.timedelta(milliseconds=1)


def files_of(manifest: dict[str, Any]) -> set[str]:
    """The files that a pack has, by what it says that it is of."""
    names = {*WRITTEN, "payers.jsonl"}
    names |= {f"{name}.{kind}" for name in ("entries", "prices") for kind in TABLE_KINDS}
    in_shard = ["events.jsonl", "events.parquet", "heads.jsonl", "proof.bin"]
    if manifest["with_personal"]:
        in_shard.append("personal.jsonl")
    if manifest["payer"] is None:
        names.add("placement.jsonl")
        in_shard += ["recorded-ids.jsonl", "deliveries.jsonl"]
    for shard in manifest["shards"]:
        if shard["size"]:
            names |= {f"shard-{shard['shard']}/{name}" for name in in_shard}
    return names


def check_files(pack: Pack, manifest: dict[str, Any], raw: bytes, report: Report) -> None:
    """Compare every file with its hash in the manifest, and the manifest with SHA256SUMS."""
    before = report.problems
    files = {file["name"]: file for file in manifest["files"]}
    if len(files) != len(manifest["files"]):
        report.problem(MANIFEST, "it names a file twice")
    for name in sorted(pack.names - set(files) - {MANIFEST, SUMS}):
        report.problem(name, "the manifest does not name this file")
    wanted = files_of(manifest)
    for name in sorted(wanted - set(files)):
        report.problem(name, "the manifest does not name this file, which every pack has")
    for name in sorted(set(files) - wanted):
        report.problem(name, "no pack has such a file: nothing says whether it is true")
    for name, told in sorted(files.items()):
        problem = _objection(pack, name, told)
        if problem:
            report.problem(name, problem)
    sums = "".join(f"{file['sha256']}  {file['name']}\n" for file in manifest["files"])
    sums += f"{hashlib.sha256(raw).hexdigest()}  {MANIFEST}\n"
    if SUMS not in pack.names:
        report.problem(SUMS, "the file is missing")
    elif pack.read(SUMS) != sums.encode():
        report.problem(SUMS, f"it is not what {MANIFEST} and its files lead to: one was changed")
    if report.problems == before:
        report.proved(f"{len(files) + 2} files, each as the manifest names it")


def _objection(pack: Pack, name: str, told: dict[str, Any]) -> str:
    """What is wrong with a file; nothing if it is the one that the manifest names."""
    if name not in pack.names or name in pack.odd:
        return "it is a link, a pipe, or has holes" if name in pack.odd else "the file is missing"
    if pack.size(name) != told["bytes"]:
        return f"it has {pack.size(name)} bytes instead of {told['bytes']}"
    digest, ends = hashed(pack, name)
    if name.endswith(".jsonl") and ends != told["rows"]:
        return f"it has {ends} rows instead of {told['rows']}"
    if digest != told["sha256"]:
        return "its SHA-256 is not the one in the manifest: it was changed"
    if name in WRITTEN and digest not in WRITTEN[name]:
        return (
            "it is not what usage-ledger writes there: take the verifier of a newer usage-ledger,"
            " or do not believe it"
        )
    return ""


def hashed(pack: Pack, name: str) -> tuple[str, int]:
    """SHA-256 and line ends of a file."""
    digest, ends = hashlib.sha256(), 0
    with pack.open(name) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            ends += piece.count(b"\n")
    return digest.hexdigest(), ends


# Evidence packs: many leaves at once ----------------------------------------------------------


class Climb:
    """Leaves that are shown and perfect subtrees between them, put together from the left."""

    def __init__(self, hashes: IO[bytes]) -> None:
        self.size = 0
        self._hashes = hashes
        self._subtrees: list[tuple[int, bytes]] = []

    def skip_to(self, end: int) -> None:
        """Take what lies before a leaf that is shown: as few and as large subtrees as can be."""
        while self.size < end:
            height = (end - self.size).bit_length() - 1
            if self.size:
                height = min(height, (self.size & -self.size).bit_length() - 1)
            root = self._hashes.read(32)
            if len(root) != 32:
                raise NotProvedError("proof.bin has too few hashes")
            self.add(height, root)

    def add(self, height: int, root: bytes) -> None:
        self.size += 1 << height
        subtrees = self._subtrees
        while subtrees and subtrees[-1][0] == height:
            root = node_hash(subtrees.pop()[1], root)
            height += 1
        subtrees.append((height, root))

    def root(self) -> bytes:
        if not self._subtrees:
            return hashlib.sha256(b"").digest()
        *others, (_, root) = self._subtrees
        for _, left in reversed(others):
            root = node_hash(left, root)
        return root


HEAD_COLUMNS = {"number", "size", "signed_at", "key_name", "author", "note", "consistency"}


def read_pack_heads(pack: Pack, shard: dict[str, Any]) -> list[tuple[Head, Consistency | None]]:
    """The pack's head first, then others, each with what shows that its log begins that."""
    name = f"shard-{shard['shard']}/heads.jsonl"
    found: list[tuple[Head, Consistency | None]] = []
    for number, line in pack.lines(name):
        try:
            head = read_head(text_of(line["note"]))
            hashes = [unbase64(each) for each in line["consistency"]]
            if set(line) != HEAD_COLUMNS:
                raise UnreadableError("it has other names")
        except (*GARBAGE, UnreadableError):
            raise UnreadableError(f"line {number} of {name} is no head") from None
        if (line["size"], line["key_name"]) != (head.point.size, head.signatures[0][0]):
            raise UnreadableError(f"line {number} of {name} says something else than its note")
        first = found[0][0] if found else None
        link = Consistency(head.point, first.point, [], hashes) if first and hashes else None
        found.append((head, link))
    if not found or shard["head"] != _first_note(pack, name):
        raise UnreadableError(f"{name} does not begin with the head in {MANIFEST}")
    return found


def _first_note(pack: Pack, name: str) -> str:
    _, line = next(pack.lines(name))
    return text_of(line["note"])


class Kept(NamedTuple):
    """What an auditor has kept of a ledger, and proofs that lead from it to the pack."""

    heads: list[Head]
    links: list[Consistency]


class Times:
    """Holds heads to the events that they cover, by when these were recorded."""

    def __init__(self, heads: Sequence[Head], report: Report) -> None:
        self._report = report
        self._heads = sorted({(head.point.size, milliseconds(head.recorded)) for head in heads})
        for (size, before), (larger, behind) in itertools.pairwise(self._heads):
            if size == larger or before > behind:
                report.problem(
                    "heads.jsonl",
                    f"the heads of {size} and {larger} events contradict each other: recorded up to"
                    f" {time_text(before)} and {time_text(behind)}",
                )
        self._at = 0  # the first head that covers what comes now

    def see(self, event: Event, where: str) -> None:
        """Take the events in the order of the log: the times never go back in it."""
        heads, size = self._heads, event.leaf_number + 1
        while self._at < len(heads) and heads[self._at][0] < size:
            self._at += 1
        for covered, recorded in itertools.takewhile(
            lambda head: head[0] == size, itertools.islice(heads, self._at, None)
        ):
            if recorded != event.recorded_ms:
                self._report.problem(
                    where,
                    f"the head of {covered} events says that they were recorded up to"
                    f" {time_text(recorded)}, but its newest event was recorded at"
                    f" {time_text(event.recorded_ms)}",
                )
        if self._at < len(heads) and event.recorded_ms > heads[self._at][1]:
            covered, recorded = heads[self._at]
            self._report.problem(
                where,
                f"the event was recorded later than {time_text(recorded)}, up to which the head of"
                f" {covered} events says that it goes",
            )


class ShardProof:
    """Proves the events of one shard, and keeps them to be folded."""

    def __init__(
        self,
        pack: Pack,
        manifest: dict[str, Any],
        shard: dict[str, Any],
        kept: Kept,
        report: Report,
    ) -> None:
        self._pack = pack
        self._is_all = manifest["payer"] is None
        self._shard = shard
        self._number = number_of(shard["shard"])
        self.folder = f"shard-{self._number}"
        self._report = report
        self.heads = read_pack_heads(pack, shard)
        self.head = self.heads[0][0]
        origin = self.head.point.origin
        self.kept = [head for head in kept.heads if head.point.origin == origin]
        own = [link for _, link in self.heads if link is not None]
        self._links = [*own, *(link for link in kept.links if link.first.origin == origin)]
        self.roots: dict[int, bytes] = {}  # at the sizes of heads, of a pack of everything
        self.count = self.hashes = 0  # events, and what lies between them
        self._position = 0  # of the last event
        self.recorded = ""  # up to when, where that is proved
        self._times = Times([head for head, _ in self.heads], report)

    def events(self, keep: Callable[[list[tuple[Any, ...]]], None]) -> int:
        """Climb over every event to the root of the head."""
        name, point = f"{self.folder}/events.jsonl", self.head.point
        told = self._shard["origin"], self._shard["size"], unbase64(self._shard["root"])
        if told != point:
            raise UnreadableError(f"{MANIFEST} says something else than the head of {self.folder}")
        shown_heads = [head for head, _ in self.heads]
        sizes = {head.point.size for head in (*shown_heads, *self.kept)} if self._is_all else set()
        rows: list[tuple[Any, ...]] = []
        with self._pack.open(f"{self.folder}/proof.bin") as hashes:
            climb = Climb(hashes)
            for number, line in self._pack.lines(name):
                where = f"line {number} of {name}"
                event, at = _event_of(line, where)
                self._check_order(event.leaf_number, climb.size, where)
                # No hash covers a position; the leaf's number, which is covered, bounds it.
                if at <= max(self._position, event.leaf_number):
                    raise UnreadableError(f"{where} is out of order: its position is {at}")
                climb.skip_to(event.leaf_number)
                climb.add(0, leaf_hash(event_entry(event)))
                if climb.size in sizes:
                    self.roots[climb.size] = climb.root()
                self._times.see(event, where)
                self._position, self.count = at, self.count + 1
                stored = event.topic, event.recorded_ms, event.state
                rows.append((event.stream, event.version, event.leaf_number, at, *stored))
                if len(rows) == 5_000:
                    keep(rows)
                    rows = []
            keep(rows)
            if self._is_all and climb.size != point.size:
                raise UnreadableError(f"{name} ends with leaf {climb.size - 1} of {point.size}")
            climb.skip_to(point.size)
            self.hashes = hashes.tell() // 32
            if hashes.read(1):
                raise NotProvedError("proof.bin has too many hashes")
        if climb.root() != point.root:
            # What the events say may name the one that was changed, so they are looked at further.
            self._report.problem(
                name,
                f"the events do not lead to the head of {point.size} events: one of them,"
                " or a hash in proof.bin, was changed",
            )
        self._check_manifest(name)
        return self.count

    def _check_manifest(self, name: str) -> None:
        """What the manifest says of the shard follows from its events, too."""
        if self.count != self._shard["events"]:
            raise UnreadableError(f"{MANIFEST} says that {name} has {self._shard['events']} events")
        last, least = self._shard["last_position"], max(self._position, self.head.point.size)
        if last != self._position if self._is_all else last < least:
            raise UnreadableError(f"{MANIFEST} says that its last position is {last}")

    def _check_order(self, leaf: int, before: int, where: str) -> None:
        if not before <= leaf < self.head.point.size:
            raise UnreadableError(
                f"{where} is out of order: it is leaf {leaf}, behind {before - 1}"
            )
        if self._is_all and leaf != before:
            raise UnreadableError(f"{where} is leaf {leaf}: leaf {before} is missing")

    def believe(self, keys: dict[str, Key]) -> None:
        """Refuse heads that are not to be believed, or that do not begin the pack's."""
        trust = Trust(keys, [*(head for head, _ in self.heads), *self.kept, *self._links])
        trust.check_head(self.head)
        for head, link in self.heads[1:]:
            name = f"the head of {head.point.size} events"
            size = head.point.size
            if head.point.origin != self.head.point.origin or size > self.head.point.size:
                raise NotProvedError(f"{name} is of another tree, or of a later one")
            if self._is_all and self.roots.get(size) != head.point.root:
                raise NotProvedError(f"the events do not lead to {name}")
            if link is not None:
                check_consistency(link.first, link.second, link.hashes)
            elif not self._is_all and head.point != self.head.point:
                raise NotProvedError(f"nothing shows that {name} begins the pack's")
            if self._is_all:
                trust.believe(head.point)
            trust.check_head(head)
        # In a pack of everything the newest event says it; else only the head does.
        if self._is_all or trust.says_when(self.head):
            self.recorded = f", recorded up to {self.head.recorded}"
        self._compare_kept(trust)

    def _compare_kept(self, trust: Trust) -> None:
        """Say of each head that was kept whether it is one of this log, and what shows it."""
        begin, continued = self._chained()
        for head in self.kept:
            name = f"the kept head of {head.point.size} events"
            try:
                if head.point in begin:
                    trust.believe(head.point)
                elif head.point not in continued:
                    self._refuse_kept(head.point, name)
                trust.check_head(head)
            except NotProvedError as error:
                self._report.problem(name, str(error))
                continue
            is_older = head.point in begin
            before, behind = (name, "the pack's log") if is_older else ("the pack's log", name)
            self._report.proved(f"{before} begins {behind}")

    def _chained(self) -> tuple[set[Point], set[Point]]:
        """Trees that begin the pack's, and those that it begins, by its events or by proofs."""
        pack = self.head.point
        begin, continued = {pack}, {pack}
        begin |= {Point(pack.origin, size, root) for size, root in self.roots.items()}
        proved = [link for link in self._links if _holds(link)]
        grown = True
        while grown:
            sizes = len(begin), len(continued)
            begin |= {link.first for link in proved if link.second in begin}
            continued |= {link.second for link in proved if link.first in continued}
            grown = sizes != (len(begin), len(continued))
        return begin, continued

    def _refuse_kept(self, point: Point, name: str) -> None:
        """Say why a kept head has nothing to do with the pack, or is not shown to."""
        pack = self.head.point
        roots = {head.point.size: head.point.root for head, _ in self.heads} | self.roots
        if point.size in roots:
            raise NotProvedError(f"the pack is of another log than {name}")
        if point.size > pack.size:
            raise NotProvedError(
                f"the pack is of an older state than {name}: it has {pack.size}; ask for a pack of"
                " now, or for the proof that its head begins this one"
            )
        raise NotProvedError(
            f"nothing shows that {name} begins the pack's log: ask for a proof of consistency"
            f" (`usage-ledger proof consistency`) to that of {pack.size}, and give it with --kept"
        )


def _event_of(line: Any, where: str) -> tuple[Event, int]:
    try:
        event = Event(
            None,  # type: ignore[arg-type]  # the head is the pack's
            number_of(line["leaf"]),
            text_of(line["stream"]),
            number_of(line["version"], 1),
            text_of(line["topic"]),
            number_of(line["recorded_ms"], RECORDED_MIN, RECORDED_MAX),
            base64.b64decode(line["state"], validate=True),
            [],
        )
        if len(line) != 7 or base64.b64encode(event.state).decode() != line["state"]:
            raise UnreadableError("it has other names, or is written otherwise")
        return event, number_of(line["position"], -NUMBER_MAX)
    except GARBAGE:
        raise UnreadableError(f"{where} is no event") from None
    except UnreadableError as error:
        raise UnreadableError(f"{where} is no event: {error}") from None


# Evidence packs: what the events say ----------------------------------------------------------

# A salt that begins so names the position of the request by which the fields were erased.
ERASED = bytes(8)

# The fields of each topic's version 1, in the order of the stored array. All of them: a topic that
# is not here was recorded by a newer ledger, and nothing is guessed of it.
_FIELDS = {
    topic: ("recorded_at author " + fields).split()
    for topic, fields in {
        "billing-cycle-closed": "payer cycle_number reason closed_at balance_cents write_off_cents",
        "billing-cycle-started": "payer cycle_number spending_limit strategy cycle_start"
        " next_billing anchor periods",
        "clock-confirmed": "instant",
        "cost-center-imported": "payer history cycle_number next_billing",
        "cost-center-opened": "payer spending_limit strategy cycle_start next_billing",
        "credit-note-issued": "payer credit_cents effective_time user commitment",
        "credit-note-voided": "payer entry_id credit_cents effective_time commitment",
        "dispute-opened": "payer dispute_id customer_id user_ids",
        "disputing-user-blocked": "payer dispute_id user_id",
        "entry-imported": "payer entry_id kind credit_cents effective_time user commitment",
        "free-credit-claimed": "payer",
        "hold-placed": "payer number payment_intent_id",
        "hold-released": "payer payment_intent_id cause",
        "hold-requested": "payer number customer_id currency",
        "hold-verified": "payer attempt payment_method_id tax_state",
        "instance-ended": "payer ended_time corrects commitment",
        "instance-imported": "payer workspace_id workspace_class workspace_type user creation_time"
        " started_time stopping_time stopped_time effective_time credit_cents price_revision rate"
        " commitment",
        "instance-started": "payer workspace_id workspace_class workspace_type user project_id"
        " creation_time started_time price_revision rate commitment",
        "instance-stopped": "payer stopped_time",
        "instance-stopping": "payer stopping_time corrects",
        "instance-voided": "payer corrects commitment",
        "invoice-corrected": "payer invoice_id cause credit_cents effective_time",
        "invoice-settled": "payer invoice_id customer_id subscription_id credit_cents"
        " effective_time period_start period_end",
        "member-imported": "payer user joined email_hmac",
        "price-list-published": "revision in_force_from credits_per_minute fallback",
        "reported-cycle-closed": "payer subscription_id period_start period_end invoice_id"
        " sent_credits invoiced_credits shortfall_credits",
        "spending-limit-set": "payer spending_limit",
        "stripe-customer-bound": "payer generation customer_id currency creation_time tax_state",
        "stripe-customer-gone": "payer customer_id",
        "stripe-customer-refused": "payer generation reason",
        "stripe-customer-requested": "payer generation currency creator commitment",
        "stripe-id-claimed": "payer",
        "stripe-tax-state-told": "payer customer_id tax_state",
        "subscription-activated": "payer attempt subscription_id",
        "subscription-cancel-requested": "payer subscription_id",
        "subscription-created": "payer attempt subscription_id price_id period_start period_end",
        "subscription-ended": "payer subscription_id ended_at unbilled_cents",
        "subscription-period-told": "payer subscription_id period_start period_end",
        "subscription-refused": "payer attempt step reason",
        "subscription-requested": "payer attempt customer_id payment_intent_id usage_limit"
        " price_id",
        "unsettled-usage-kept": "payer unsettled_cents",
        "user-erased": "user number personal_rows dead_letters",
        "user-erasure-requested": "user number commitment",
        "usage-reconciled": "instant from_time to_time ledger_interval_ms",
        "usage-report-rejected": "payer subscription_id seq outcome reason",
        "usage-report-requested": "payer subscription_id seq delta cumulative customer_id"
        " event_name identifier",
        "usage-report-resumed": "payer subscription_id seq",
        "usage-report-stamped": "payer subscription_id seq timestamp",
        "usage-reported": "payer subscription_id seq outcome",
    }.items()
}
_GREW = {"instance-stopping"}  # its last field came later, and has nothing in it then
_BYTES = {"payer": {16}, "user": {0, 16}, "entry_id": {16}, "commitment": {0, 32}}  # lengths
_TEXT_FIELDS = (
    "author cause creator currency customer_id dispute_id email_hmac event_name fallback identifier"
    " invoice_id kind outcome payment_intent_id payment_method_id price_id project_id rate reason"
    " step strategy subscription_id tax_state user_id workspace_class workspace_id workspace_type"
)
_TEXTS = set(_TEXT_FIELDS.split())
_IMPORTED_MAY_LACK = {"started_time", "stopping_time", "stopped_time", "credit_cents"}
_FACTS = ("clock-confirmed", "price-list-published", "usage-reconciled")
_BOUNDARIES = ("cost-center-opened", "billing-cycle-started", "cost-center-imported")
_ENTRY_NAMESPACE = bytes.fromhex("8f3c1c5ad0e9544a9c0e6f2c4f1f7b31")
_NEVER = 2**63


def decoded(topic: str, state: bytes) -> dict[str, Any]:
    """The fields of an event by name."""
    names = _FIELDS.get(topic)
    if names is None or not state or state[0] != 1:
        version = state[0] if state else 0
        raise UnreadableError(
            f"{topic!r} of version {version} is not known here: take the verifier of a newer"
            " usage-ledger"
        )
    values = unpacked(state)
    if len(values) == len(names) - 1 and topic in _GREW:
        values.append(None)
    if len(values) != len(names):
        raise UnreadableError(f"an event {topic!r} has {len(values)} fields")
    for name, kinds, value in zip(names, kinds_of(topic), values, strict=True):
        # Exactly of that kind: a truth value is no number.
        if type(value) not in kinds or not _fits(name, value):
            raise UnreadableError(f"an event {topic!r} says {name} {shown(value)}")
    return dict(zip(names, values, strict=True))


def kind_of(topic: str, name: str) -> tuple[type, ...]:
    """What a field may be; the rest are whole numbers: money, times, counts."""
    if name in _TEXTS:
        return (str,)
    if name in _BYTES:
        return (bytes,)
    if name in {"history", "user_ids"}:
        return (list,)
    if name == "credits_per_minute":
        return (dict,)
    may_lack = name in {"corrects", "in_force_from"} or (
        name == "creation_time" and topic != "stripe-customer-bound"
    )
    if topic == "instance-imported" and name in _IMPORTED_MAY_LACK:
        may_lack = True
    return (int, type(None)) if may_lack else (int,)


@functools.lru_cache(maxsize=256)
def kinds_of(topic: str) -> list[tuple[type, ...]]:
    return [kind_of(topic, name) for name in _FIELDS[topic]]


def _fits(name: str, value: Any) -> bool:
    if isinstance(value, int):
        return value <= NUMBER_MAX
    if isinstance(value, str) or value is None:
        return True
    if isinstance(value, bytes):
        return len(value) in _BYTES[name]
    if isinstance(value, dict):
        return all(isinstance(rate, str) for rate in value.values())
    return name != "history" or (bool(value) and all(_is_history(each) for each in value))


def _is_history(terms: Any) -> bool:
    """Spending limit, strategy, creation, start of the cycle, next billing or nothing."""
    if not isinstance(terms, list) or len(terms) != 5 or not isinstance(terms[1], str):
        return False
    numbers = [terms[0], *terms[2:4], *([] if terms[4] is None else terms[4:])]
    return all(type(each) is int and abs(each) <= NUMBER_MAX for each in numbers)


def entry_id_of(name: str) -> str:
    digest = bytearray(
        hashlib.sha1(_ENTRY_NAMESPACE + name.encode(), usedforsecurity=False).digest()[:16]
    )
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return uuid_text(bytes(digest))


def uuid_text(raw: bytes) -> str:
    return str(uuid.UUID(bytes=raw))


def team(payer: bytes) -> str:
    return f"team:{uuid_text(payer)}"


def time_text(ms: int | None) -> str | None:
    if ms is None:
        return None
    moment = EPOCH + dt.timedelta(milliseconds=ms)
    return f"{moment.isoformat(timespec='milliseconds')}Z"


_RATE = re.compile(r"(?:1/6|[0-9]{1,4}(?:\.[0-9]{1,10})?)\Z", re.ASCII)


@functools.lru_cache(maxsize=4096)
def cents_per_second(rate: str) -> tuple[int, int]:
    """A rate in credits a minute, as a fraction in lowest terms. No floats anywhere."""
    if not _RATE.match(rate):
        raise NotProvedError(f"{shown(rate)} is no rate")
    exact = Fraction(rate) * 100 / 60
    return exact.numerator, exact.denominator


def cost(rate: str, seconds: int) -> int:
    """Hundredths of a credit, rounded half away from zero."""
    numerator, denominator = cents_per_second(rate)
    return (2 * seconds * numerator + denominator) // (2 * denominator)


def runtime(start: int, end: int) -> int:
    """Whole seconds between two times in ms, half a second rounded up."""
    return (end - start + 500) // 1000 if end > start else 0


class Amount(NamedTuple):
    """An instance's entry, or what a running one counts for."""

    effective: int
    cents: int
    seconds: int


class Accrual(NamedTuple):
    """A reconcile: what was recorded of running instances before it counts to its instant."""

    instant: int
    position: int


class Life:
    """An instance from its first event to its void, if one came; what is behind begins anew."""

    def __init__(self) -> None:
        self.payer = b""
        self.workspace = ("", "", "")  # id, class, type
        self.user = b""
        self.creation: int | None = None
        self.started: int | None = None
        self.stopping: int | None = None
        self.stopped: int | None = None
        self.rate = ""
        self.begun = 0  # position of the start
        self.entry: Amount | None = None
        self.changes: list[tuple[int, Amount]] = []  # by position
        self.voided = _NEVER  # position

    def fold(self, topic: str, said: dict[str, Any], position: int) -> None:
        if self.payer and said["payer"] != self.payer:
            raise NotProvedError("two payers in one life of an instance")
        self.payer = said["payer"]
        if topic == "instance-started":
            self._begin(said, position)
            end = self.stopped if self.stopping is None else self.stopping
            if end is not None:
                self._date(end, position)
        elif topic == "instance-imported":
            self._import(said, position)
        elif topic == "instance-stopping":
            self._request_stop(said, position)
        elif topic == "instance-stopped":
            self.stopped = said["stopped_time"]
            if self.entry is None and self.begun:
                self._date(said["stopped_time"], position)
        elif topic == "instance-ended":
            end = said["ended_time"]
            if self.entry is not None and self.stopping is not None:
                self.stopping = end
            self.stopped = end
            self._date(end, position)
        else:
            self.voided = position

    def _begin(self, said: dict[str, Any], position: int) -> None:
        self.workspace = tuple(said[f"workspace_{part}"] for part in ("id", "class", "type"))
        self.user, self.creation = said["user"], said["creation_time"]
        self.started, self.rate, self.begun = said["started_time"], said["rate"], position

    def _import(self, said: dict[str, Any], position: int) -> None:
        self._begin(said, position)
        self.stopping, self.stopped = said["stopping_time"], said["stopped_time"]
        end = said["effective_time"]
        if said["credit_cents"] is not None:  # another ledger had priced it
            seconds = 0 if self.started is None else runtime(self.started, end)
            self._set(Amount(end, said["credit_cents"], seconds), position)

    def _request_stop(self, said: dict[str, Any], position: int) -> None:
        if self.entry is None:
            self.stopping = said["stopping_time"]
            if self.started is not None:
                self._date(said["stopping_time"], position)
        elif said["corrects"] is not None:
            self.stopping = said["stopping_time"]
            self._date(said["stopping_time"], position)

    def _date(self, end: int, position: int) -> None:
        if self.started is not None:
            seconds = runtime(self.started, end)
            self._set(Amount(end, cost(self.rate, seconds), seconds), position)
        elif self.entry is not None:  # imported without a start: its charge stays
            self._set(self.entry._replace(effective=end), position)

    def _set(self, amount: Amount, position: int) -> None:
        self.entry = amount
        self.changes.append((position, amount))

    def at(self, position: int, accrual: Accrual | None) -> Amount | None:
        """What it counted for when the log ended before a position."""
        if self.voided < position:
            return None
        if self.changes and self.changes[0][0] < position:
            return next(amount for at, amount in reversed(self.changes) if at < position)
        return self._running(accrual)

    def _running(self, accrual: Accrual | None) -> Amount | None:
        is_listed = accrual is not None and self.begun and self.begun < accrual.position
        # One that was imported with an end and without a price waits for what is still to come.
        if not is_listed or accrual is None or self.started is None:
            return None
        if self.entry is None and (self.stopping is not None or self.stopped is not None):
            return None
        seconds = runtime(self.started, accrual.instant)
        return Amount(accrual.instant, cost(self.rate, seconds), seconds)


class Other(NamedTuple):
    """A credit note or an invoice entry."""

    payer: bytes
    entry_id: str
    kind: str
    effective: int
    cents: int
    user: bytes
    position: int
    voided: int  # position of the event that did; beyond the log: none


class Told(NamedTuple):
    """An event of a stream, with its fields by name."""

    stream: str
    version: int
    topic: str
    said: dict[str, Any]
    position: int


def _others(told: Sequence[Told]) -> list[Other]:
    """The notes and invoice entries of a stream; a void takes its note away."""
    found: list[Other] = []
    for each in told:
        if each.topic != "credit-note-voided":
            other = other_of(*each)
            found += [] if other is None else [other]
        elif len(found) != 1 or found[0].entry_id != uuid_text(each.said["entry_id"]):
            raise NotProvedError(f"{each.stream} version {each.version} voids what is not there")
        elif found[0].kind != "credit_note":
            raise NotProvedError(f"{each.stream} version {each.version} voids no credit note")
        elif found[0].cents != each.said["credit_cents"] or found[0].voided != _NEVER:
            raise NotProvedError(f"{each.stream} version {each.version} voids another amount")
        else:
            found[0] = found[0]._replace(voided=each.position)
    return found


def other_of(stream: str, version: int, topic: str, said: dict[str, Any], at: int) -> Other | None:
    """The entry that an event is; None when it is none."""
    name, kind, cents, user = stream, "invoice", said.get("credit_cents"), b""
    effective = said.get("effective_time")
    if topic == "credit-note-issued":
        kind, user = "credit_note", said["user"]
    elif topic == "entry-imported":
        entry_id = uuid_text(said["entry_id"])
        return Other(said["payer"], entry_id, said["kind"], effective, cents, said["user"], at,
                     _NEVER)  # fmt: skip
    elif topic == "billing-cycle-closed":
        cents, effective = said["write_off_cents"], said["closed_at"]
    elif topic == "invoice-corrected":
        name = f"{stream}:{version}"
    elif topic != "invoice-settled":
        return None
    if not cents and kind == "invoice":
        return None
    return Other(said["payer"], entry_id_of(name), kind, effective, cents, user, at, _NEVER)


class Cycle(NamedTuple):
    """A boundary between two cycles of a payer, and what begins there."""

    number: int
    start: int | None
    position: int
    accrual: Accrual | None


class Account:
    """What a payer owes, at each point of its log that says so, and its open cycle."""

    def __init__(self) -> None:
        self.cycles = [Cycle(0, None, 0, None)]
        self.closes: list[tuple[int, int, Accrual | None]] = []  # position, balance told, accrual
        self.closed: set[int] = set()  # numbers of the cycles
        self.at_close: list[int] = []  # what was counted then
        self.after: list[int] = []  # what counts then and ever since, to be summed up
        self.carried = self.balance = self.period = self.later = self.before = self.entries = 0
        self.lines: dict[tuple[str, int], list[int]] = {}  # -1: its own period
        self.notes = [0, 0]
        self.invoices = [0, 0]
        self.voided_notes: dict[int, list[int]] = {}
        self.terms: dict[str, Any] | None = None

    def begin(self) -> None:
        self.at_close = [0] * len(self.closes)
        self.after = [0] * len(self.closes)

    def late_for(self, dated: int) -> int:
        """The closed cycle that a date lies in; -1 for the open one, 0 before all of them."""
        start = self.cycles[-1].start
        if start is None or dated >= start:
            return -1
        closed = sorted(self.cycles[:-1], key=lambda cycle: -cycle.number)
        return next((c.number for c in closed if c.start is not None and c.start <= dated), 0)

    def add_life(self, life: Life, now: Amount | None) -> None:
        for number, (position, _, accrual) in enumerate(self.closes):
            amount = life.at(position, accrual)
            is_last = life.changes and life.changes[-1][0] < position and life.voided == _NEVER
            if is_last and amount is not None:
                self.after[number] += amount.cents
                break
            self.at_close[number] += 0 if amount is None else amount.cents
        cycle = self.cycles[-1]
        base = life.at(cycle.position, cycle.accrual) if cycle.position else None
        self.carried += 0 if base is None else base.cents
        workspace_class = life.workspace[1]
        if life.voided != _NEVER:
            if base is not None:
                taken_back = (1, -base.seconds, -base.cents)
                self._line(workspace_class, self.late_for(base.effective), taken_back)
        elif now is not None:
            is_own = not life.changes or life.changes[0][0] > cycle.position
            before = base or Amount(0, 0, 0)
            if is_own or now[1:] != before[1:]:
                late = self.late_for(now.effective) if life.entry is not None else -1
                grown = (1, now.seconds - before.seconds, now.cents - before.cents)
                self._line(workspace_class, late, grown)

    def _line(self, workspace_class: str, late_for: int, amounts: Sequence[int]) -> None:
        line = self.lines.setdefault((workspace_class, late_for), [0, 0, 0])
        for at, amount in enumerate(amounts):
            line[at] += amount

    def add_other(self, other: Other) -> None:
        for number, (position, _, _) in enumerate(self.closes):
            if other.position < position < other.voided:
                self.at_close[number] += other.cents
        begun = self.cycles[-1].position
        is_old, is_void = other.position < begun, other.voided != _NEVER
        if is_old and other.voided > begun:
            self.carried += other.cents
        if is_old and is_void and other.voided > begun:
            self.notes[0] += 1
            self.notes[1] -= other.cents
            late = self.voided_notes.setdefault(self.late_for(other.effective), [0, 0])
            late[0] += 1
            late[1] -= other.cents
        elif not is_old and not is_void:
            part = self.notes if other.kind == "credit_note" else self.invoices
            part[0] += 1
            part[1] += other.cents

    def check_closes(self) -> Iterator[str]:
        """What a close says of the balance is what is counted here, or something was left out."""
        running = 0
        for number, (position, told, _) in enumerate(self.closes):
            running += self.after[number]
            counted = self.at_close[number] + running
            if counted != told:
                yield (
                    f"the cycle that was closed at position {position} had a balance of {told}"
                    f" cents, but its events lead to {counted}"
                )
        numbers = [cycle.number for cycle in self.cycles[1:]]
        if any(after != before + 1 for before, after in itertools.pairwise(numbers)):
            yield f"cycles are missing: there are {numbers}"
        for number in numbers[1:]:
            if number - 1 not in self.closed:
                yield f"cycle {number - 1} was closed, and what it said of the balance is missing"

    def told(self, shard: int, payer: bytes) -> dict[str, Any]:
        """As a line of payers.jsonl."""
        cycle = self.cycles[-1]
        lines = [
            {
                "workspace_class": name,
                "late_for": None if late < 0 else late,
                "instances": count,
                "seconds": seconds,
                "credit_cents": cents,
            }
            for (name, late), (count, seconds, cents) in sorted(self.lines.items())
        ]
        total = self.carried + sum(line["credit_cents"] for line in lines)
        total += self.notes[1] + self.invoices[1]
        draft = {
            "cycle": cycle.number,
            "cycle_start": time_text(cycle.start),
            "carried_cents": self.carried,
            "lines": lines,
            "credit_notes": self.notes[0],
            "credit_note_cents": self.notes[1],
            "voided_credit_notes": [
                {"late_for": None if late < 0 else late, "notes": count, "credit_cents": cents}
                for late, (count, cents) in sorted(self.voided_notes.items())
            ],
            "invoices": self.invoices[0],
            "invoice_cents": self.invoices[1],
            "total_cents": total,
            "billable_credits": -(-max(0, total - self.invoices[1]) // 100),
        }
        return {
            "shard": shard,
            "attribution_id": team(payer),
            "carried_cents": self.before,
            "period_entries": self.entries,
            "period_cents": self.period,
            "later_cents": self.later,
            "balance_cents": self.balance,
            "cost_center": self.terms,
            "draft": draft,
        }


_LIVES = {f"instance-{did}" for did in ("ended", "imported", "started", "stopped", "stopping")}
_LIVES.add("instance-voided")
_LIES_IN = {
    "credit-note-issued": ("credit-note:",),
    "credit-note-voided": ("credit-note:", "imported-entry:"),
    "entry-imported": ("imported-entry:",),
    "invoice-corrected": ("invoice:",),
    "invoice-settled": ("invoice:",),
}
_FACT_STREAMS = {
    "clock-confirmed": "clock",
    "price-list-published": "price-list",
    "usage-reconciled": "usage-reconciled",
}


def _belongs(stream: str, version: int, topic: str, said: dict[str, Any]) -> bool:
    """Whether an event lies in the stream of what it is about: only so is a gap a gap."""
    if topic.startswith("instance-") or stream.startswith("instance:"):
        return topic in _LIVES and stream.startswith("instance:")
    if topic == "billing-cycle-closed":
        cycle = f"cycle:{team(said['payer'])}:{said['cycle_number']}"
        return (stream, version) == (cycle, 1)
    if topic in _BOUNDARIES or topic == "spending-limit-set":
        return stream == f"cost-center:{team(said['payer'])}"
    if topic in _FACT_STREAMS:
        return stream == _FACT_STREAMS[topic]
    return stream.startswith(_LIES_IN.get(topic, ("",)))


class Fold:
    """Folds the events of a shard to entries, balances and open cycles, stream by stream.

    Events and entries lie in a temporary database, so that a pack of any size takes the same
    memory.
    """

    def __init__(self, manifest: dict[str, Any], shard: int, report: Report, folder: str) -> None:
        self._payer = manifest["payer"]
        self._period = manifest["period_from"], manifest["period_to"]
        self.shard = shard
        self._report = report
        self.accounts: dict[bytes, Account] = {}
        self.reconciles: list[Accrual] = []
        self.prices: list[tuple[int, dict[str, Any]]] = []
        self.commitments = 0
        self._has_any = False
        self._rows = sqlite3.connect(Path(folder) / f"shard-{shard}.db", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = off",
            "PRAGMA synchronous = off",
            "CREATE TABLE events (stream, version, leaf, position, topic, recorded, state)",
            "CREATE TABLE entries (payer, effective, id, row)",
            "CREATE TABLE commitments (position INTEGER PRIMARY KEY, commitment)",
            "BEGIN",
        ):
            self._rows.execute(statement)

    def close(self) -> None:
        self._rows.close()

    def keep(self, rows: list[tuple[Any, ...]]) -> None:
        """Take events in the order of the log."""
        self._rows.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        for _, _, _, position, topic, _, state in rows:
            if topic in _FACTS or topic in _BOUNDARIES or topic in _TERMS:
                self._fact(topic, decoded(topic, state), position)

    def _fact(self, topic: str, said: dict[str, Any], position: int) -> None:
        if topic == "usage-reconciled":
            self.reconciles.append(Accrual(said["instant"], position))
        elif topic == "price-list-published":
            self.prices.append((position, said))
        elif topic != "clock-confirmed":
            account = self._account(said["payer"])
            accrual = self.reconciles[-1] if self.reconciles else None
            if topic == "billing-cycle-closed":
                account.closes.append((position, said["balance_cents"], accrual))
                account.closed.add(said["cycle_number"])
                return
            _keep_terms(account, topic, said)
            if topic in _BOUNDARIES:
                number = said.get("cycle_number", 1)
                start = said["history"][-1][3] if "history" in said else said["cycle_start"]
                account.cycles.append(Cycle(number, start, position, accrual))

    def _account(self, payer: bytes) -> Account:
        return self.accounts.setdefault(payer, Account())

    def fold(self) -> None:
        """Fold every stream, each with all its events in their order."""
        for account in self.accounts.values():
            account.begin()
        self._rows.execute("CREATE INDEX by_stream ON events (stream, version)")
        found = self._rows.execute("SELECT * FROM events ORDER BY stream, version")
        for stream, events in itertools.groupby(found, key=operator.itemgetter(0)):
            self._stream(stream, list(events))
        self._rows.execute("CREATE INDEX by_payer ON entries (payer, effective, id)")
        for payer, account in sorted(self.accounts.items()):
            if self.is_wanted(payer):
                for problem in account.check_closes():
                    self._report.problem(team(payer), problem)

    def has_any(self) -> bool:
        """Say whether an event of whom the pack is of was seen."""
        return self._has_any

    def is_wanted(self, payer: bytes) -> bool:
        return self._payer is None or team(payer) == self._payer

    def _stream(self, stream: str, events: list[tuple[Any, ...]]) -> None:
        payers = set()
        told: list[Told] = []
        for number, (_, version, _, *stored) in enumerate(events, start=1):
            position, topic, recorded, state = stored
            said = decoded(topic, state)
            if version != number:
                raise NotProvedError(f"{stream} version {number} is missing, or there twice")
            if said["recorded_at"] != recorded:
                raise NotProvedError(f"{stream} version {version} says another time than its leaf")
            if not _belongs(stream, version, topic, said):
                raise NotProvedError(f"{stream} version {version}: {topic!r} lies elsewhere")
            payer = said.get("payer")
            payers.add(payer)
            self._has_any |= payer is not None and self.is_wanted(payer)
            self._commitment(said, position)
            told.append(Told(stream, version, topic, said, position))
        if not any(payer is None or self.is_wanted(payer) for payer in payers):
            raise NotProvedError(f"{stream} is of another payer")
        if stream.startswith("instance:"):
            self._instance(stream, told)
        else:
            for other in _others(told):
                self._other(other)

    def _instance(self, stream: str, told: list[Told]) -> None:
        lives = [Life()]
        for each in told:
            if each.topic in {"instance-started", "instance-imported"}:
                self._check_price(each)
            lives[-1].fold(each.topic, each.said, each.position)
            if each.topic == "instance-voided":
                lives.append(Life())
        for life in lives:
            if life.payer:
                self._life(stream, life)

    def _commitment(self, said: dict[str, Any], position: int) -> None:
        if said.get("commitment"):
            self.commitments += 1
            self._rows.execute(
                "INSERT INTO commitments VALUES (?, ?)", (position, said["commitment"])
            )

    def _check_price(self, start: Told) -> None:
        """The rate of a start is that of the list in force then, of those recorded before."""
        said, where = start.said, f"{start.stream} version {start.version}"
        priced_at = said["started_time"]
        if priced_at is None:  # imported without one
            priced_at = said["effective_time"]
        for recorded, prices in reversed(self.prices):
            since = prices["in_force_from"]
            if recorded < start.position and (since is None or since <= priced_at):
                rates, name = prices["credits_per_minute"], said["workspace_class"]
                rate = rates.get(name, prices["fallback"])
                if (said["price_revision"], said["rate"]) != (prices["revision"], rate):
                    raise NotProvedError(
                        f"{where} was charged {said['rate']} credits a minute, but price list"
                        f" {prices['revision']} says {rate}"
                    )
                return
        raise NotProvedError(f"{where} was charged by a price list that is not there")

    def _life(self, stream: str, life: Life) -> None:
        account = self._account(life.payer)
        now = life.at(_NEVER, self.reconciles[-1] if self.reconciles else None)
        account.add_life(life, now)
        if now is None or not self.is_wanted(life.payer):
            return
        instance = stream.partition(":")[2]
        workspace_id, workspace_class, workspace_type = life.workspace
        self._entry(
            account,
            life.payer,
            now.effective,
            {
                "shard": self.shard,
                "attribution_id": team(life.payer),
                "entry_id": entry_id_of(instance),
                "kind": "workspace_instance",
                "effective_time": time_text(now.effective),
                "credit_cents": now.cents,
                "seconds": now.seconds,
                "draft": life.stopped is None,
                "workspace_instance_id": instance,
                "workspace_id": workspace_id,
                "workspace_class": workspace_class,
                "workspace_type": workspace_type,
                "user_id": uuid_text(life.user) if life.user else None,
                "creation_time": time_text(life.creation),
                "started_time": time_text(life.started),
                "stopping_time": time_text(life.stopping),
                "stopped_time": time_text(life.stopped),
                "rate": life.rate,
                "position": life.begun,
            },
        )

    def _other(self, other: Other) -> None:
        account = self._account(other.payer)
        account.add_other(other)
        if other.voided != _NEVER or not self.is_wanted(other.payer):
            return
        row = dict.fromkeys(ENTRY_COLUMNS)
        row |= {
            "shard": self.shard,
            "attribution_id": team(other.payer),
            "entry_id": other.entry_id,
            "kind": other.kind,
            "effective_time": time_text(other.effective),
            "credit_cents": other.cents,
            "draft": False,
            "user_id": uuid_text(other.user) if other.user else None,
            "position": other.position,
        }
        self._entry(account, other.payer, other.effective, row)

    def _entry(self, account: Account, payer: bytes, effective: int, row: dict[str, Any]) -> None:
        cents, dated = row["credit_cents"], row["effective_time"]
        begin, end = self._period
        account.balance += cents
        if begin is not None and dated < begin:
            account.before += cents
        elif end is not None and dated >= end:
            account.later += cents
        else:
            account.period += cents
            account.entries += 1
            self._rows.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?)",
                (payer, effective, row["entry_id"], json.dumps(row)),
            )

    def entries(self) -> Iterator[dict[str, Any]]:
        """The entries of the period, in the order of the pack's files."""
        for (row,) in self._rows.execute("SELECT row FROM entries ORDER BY payer, effective, id"):
            yield json.loads(row)

    def event_rows(self) -> Iterator[dict[str, Any]]:
        """The events in the order of the log, as their table has them."""
        found = self._rows.execute("SELECT * FROM events ORDER BY leaf")
        for stream, version, leaf, position, topic, recorded, state in found:
            said = decoded(topic, state)
            payer = said.get("payer")
            fields = {
                name: value.hex() if isinstance(value, bytes) else value
                for name, value in said.items()
                if name not in {"recorded_at", "author"}
            }
            yield {
                "shard": self.shard,
                "leaf_number": leaf,
                "position": position,
                "stream": stream,
                "version": version,
                "topic": topic,
                "recorded_at": time_text(recorded),
                "author": said["author"],
                "attribution_id": None if payer is None else team(payer),
                "state": base64.b64encode(state).decode(),
                "fields": fields,
            }

    def erasures(self) -> set[int]:
        """Give the positions of requests to erase personal data."""
        rows = self._rows.execute(
            "SELECT position FROM events WHERE topic = 'user-erasure-requested'"
        )
        return {row[0] for row in rows}

    def commitment(self, position: int) -> bytes | None:
        row = self._rows.execute(
            "SELECT commitment FROM commitments WHERE position = ?", (position,)
        ).fetchone()
        return row[0] if row else None


_TERMS = ("billing-cycle-closed", "spending-limit-set")
EVENT_COLUMNS = (
    *("shard", "leaf_number", "position", "stream", "version", "topic", "recorded_at", "author"),
    *("attribution_id", "state", "fields"),
)
PRICE_COLUMNS = (
    *("revision", "in_force_from", "workspace_class", "credits_per_minute", "recorded_at"),
    "position",
)
_KINDS = {
    **dict.fromkeys(("shard", "leaf_number", "position", "version"), "number"),
    **dict.fromkeys(("credit_cents", "seconds", "revision"), "number"),
    **dict.fromkeys(("effective_time", "creation_time", "started_time", "stopping_time"), "time"),
    **dict.fromkeys(("stopped_time", "in_force_from", "recorded_at"), "time"),
    "draft": "truth",
    "state": "bytes",
}
# As Arrow names it, and as it lies in the file.
PARQUET_KINDS = {
    "number": ("int64", "INT64", "NONE"),
    "time": ("timestamp[ms, tz=UTC]", "INT64", "TIMESTAMP"),
    "truth": ("bool", "BOOLEAN", "NONE"),
    "bytes": ("binary", "BYTE_ARRAY", "NONE"),
    "text": ("string", "BYTE_ARRAY", "STRING"),
}
ENTRY_COLUMNS = (
    *("shard", "attribution_id", "entry_id", "kind", "effective_time", "credit_cents", "seconds"),
    *("draft", "workspace_instance_id", "workspace_id", "workspace_class", "workspace_type"),
    *("user_id", "creation_time", "started_time", "stopping_time", "stopped_time", "rate"),
    "position",
)


def _keep_terms(account: Account, topic: str, said: dict[str, Any]) -> None:
    """What a cost center says now."""
    if topic == "spending-limit-set":
        if account.terms is not None:
            account.terms["spending_limit"] = said["spending_limit"]
        return
    terms = dict(said)
    if topic == "cost-center-imported":
        limit, strategy, _, start, _ = said["history"][-1]
        terms |= {"spending_limit": limit, "strategy": strategy, "cycle_start": start}
    account.terms = {
        "spending_limit": terms["spending_limit"],
        "billing_strategy": terms["strategy"],
        "billing_cycle_start": time_text(terms["cycle_start"]),
        "next_billing_time": time_text(terms["next_billing"]),
    }


# Evidence packs: what is told beside the events ----------------------------------------------


def compare_rows(name: str, told: Iterable[Any], computed: Iterable[Any], report: Report) -> None:
    """Compare the rows of a file with what the events lead to; say the first that differs."""
    nothing = object()
    pairs = itertools.zip_longest(told, computed, fillvalue=nothing)
    for number, (one, other) in enumerate(pairs, start=1):
        if one is nothing:
            report.problem(name, f"row {number} is missing: {shown(other)}")
        elif other is nothing:
            report.problem(name, f"row {number} does not follow from the events: {shown(one)}")
        elif not alike(one, other):
            report.problem(name, f"row {number}: {differences(one, other)}")
        else:
            continue
        break


def alike(one: Any, other: Any) -> bool:
    """Equal, and of one kind: for this language a truth value is a number, too."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


def differences(told: Any, computed: dict[str, Any]) -> str:
    """What a row says otherwise than the events."""
    if not isinstance(told, dict) or told.keys() != computed.keys():
        return f"it is {shown(told)}, but the events lead to {shown(computed)}"
    return ", ".join(
        f"{name} is {shown(told[name])}, but the events lead to {shown(value)}"
        for name, value in computed.items()
        if not alike(told[name], value)
    )


def compare_table(
    pack: Pack,
    name: str,
    columns: Sequence[str],
    computed: Callable[[], Iterable[dict[str, Any]]],
    report: Report,
) -> None:
    """Compare a CSV file byte by byte, and say by its cells what differs.

    The same cells can be written so that another program reads others.
    """
    with pack.open(name) as file:
        lines = csv_lines(columns, computed())
        if all(file.read(len(line)) == line for line in lines) and not file.read(1):
            return
    before = report.problems
    try:
        compare_rows(name, csv_rows(pack, name, columns), map(csv_of, computed()), report)
    except (csv.Error, UnicodeDecodeError):
        raise UnreadableError(f"{name} is no table") from None
    if report.problems == before:
        report.problem(
            name,
            "it is written otherwise than usage-ledger writes it: other programs may read other"
            " cells",
        )


_QUOTED = re.compile('[,"\r\n]')


def csv_lines(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    for cells in itertools.chain([columns], (csv_of(row).values() for row in rows)):
        yield (",".join(map(csv_cell, cells)) + "\n").encode()


def csv_cell(text: str) -> str:
    # Not by Python's own writer: whether that quotes a lone carriage return depends on its version.
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def csv_rows(pack: Pack, name: str, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    with pack.open(name) as raw, io.TextIOWrapper(raw, "utf-8", newline="") as file:
        rows = csv.reader(file)
        if next(rows, None) != list(columns):
            raise UnreadableError(f"{name} has other columns")
        for number, row in enumerate(rows, start=1):
            if len(row) != len(columns):
                raise UnreadableError(f"row {number} of {name} has {len(row)} cells")
            yield dict(zip(columns, row, strict=True))


def csv_of(row: dict[str, Any]) -> dict[str, str]:
    said = {None: "", True: "true", False: "false"}
    return {
        name: said[value] if value is None or isinstance(value, bool) else str(value)
        for name, value in row.items()
    }


def price_rows(prices: Sequence[tuple[int, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    for position, said in prices:
        rates = [*sorted(said["credits_per_minute"].items()), (None, said["fallback"])]
        for name, rate in rates:
            yield {
                "revision": said["revision"],
                "in_force_from": time_text(said["in_force_from"]),
                "workspace_class": name,
                "credits_per_minute": rate,
                "recorded_at": time_text(said["recorded_at"]),
                "position": position,
            }


def check_told(pack: Pack, manifest: dict[str, Any], folds: Sequence[Fold], report: Report) -> None:
    """Compare entries, prices, payers and totals with what the events lead to."""
    before = report.problems

    def entries() -> Iterator[dict[str, Any]]:
        for fold in folds:
            yield from fold.entries()

    def prices() -> Iterator[dict[str, Any]]:
        return price_rows(folds[0].prices if folds else ())

    told = (row for _, row in pack.lines("entries.jsonl"))
    compare_rows("entries.jsonl", told, entries(), report)
    compare_table(pack, "entries.csv", ENTRY_COLUMNS, entries, report)
    told = (row for _, row in pack.lines("prices.jsonl"))
    compare_rows("prices.jsonl", told, prices(), report)
    compare_table(pack, "prices.csv", PRICE_COLUMNS, prices, report)
    _check_prices(folds, report)
    totals = _check_payers(pack, manifest, folds, report)
    if not alike(totals, manifest["totals"]):
        report.problem(
            MANIFEST, f"its totals are {shown(manifest['totals'])}, but the events lead to {totals}"
        )
    _check_parquet(pack, folds, report)
    rows = {"entries": totals["entries"], "prices": sum(1 for _ in prices())}
    counts = {f"{name}.{kind}": rows[name] for name in rows for kind in ("csv", "parquet")}
    _check_counts(manifest, counts, report)
    if report.problems == before:
        carried, period, later, balance = (
            f"{totals[name] / 100:.2f}"
            for name in ("carried_cents", "period_cents", "later_cents", "balance_cents")
        )
        whose = manifest["payer"] or f"{totals['payers']} payers"
        begin, end = manifest["period_from"] or "the beginning", manifest["period_to"] or "the end"
        report.proved(
            f"{totals['entries']} entries of {whose}, from {begin} to {end}, follow from the"
            f" events:\n    carried {carried} + period {period} + later {later} = balance {balance}"
            " credits"
        )


def _check_prices(folds: Sequence[Fold], report: Report) -> None:
    """Every shard has the same price lists, and the tables show those of the first."""
    lists: dict[int, tuple[Any, ...]] = {}
    for fold in folds:
        for _, said in fold.prices:
            told = said["in_force_from"], said["credits_per_minute"], said["fallback"]
            if lists.setdefault(said["revision"], told) != told:
                report.problem(
                    f"shard-{fold.shard}/events.jsonl",
                    f"price list {said['revision']} is another one than in an earlier shard",
                )


def _check_counts(manifest: dict[str, Any], counts: dict[str, int], report: Report) -> None:
    for file in manifest["files"]:
        count = counts.get(file["name"])
        if count is not None and file["rows"] != count:
            report.problem(
                MANIFEST, f"it says that {file['name']} has {file['rows']} rows; it has {count}"
            )


def _check_payers(
    pack: Pack, manifest: dict[str, Any], folds: Sequence[Fold], report: Report
) -> dict[str, int]:
    names = ("carried_cents", "period_cents", "later_cents", "balance_cents")
    totals = {"payers": 0, "entries": 0, **dict.fromkeys(names, 0)}
    accounts = {
        (fold.shard, team(payer)): (payer, account)
        for fold in folds
        for payer, account in fold.accounts.items()
        if fold.is_wanted(payer)
    }
    last = (-1, "")
    for number, line in pack.lines("payers.jsonl"):
        where = f"line {number} of payers.jsonl"
        try:
            key = number_of(line["shard"]), text_of(line["attribution_id"])
        except GARBAGE:
            raise UnreadableError(f"{where} is of nobody") from None
        if not key > last:
            raise UnreadableError(f"{where} is out of order")
        last = key
        if manifest["payer"] not in {None, key[1]} or key[0] not in {f.shard for f in folds}:
            raise UnreadableError(
                f"payers.jsonl: line {number} is of {shown(key[1])[1:-1]}, which the pack is not of"
            )
        payer, account = accounts.pop(key, None) or (_payer_bytes(key[1]), Account())
        computed = account.told(key[0], payer)
        if not alike(line, computed):
            report.problem("payers.jsonl", f"row {number}: {differences(line, computed)}")
        totals["payers"] += 1
        totals["entries"] += computed["period_entries"]
        for name in names:
            totals[name] += computed[name]
    for (_, name), (_, account) in accounts.items():
        if account.balance or account.entries or len(account.cycles) > 1:
            report.problem("payers.jsonl", f"{name} is missing")
    return totals


def _payer_bytes(name: str) -> bytes:
    try:
        return uuid.UUID(name.removeprefix("team:")).bytes
    except ValueError:
        raise UnreadableError(f"payers.jsonl names a payer {shown(name)}") from None


def _check_parquet(pack: Pack, folds: Sequence[Fold], report: Report) -> None:
    """Compare the rows of Parquet files, where a reader of Parquet is there."""
    try:
        import pyarrow  # noqa: ICN001, PLC0415  # where it is there
        from pyarrow import parquet  # noqa: PLC0415  # as above
    except ImportError:
        report.note(
            "Parquet files are those that the manifest names; their rows are compared where"
            " pyarrow is installed"
        )
        return

    def rows(name: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        with pack.open(name) as file:
            opened = parquet.ParquetFile(file)
            _check_columns(opened, columns)
            _check_layout(opened.metadata, pack.size(name))
            yield from _parquet_rows(opened, columns)

    tables = {
        f"shard-{fold.shard}/events.parquet": (EVENT_COLUMNS, fold.event_rows()) for fold in folds
    }
    tables["entries.parquet"] = ENTRY_COLUMNS, (row for fold in folds for row in fold.entries())
    tables["prices.parquet"] = PRICE_COLUMNS, price_rows(folds[0].prices if folds else ())
    for name, (columns, computed) in tables.items():
        try:
            compare_rows(name, rows(name, columns), computed, report)
        except UnreadableError as error:
            report.problem(name, str(error))
        except (pyarrow.ArrowException, OSError, *GARBAGE) as error:
            report.problem(name, f"it cannot be read as Parquet: {error}")


def _parquet_rows(opened: Any, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for number in range(opened.metadata.num_row_groups):
        seen = [Extent() for _ in columns]
        for batch in opened.iter_batches(1_000, row_groups=[number]):
            values = [column.to_pylist() for column in batch.columns]
            for extent, some in zip(seen, values, strict=True):
                extent.add(some)
            for cells in zip(*values, strict=True):
                plain = {name: _plain_of(cell) for name, cell in zip(columns, cells, strict=True)}
                if "fields" in plain:
                    plain["fields"] = parsed(plain["fields"], "a row's fields")
                yield plain
        group = opened.metadata.row_group(number)
        for at, extent in enumerate(seen):
            extent.check(columns[at], group.column(at).statistics)


class Extent:
    """What is in a part of a column, to be compared with what the file says of that part.

    Readers pass over a part in which they are told that nothing is that they look for.
    """

    def __init__(self) -> None:
        self.count = self.missing = 0
        self.least: Any = None
        self.most: Any = None

    def add(self, values: list[Any]) -> None:
        there = [value for value in values if value is not None]
        self.count += len(there)
        self.missing += len(values) - len(there)
        if there:
            self.least = min(there if self.least is None else [self.least, *there])
            self.most = max(there if self.most is None else [self.most, *there])

    def check(self, name: str, said: Any) -> None:
        if said is None:
            return
        told = "it says of its column " + name
        if said.has_min_max and (said.min, said.max) != (self.least, self.most):
            raise UnreadableError(
                f"{told} that it goes from {shown(said.min)} to {shown(said.max)}, but it goes from"
                f" {shown(self.least)} to {shown(self.most)}"
            )
        if (
            (said.has_null_count and said.null_count != self.missing)
            or said.num_values != self.count
            or said.has_distinct_count
        ):
            raise UnreadableError(f"{told} how many values it has, and it has others")


def _check_layout(metadata: Any, size: int) -> None:
    """Refuse what lies beside the columns: an index, or filters by which values are looked for."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    parts = [group.column(at) for group in groups for at in range(metadata.num_columns)]
    # Four bytes before the columns, and behind them what describes them, its length, and four.
    used = sum(part.total_compressed_size for part in parts) + metadata.serialized_size + 12
    if used != size or any(part.has_offset_index or part.has_column_index for part in parts):
        raise UnreadableError("there is more in it than its columns")


def _check_columns(opened: Any, columns: Sequence[str]) -> None:
    """Refuse other columns, and other kinds: by both, programs would read something else."""
    told = [(field.name, str(field.type)) for field in opened.schema_arrow]
    # What lies there, whatever the description that is kept for Arrow says of it.
    stored = [
        (column.path, column.physical_type, column.logical_type.type, column.max_repetition_level)
        for column in map(opened.schema.column, range(len(opened.schema)))
    ]
    wanted = [PARQUET_KINDS[_KINDS.get(column, "text")] for column in columns]
    if told != [(column, kind[0]) for column, kind in zip(columns, wanted, strict=True)] or (
        stored != [(column, *kind[1:], 0) for column, kind in zip(columns, wanted, strict=True)]
    ):
        raise UnreadableError(f"its columns are {shown(told)}, as in no pack")


def _plain_of(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return f"{value.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def check_personal(pack: Pack, fold: Fold, report: Report) -> None:
    """Compare personal fields with what their events commit to.

    Those that are erased name the request in the place of their salt.
    """
    name, count, erased, last = f"shard-{fold.shard}/personal.jsonl", 0, 0, 0
    erasures = fold.erasures()
    for number, line in pack.lines(name):
        where = f"line {number} of {name}"
        position, salt, fields = _personal_of(line, where)
        if position <= last:
            raise UnreadableError(f"{where} is out of order")
        last = position
        committed = fold.commitment(position)
        if salt.startswith(ERASED) and committed is not None and not any(fields):
            request = int.from_bytes(salt[len(ERASED) :], "big")
            if request not in erasures or request < position:
                report.problem(name, f"line {number} is erased, and no event asked for that")
                return
            erased += 1
        elif hashlib.sha256(salt + fields).digest() != committed:
            report.problem(name, f"line {number} is not what its event commits to")
            return
        else:
            count += 1
    gone = f", and {erased} that were erased by a recorded request" if erased else ""
    report.proved(f"{name}: {count} rows, each as its event commits to{gone}")
    missing = fold.commitments - count - erased
    if missing:
        report.note(f"{name}: of {missing} more, which events commit to, nothing is there")


def _personal_of(line: Any, where: str) -> tuple[int, bytes, bytes]:
    try:
        if set(line) != {"position", "salt", "fields"}:
            raise UnreadableError(f"{where} has other names")
        return number_of(line["position"]), *(
            unbase64(line[name], None) for name in ("salt", "fields")
        )
    except GARBAGE:
        raise UnreadableError(f"{where} has no personal fields") from None


def verify_pack(path: Path, keys: dict[str, Key], kept: Kept) -> int:
    """Verify a pack; the exit code."""
    report = Report()
    with contextlib.closing(Pack(path)) as pack:
        manifest, raw = read_pack_manifest(pack)
        try:
            check_files(pack, manifest, raw, report)
            with tempfile.TemporaryDirectory(prefix="usage-ledger-verify-") as folder:
                folds: list[Fold] = []
                try:
                    _verify_shards(pack, manifest, keys, kept, report, folder, folds)
                finally:
                    for fold in folds:
                        fold.close()
        except (NotProvedError, UnreadableError) as error:
            report.problem(str(path), str(error))
        except GARBAGE:
            report.problem(str(path), "what is in it does not fit together")
    if report.problems > PROBLEMS_SHOWN:
        report.note(f"{report.problems - PROBLEMS_SHOWN} more are not shown")
    return NOT_PROVED if report.problems else PROVED


def check_kept(manifest: dict[str, Any], kept: Kept, report: Report) -> None:
    """Say which kept heads are of logs that the pack does not have; it is not held to those."""
    origins = {shard["origin"] for shard in manifest["shards"] if shard["size"]}
    others = {head.point.origin for head in kept.heads} - origins
    for origin in sorted(others):
        if manifest["payer"] is None and origin.rpartition("/")[0] == manifest["ledger"]:
            report.problem(MANIFEST, f"a kept head is of {origin}, which has no events in the pack")
        else:
            report.note(f"a kept head is of {origin}, which the pack does not have")
    if kept.heads and not any(head.point.origin in origins for head in kept.heads):
        report.problem(MANIFEST, "no kept head is of a log that the pack has: it is of another")


def _verify_shards(
    pack: Pack,
    manifest: dict[str, Any],
    keys: dict[str, Key],
    kept: Kept,
    report: Report,
    folder: str,
    folds: list[Fold],
) -> None:
    check_kept(manifest, kept, report)
    for shard in manifest["shards"]:
        if not shard["size"]:
            report.note(f"shard {shard['shard']} is said to be empty")
            continue
        proof = ShardProof(pack, manifest, shard, kept, report)
        if proof.head.point.origin != f"{manifest['ledger']}/{shard['shard']}":
            raise NotProvedError(f"the head of shard {shard['shard']} is of another ledger")
        fold = Fold(manifest, shard["shard"], report, folder)
        folds.append(fold)
        before, count = report.problems, proof.events(fold.keep)
        try:
            proof.believe(keys)
        except NotProvedError as error:
            report.problem(f"shard-{shard['shard']}/heads.jsonl", str(error))
        if report.problems == before:
            size = proof.head.point.size
            which = "all there are" if manifest["payer"] is None else "each in its place"
            report.proved(
                f"shard {shard['shard']}: {count} events, {which} in the log of {size} events of"
                f" {proof.head.point.origin}{proof.recorded}; heads shown: {len(proof.heads)}"
            )
        fold.fold()
        if manifest["payer"] is not None and not fold.has_any():
            report.note(f"no event of {manifest['payer']} is in it")
        instant = fold.reconciles[-1].instant if fold.reconciles else None
        if time_text(instant) != shard["reconciled_to"]:
            report.problem(MANIFEST, f"the last reconcile is of {time_text(instant)}")
        if manifest["with_personal"]:
            check_personal(pack, fold, report)
        counts = {
            f"{proof.folder}/events.parquet": count,
            f"{proof.folder}/proof.bin": proof.hashes,
        }
        _check_counts(manifest, counts, report)
    check_told(pack, manifest, folds, report)


def add_kept(kept: Kept, claims: Sequence[Any]) -> None:
    """Sort what was kept."""
    for claim in claims:
        if isinstance(claim, Head):
            kept.heads.append(claim)
        elif isinstance(claim, Consistency):
            kept.links.append(claim)
        else:
            raise UnreadableError("it is neither a head nor a proof of consistency")


def main_pack(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="usage_ledger_verify.py pack",
        description="Checks an evidence pack of a usage-ledger, offline and without usage-ledger.",
        epilog="Ends with 0 if everything is proved, 1 if not, 2 if a file cannot be read.",
    )
    parser.add_argument("pack", type=Path, help="the folder, or the archive")
    parser.add_argument("--keys", type=Path, required=True, help="the list of keys to believe")
    parser.add_argument(
        "--kept",
        type=Path,
        action="append",
        default=[],
        help="a head that was kept elsewhere, or a proof that leads from one to another",
    )
    given = parser.parse_args(arguments)
    at = given.keys
    try:
        keys = read_keys(given.keys)
        kept = Kept([], [])
        for at in given.kept:
            add_kept(kept, read_claims(at))
        at = given.pack
        return verify_pack(given.pack, keys, kept)
    except OSError as error:
        print(f"{at} cannot be read: {error.strerror}", file=sys.stderr)
    except UnreadableError as error:
        print(f"{at} cannot be read: {error}", file=sys.stderr)
    except GARBAGE:
        print(f"{at} cannot be read: it does not fit together", file=sys.stderr)
    return UNREADABLE


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["pack"]:
        return main_pack(arguments[1:])
    parser = argparse.ArgumentParser(
        description="Checks heads and proofs of a usage-ledger, offline and without usage-ledger.",
        epilog="An evidence pack: usage_ledger_verify.py pack --help."
        " Ends with 0 if everything given is proved, 1 if not, 2 if a file cannot be read.",
    )
    parser.add_argument("--keys", type=Path, required=True, help="the list of keys to believe")
    parser.add_argument("files", type=Path, nargs="+", help="heads and proofs")
    given = parser.parse_args(arguments)
    claims: list[tuple[Path, Any]] = []
    for path in (given.keys, *given.files):
        try:
            if path is given.keys:
                keys = read_keys(path)
            else:
                claims += [(path, claim) for claim in read_claims(path)]
        except OSError as error:
            print(f"{path} cannot be read: {error.strerror}", file=sys.stderr)
            return UNREADABLE
        except (UnreadableError, *GARBAGE) as error:
            reason = error if isinstance(error, UnreadableError) else "it does not fit together"
            print(f"{path} cannot be read: {reason}", file=sys.stderr)
            return UNREADABLE
    trust = Trust(keys, [claim for _, claim in claims])
    outcome = PROVED
    for path, claim in claims:
        try:
            print(f"PROVED      {path}: {prove(claim, trust)}")
        except NotProvedError as error:
            outcome = NOT_PROVED
            print(f"NOT PROVED  {path}: {error}")
        except GARBAGE:
            outcome = NOT_PROVED
            print(f"NOT PROVED  {path}: what it says does not fit together")
    return outcome


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack some signs
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main())
