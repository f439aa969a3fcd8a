"""The keys that sign heads: a file with the private one, and the list of all public ones.

The list is what auditors get. A retired key stays in it with the last head that it signed of each
tree: whoever gets hold of it later can sign nothing that is not a part of those.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.audit import whole_files
from ledger.audit.notes import (
    KEY_NAME,
    Checkpoint,
    Note,
    is_signed_by,
    key_id_of,
    public_bytes,
    signed_note,
)
from ledger.audit.whole_files import Failpoint

FORMAT = "usage-ledger-keys-1"
ALGORITHM = "ed25519"
UNLISTED = "unlisted-key"  # of a key that the list lacks
LIST_BYTES_MAX = 4 << 20  # some thousand keys, each retired over some shards


class KeysError(Exception):
    """A key, or the list of keys, cannot be used; the text says what to change."""


class LastHead(NamedTuple):
    """The last head of a tree that a key has signed."""

    origin: str
    size: int
    root: bytes


class Retired(NamedTuple):
    """When a key was retired, and what it had signed by then."""

    at: str
    by: str
    last_heads: tuple[LastHead, ...]  # of a tree that is not named: none


class ListedKey(NamedTuple):
    """A public key under its name."""

    name: str
    public_key: bytes
    added: str
    added_by: str
    retired: Retired | None

    @property
    def id(self) -> str:
        """By what notes name it, in hexadecimal."""
        return key_id_of(self.name, self.public_key).hex()


class Trust(NamedTuple):
    """Whether a head is to be believed: an objection, or what it must still be shown to begin."""

    objection: str = ""
    kind: str = ""  # of the objection: `unlisted-key`, `forged-head` or `retired-key`
    continued_by: LastHead | None = None


class KeyList(NamedTuple):
    """The public keys of a ledger."""

    keys: tuple[ListedKey, ...]

    def named(self, name: str) -> ListedKey | None:
        """Find a key by its name."""
        return next((key for key in self.keys if key.name == name), None)

    def with_key(self, key: ListedKey) -> KeyList:
        """Add a key; KeysError if name or key are there already."""
        if not KEY_NAME.fullmatch(key.name):
            raise KeysError(
                f"the name {key.name[:80]!r} must be 1 to 200 letters, digits and signs of ._/:@-"
            )
        for other in self.keys:
            if other.name == key.name:
                raise KeysError(f'the list has a key "{key.name}" already: take another name')
            if other.public_key == key.public_key:
                raise KeysError(f'the key is in the list already, as "{other.name}"')
        return KeyList((*self.keys, key))

    def retiring(self, name: str, retired: Retired) -> KeyList:
        """Retire a key; KeysError if it is not there, or is retired."""
        key = self.named(name)
        if key is None:
            raise KeysError(f'a key "{name}" is not in the list')
        if key.retired is not None:
            raise KeysError(f'key "{name}" is retired already, since {key.retired.at}')
        return self._with(key._replace(retired=retired))

    def correcting(self, name: str, last_heads: tuple[LastHead, ...]) -> KeyList:
        """Say that a retired key has signed other heads last; KeysError if it is not retired."""
        key = self.named(name)
        if key is None or key.retired is None:
            raise KeysError(f'a retired key "{name}" is not in the list')
        return self._with(key._replace(retired=key.retired._replace(last_heads=last_heads)))

    def _with(self, key: ListedKey) -> KeyList:
        return KeyList(tuple(key if each.name == key.name else each for each in self.keys))

    def judge(self, note: Note) -> Trust:
        """Say whether one of its signers may sign a head, and did."""
        trusts = [self._judge(note, number) for number in range(len(note.signatures))]
        return min(trusts, key=lambda trust: (bool(trust.objection), bool(trust.continued_by)))

    def _judge(self, note: Note, number: int) -> Trust:
        signature = note.signatures[number]
        key = self.named(signature.key_name)
        if key is None:
            return Trust(f'key "{signature.key_name}" is not in the list of keys', UNLISTED)
        if not is_signed_by(note.text, signature, key.public_key):
            return Trust(f'the signature of key "{key.name}" does not hold', "forged-head")
        return Trust() if key.retired is None else _may_have_signed(key, key.retired, note)


def _may_have_signed(key: ListedKey, retired: Retired, note: Note) -> Trust:
    origin, size, root, _ = note.checkpoint
    last = next((each for each in retired.last_heads if each.origin == origin), None)
    retired_then = f'key "{key.name}" is retired, and'
    if last is None or size > last.size:
        signed = 0 if last is None else last.size
        return Trust(
            f"{retired_then} signed no more than {signed:,} events of this tree", RETIRED_KEY
        )
    if size == last.size and root != last.root:
        return Trust(f"{retired_then} the last head that it signed is another", RETIRED_KEY)
    return Trust(continued_by=None if size == last.size else last)


RETIRED_KEY = "retired-key"


class Signer:
    """A key that may sign new heads."""

    def __init__(self, name: str, key: Ed25519PrivateKey, keys: KeyList) -> None:
        """Take a key under the name that the list has for it."""
        self.name = name
        self.keys = keys
        self._key = key

    def sign(self, checkpoint: Checkpoint) -> str:
        """Give the signed note of a head."""
        return signed_note(checkpoint, self.name, self._key)


def load_signer(key_file: Path, keys_file: Path) -> Signer:
    """Read the key and look it up in the list; KeysError says why nothing can be signed."""
    key = _private_key(key_file)
    public = public_bytes(key)
    keys = read_key_list(keys_file)
    listed = next((each for each in keys.keys if each.public_key == public), None)
    if listed is None:
        raise KeysError(
            f"the key of audit.signing_key_file {key_file} is not in audit.keys_file {keys_file},"
            " so nobody could check what it signs: `usage-ledger keys add`"
        )
    if listed.retired is not None:
        raise KeysError(
            f'audit.signing_key_file {key_file}: key "{listed.name}" is retired since'
            f" {listed.retired.at}: put the new one there"
        )
    return Signer(listed.name, key, keys)


def public_key_of(key_file: Path) -> bytes:
    """Give the public half of the key in a file; KeysError if there is none."""
    return public_bytes(_private_key(key_file))


def _private_key(path: Path) -> Ed25519PrivateKey:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise KeysError(_unreadable("audit.signing_key_file", path, error, "new")) from None
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeysError(f"audit.signing_key_file {path} is not an Ed25519 key in PEM")
    return key


def _unreadable(setting: str, path: Path, error: OSError, command: str) -> str:
    is_missing = isinstance(error, FileNotFoundError)
    hint = f": make one by `usage-ledger keys {command}`" if is_missing else ""
    return f"{setting} {path} cannot be read: {error.strerror}{hint}"


def new_key_file(path: Path, failpoint: Failpoint = lambda _name: None) -> bytes:
    """Make a key, for its owner alone; give its public half. KeysError if the file is there."""
    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        whole_files.make(path, text, failpoint)
    except FileExistsError:
        raise KeysError(
            f"{path} is there already: a key is never overwritten; if the list of keys lacks it,"
            " `usage-ledger keys add`"
        ) from None
    except OSError as error:
        raise KeysError(f"{path} cannot be written: {error.strerror}") from None
    return public_bytes(key)


def read_key_list(path: Path, *, may_lack: bool = False) -> KeyList:
    """Read a list of keys; KeysError says what is wrong with it. One that may lack is empty."""
    try:
        if may_lack and not path.exists():
            return KeyList(())
        with path.open("rb") as file:
            text = file.read(LIST_BYTES_MAX + 1)
    except OSError as error:
        raise KeysError(_unreadable("audit.keys_file", path, error, "new` or `keys add")) from None
    return parse_key_list(text, str(path))


def parse_key_list(text: bytes, name: str) -> KeyList:
    """Read a list of keys; `name` is how an error calls it."""
    if len(text) > LIST_BYTES_MAX:
        raise KeysError(f"{name} is no list of keys: it is longer than {LIST_BYTES_MAX:,} bytes")
    try:
        told = json.loads(text)
        if told["format"] != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        keys = KeyList(())
        for each in told["keys"]:
            keys = keys.with_key(_listed(each))
    except (ValueError, TypeError, KeyError, KeysError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise KeysError(f"{name} is no list of keys: {reason}") from None
    return keys


def _listed(told: Any) -> ListedKey:
    if told["algorithm"] != ALGORITHM:
        raise ValueError(f"key {told['name']!r} is not of {ALGORITHM}")
    retired = told["retired"]
    key = ListedKey(
        str(told["name"]),
        _raw(told["public_key"]),
        str(told["added"]),
        str(told["added_by"]),
        None if retired is None else _retired(retired, str(told["name"])),
    )
    if key.id != told["id"]:
        raise ValueError(f"key {key.name!r}: its id is {key.id}, not {told['id']}")
    return key


def _retired(told: Any, name: str) -> Retired:
    last_heads: dict[str, LastHead] = {}
    for each in told["last_heads"]:
        last = LastHead(str(each["origin"]), int(each["size"]), _raw(each["root"]))
        if last.origin in last_heads:
            raise ValueError(f'key "{name}" has two last heads of the tree {last.origin}')
        last_heads[last.origin] = last
    return Retired(str(told["at"]), str(told["by"]), tuple(last_heads.values()))


def _raw(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != 32:
        raise ValueError("a key and a root are 32 bytes in base64")
    return raw


def write_key_list(path: Path, keys: KeyList, failpoint: Failpoint = lambda _name: None) -> None:
    """Write a list of keys in the place of the one before; KeysError if that cannot be."""
    text = json.dumps({"format": FORMAT, "keys": list(map(_told, keys.keys))}, indent=2)
    try:
        whole_files.replace(path, f"{text}\n".encode(), failpoint)
    except OSError as error:
        raise KeysError(f"{path} cannot be written: {error.strerror}") from None


def _told(key: ListedKey) -> dict[str, Any]:
    retired = key.retired
    return {
        "name": key.name,
        "id": key.id,
        "algorithm": ALGORITHM,
        "public_key": base64.b64encode(key.public_key).decode(),
        "added": key.added,
        "added_by": key.added_by,
        "retired": None
        if retired is None
        else {
            "at": retired.at,
            "by": retired.by,
            "last_heads": [
                {"origin": origin, "size": size, "root": base64.b64encode(root).decode()}
                for origin, size, root in retired.last_heads
            ],
        },
    }
