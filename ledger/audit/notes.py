"""Heads as text that others read and sign, too: a checkpoint and a signed note, as C2SP has them.

The text says which tree, how many leaves, their root, and when the newest of them was recorded. A
line for each signature follows behind an empty one. docs/proofs.md has the format.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import re
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from events.readable import time_text
from ledger.audit.merkle import HASH_BYTES

NOTE_CHARS_MAX = 10_000  # a head with a dozen signatures has two thousand
SIGNATURES_MAX = 16
KEY_ID_BYTES = 4
SIGNATURE_BYTES = 64
_ED25519 = b"\x01"  # as notes number the kinds of signatures
_DASH = "\u2014"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

_SIZE = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_RECORDED = re.compile(r"recorded (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\d)Z", re.ASCII)
KEY_NAME = re.compile(r"[A-Za-z0-9._/:@-]{1,200}", re.ASCII)


class NoteError(ValueError):
    """A text is no signed head; the message says what is wrong with it."""


class Checkpoint(NamedTuple):
    """A tree as a head tells it."""

    origin: str
    size: int
    root: bytes
    recorded_at: int  # of the newest event, ms


class Signature(NamedTuple):
    """One of a note's signatures."""

    key_name: str
    key_id: bytes
    signature: bytes


class Note(NamedTuple):
    """A head and who signed it; whether they did is not said."""

    text: str  # what is signed
    checkpoint: Checkpoint
    signatures: tuple[Signature, ...]


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """Give the public half of a key, 32 bytes."""
    return key.public_key().public_bytes_raw()


def key_id_of(name: str, public_key: bytes) -> bytes:
    """Give by which four bytes a note names a key."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:KEY_ID_BYTES]


def checkpoint_text(checkpoint: Checkpoint) -> str:
    """Write what is signed."""
    origin, size, root, recorded_at = checkpoint
    return f"{origin}\n{size}\n{_base64(root)}\nrecorded {time_text(recorded_at)}\n"


def signed_note(checkpoint: Checkpoint, key_name: str, key: Ed25519PrivateKey) -> str:
    """Write and sign a head."""
    assert KEY_NAME.fullmatch(key_name), "names of keys are checked when they are listed"
    text = checkpoint_text(checkpoint)
    signature = key_id_of(key_name, public_bytes(key)) + key.sign(text.encode())
    return f"{text}\n{_DASH} {key_name} {_base64(signature)}\n"


def is_signed_by(text: str, signature: Signature, public_key: bytes) -> bool:
    """Say whether a key signed a text under the name that the signature gives."""
    if signature.key_id != key_id_of(signature.key_name, public_key):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature.signature, text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def parse_note(note: str) -> Note:
    """Read a head, written in the one way that there is; NoteError if it is none."""
    if len(note) > NOTE_CHARS_MAX:
        raise NoteError(f"a head of {len(note):,} characters: at most {NOTE_CHARS_MAX:,}")
    text, between, rest = note.partition("\n\n")
    if not between or not rest.endswith("\n"):
        raise NoteError("a head has lines, an empty line, and lines with signatures")
    lines = rest[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise NoteError(f"a head with {len(lines):,} signatures: at most {SIGNATURES_MAX}")
    signatures = tuple(map(_signature, lines))
    return Note(text + "\n", _checkpoint(text.split("\n")), signatures)


def _checkpoint(lines: list[str]) -> Checkpoint:
    if len(lines) != 4:
        raise NoteError(f"a head has four lines before its signatures, not {len(lines)}")
    origin, size, root, recorded = lines
    if not origin or not origin.isprintable() or not origin.isascii():
        raise NoteError("the first line of a head names ledger and shard")
    if not _SIZE.fullmatch(size):
        raise NoteError("the second line of a head is the number of its events")
    return Checkpoint(origin, int(size), _unbase64(root, HASH_BYTES, "root"), _time(recorded))


def _time(line: str) -> int:
    found = _RECORDED.fullmatch(line)
    try:
        if found is None:
            raise ValueError
        moment = dt.datetime.fromisoformat(found[1]).replace(tzinfo=dt.UTC)
    except ValueError:
        raise NoteError(
            "the fourth line of a head says when its newest event was recorded"
        ) from None
    return (moment - _EPOCH) // dt.timedelta(milliseconds=1)


def _signature(line: str) -> Signature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH or not KEY_NAME.fullmatch(parts[1]):
        raise NoteError("a signature's line has a dash, the name of a key, and the signature")
    raw = _unbase64(parts[2], KEY_ID_BYTES + SIGNATURE_BYTES, "signature")
    return Signature(parts[1], raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _unbase64(text: str, size: int, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != size or _base64(raw) != text:
        raise NoteError(f"the {what} is not {size} bytes in base64")
    return raw
