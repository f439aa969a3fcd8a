"""How a pack is laid out: its files, and the manifest that names each with its hash.

docs/evidence-packs.md has all of it, for those who read packs by other means. What is added gets
another name; what means something else, another version of the format.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import msgspec

FORMAT = "usage-ledger-pack-1"
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
SCHEMA = "schema.json"
README = "README.md"
SQL = "balances.sql"
MANIFEST_BYTES_MAX = 16 << 20  # a file has 200 bytes in it, and a shard has seven files
FILES_MAX = 10_000

_NAME = re.compile(r"(?:shard-[0-9]{1,6}/)?[A-Za-z0-9-]{1,40}(?:\.[a-z]{1,8})?", re.ASCII)


# What is larger fits in no store.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class PackError(Exception):
    """A pack cannot be made or believed; the text names what is wrong."""


class File(msgspec.Struct, frozen=True):
    """A file of a pack."""

    name: str
    bytes: Count
    sha256: str  # in hexadecimal
    rows: Count | None  # None where it has none


class Shard(msgspec.Struct, frozen=True):
    """What a pack holds of a shard, and the head that it is held to."""

    shard: Count
    origin: str
    size: Count  # leaves of the tree; 0: nothing was recorded there
    root: str  # in base64
    head: str | None  # the signed note
    events: Count  # in the pack
    last_position: Count  # of the newest event that the head covers
    reconciled_to: str | None  # until when running instances are counted


class Totals(msgspec.Struct, frozen=True):
    """Sums over all payers, in credit cents. Carried, period and later make the balance."""

    payers: int
    entries: int  # dated in the period
    carried_cents: int  # of entries dated before the period
    period_cents: int
    later_cents: int
    balance_cents: int


class Manifest(msgspec.Struct, frozen=True):
    """What a pack is of."""

    format: str
    ledger: str
    made_by: str  # the product and its version
    payer: str | None  # None: everything
    period_from: str | None  # None: since the beginning
    period_to: str | None  # left out; None: without an end
    with_personal: bool
    totals: Totals
    shards: list[Shard]
    files: list[File]


def folder_of(shard: int) -> str:
    """Give the folder of a shard inside a pack."""
    return f"shard-{shard}"


def manifest_bytes(manifest: Manifest) -> bytes:
    """Write a manifest."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def read_manifest(raw: bytes) -> Manifest:
    """Read a manifest; PackError if it is none of this format."""
    try:
        told = json.loads(raw.decode(), object_pairs_hook=_object_of)
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise PackError(f"{MANIFEST} is not of the format {FORMAT}")
        manifest = msgspec.convert(told, Manifest)
    except (ValueError, RecursionError) as error:
        raise PackError(f"{MANIFEST} cannot be read: {error}") from None
    names = [file.name for file in manifest.files]
    if len(names) > FILES_MAX or len(set(names)) != len(names):
        raise PackError(f"{MANIFEST} names a file twice, or more than {FILES_MAX:,}")
    for name in names:
        if not _NAME.fullmatch(name) or name in {MANIFEST, SUMS}:
            raise PackError(f"{MANIFEST} names a file {name[:80]!r}, which no pack has")
    return manifest


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse what two programs would read as two manifests."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise PackError(f"{MANIFEST} has a name twice in one object")
    return found


def sums_bytes(files: list[File], manifest_sha256: str) -> bytes:
    """Write what `sha256sum --check` reads: every file, and the manifest last."""
    lines = [f"{file.sha256}  {file.name}\n" for file in files]
    return "".join((*lines, f"{manifest_sha256}  {MANIFEST}\n")).encode()
