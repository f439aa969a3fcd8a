"""The tokens file: who may call, told by the SHA-256 of a token or the name of a certificate.

    [[tokens]]
    name = "workspace-manager-eu01"
    roles = ["publish"]
    sha256 = "64 hexadecimal digits"

    [[certificates]]
    name = "spiffe://example.org/billing"
    roles = ["read", "admin"]

The file never holds a token. It is read again when it changes; a change that cannot be read leaves
what was known before in force.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import logging
import re
import secrets
import time
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

FILE_BYTES_MAX = 1 << 20  # a thousand entries are a tenth of it
ENTRIES_MAX = 1_000  # tokens and certificates; an organisation has tens of services
NAME_CHARS_MAX = 200  # it is stored with every event that its holder causes
TOKEN_BYTES = 32  # as many as its hash has: neither is the easier one to guess
TOKEN_CHARS_MAX = 512  # longer ones are not hashed; ours have 47
TOKEN_PREFIX = "ulg_"  # noqa: S105  # so that a scanner for leaked secrets knows one
LOOK_SECONDS = 1.0  # how often the file is looked at, at most

_NAME = re.compile(r"[!-~]+", re.ASCII)
_SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)

log = logging.getLogger(__name__)


class Role(enum.StrEnum):
    """What somebody may do; facade/access.py says which call needs which."""

    PUBLISH = "publish"
    READ = "read"
    ADMIN = "admin"
    AUDIT = "audit"


# Who changes a number, or reads the log it comes from, may see it.
_INCLUDED = {Role.ADMIN: {Role.READ}, Role.AUDIT: {Role.READ}}


class Caller(NamedTuple):
    """Who calls; an empty name is somebody who was not asked for one."""

    name: str
    roles: frozenset[Role]


class TokensFileError(ValueError):
    """The file cannot be used; the text says what to change."""


class _Token(NamedTuple):
    digest: bytes
    caller: Caller


# Tokens are found by a hash under a key that only this process has: how long the search takes says
# nothing about the digests in the file.
_search_key = secrets.token_bytes(32)


def _place(digest: bytes) -> bytes:
    return hashlib.blake2b(digest, key=_search_key, digest_size=16).digest()


class Known:
    """Everybody whom the file names."""

    def __init__(
        self, tokens: Iterable[tuple[bytes, Caller]], certificates: Mapping[str, Caller]
    ) -> None:
        """Take digests of tokens and names of certificates."""
        self._tokens = {_place(digest): _Token(digest, caller) for digest, caller in tokens}
        self._certificates = dict(certificates)

    def by_token(self, token: str) -> Caller | None:
        """Find the holder of a token, in a time that does not depend on what is stored."""
        if len(token) > TOKEN_CHARS_MAX:
            return None
        digest = digest_of(token)
        found = self._tokens.get(_place(digest))
        if found is not None and hmac.compare_digest(found.digest, digest):
            return found.caller
        return None

    def by_certificate(self, names: Iterable[str]) -> Caller | None:
        """Find the holder of a certificate by the first of its names that the file has."""
        return next(
            (self._certificates[name] for name in names if name in self._certificates), None
        )


def digest_of(token: str) -> bytes:
    """Give the SHA-256 of a token as the file has it."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def new_token() -> str:
    """Make up a token."""
    return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def entry_of(token: str, name: str, roles: Iterable[str]) -> str:
    """Write the entry by which the file knows a token."""
    # A name has no character that TOML reads otherwise, but for these two.
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    listed = ", ".join(f'"{role}"' for role in dict.fromkeys(roles))
    return (
        f'[[tokens]]\nname = "{quoted}"\nroles = [{listed}]\nsha256 = "{digest_of(token).hex()}"\n'
    )


def roles_of(names: Iterable[str]) -> frozenset[Role]:
    """Read roles by their names, with what they include; ValueError names the wrong one."""
    roles = set()
    for name in names:
        if name not in set(Role):
            raise ValueError(f'"{name}" is no role: one of {", ".join(Role)}')
        roles |= {Role(name)} | _INCLUDED.get(Role(name), set())
    return frozenset(roles)


def check_name(name: object) -> str:
    """Check the name of a holder; ValueError says what is allowed."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > NAME_CHARS_MAX:
        raise ValueError(f"a name must be 1 to {NAME_CHARS_MAX} visible ASCII characters")
    if is_reserved(name):
        raise ValueError(f'the name "{name}" stands for callers that nobody authenticated')
    return name


def is_reserved(name: str) -> bool:
    """Tell whether a name would pass for a caller who was not authenticated."""
    return name.startswith("local:") or name == "unauthenticated"


def read(text: bytes) -> Known:
    """Read the content of the file; TokensFileError says what to change."""
    content = _parsed(text)
    tokens: dict[bytes, Caller] = {}
    for where, entry in _entries(content, "tokens", {"name", "roles", "sha256"}):
        digest = entry["sha256"]
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            # It is not repeated: somebody may have pasted the token itself.
            raise TokensFileError(f"{where}: sha256 must be 64 hexadecimal digits")
        if bytes.fromhex(digest) in tokens:
            raise TokensFileError(f"{where}: another entry has the same sha256")
        tokens[bytes.fromhex(digest)] = _caller(where, entry)
    certificates: dict[str, Caller] = {}
    for where, entry in _entries(content, "certificates", {"name", "roles"}):
        caller = _caller(where, entry)
        if caller.name in certificates:
            raise TokensFileError(f'{where}: another entry has the name "{caller.name}"')
        certificates[caller.name] = caller
    if len(tokens) + len(certificates) > ENTRIES_MAX:
        raise TokensFileError(f"it has more than {ENTRIES_MAX:,} entries")
    return Known(tokens.items(), certificates)


def _parsed(text: bytes) -> dict[str, Any]:
    if len(text) > FILE_BYTES_MAX:
        raise TokensFileError(f"it is longer than {FILE_BYTES_MAX:,} bytes")
    try:
        content = tomllib.loads(text.decode())
    except UnicodeDecodeError:
        raise TokensFileError("it is not text in UTF-8") from None
    except ValueError as error:
        raise TokensFileError(f"it is not TOML: {error}") from None
    unknown = content.keys() - {"tokens", "certificates"}
    if unknown:
        raise TokensFileError(
            f'it has "{min(unknown)}": it may have [[tokens]] and [[certificates]] only'
        )
    return content


def _entries(
    content: Mapping[str, Any], kind: str, names: set[str]
) -> Iterable[tuple[str, dict[str, Any]]]:
    entries = content.get(kind, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise TokensFileError(f"{kind} must be written as [[{kind}]], once for each")
    for number, entry in enumerate(entries, start=1):
        where = f"[[{kind}]] number {number}"
        for name in sorted(names ^ entry.keys()):
            is_missing = name in names
            raise TokensFileError(f"{where} {'has no' if is_missing else 'may not have'} {name}")
        yield where, entry


def _caller(where: str, entry: Mapping[str, Any]) -> Caller:
    roles = entry["roles"]
    if not isinstance(roles, list) or not roles or not all(isinstance(r, str) for r in roles):
        raise TokensFileError(f'{where}: roles must be a list such as ["read"]')
    try:
        return Caller(check_name(entry["name"]), roles_of(roles))
    except ValueError as error:
        raise TokensFileError(f"{where}: {error}") from None


class TokensFile:
    """The file as it was when it could last be read."""

    def __init__(self, path: Path) -> None:
        """Read it; TokensFileError says what to change."""
        self._path = path
        self._stamp = self._look()
        self._known = self._read()
        self._next_look = time.monotonic() + LOOK_SECONDS
        self.changes = 0  # counts up whenever other callers are known than before

    def known(self) -> Known:
        """Give everybody whom the file names now."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._read_if_changed()
        return self._known

    def _read_if_changed(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._known = self._read()
        except TokensFileError as error:
            log.error("%s; those known before may still call", error)  # noqa: TRY400
        else:
            self.changes += 1
            log.info("the tokens file %s was read again", self._path)

    def _look(self) -> tuple[int, ...]:
        try:
            status = self._path.stat()
        except OSError:
            return ()
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self) -> Known:
        try:
            with self._path.open("rb") as file:
                return read(file.read(FILE_BYTES_MAX + 1))
        except OSError as error:
            reason = error.strerror or "it cannot be read"
            raise TokensFileError(f"auth.tokens_file {self._path}: {reason}") from None
        except TokensFileError as error:
            raise TokensFileError(f"auth.tokens_file {self._path}: {error}") from None
