"""Free credits: who may bring them to a new cost center, without keeping an e-mail address."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

from ledger.commands.cost_centers import claims_of
from ledger.directory import Directory
from ledger.errors import StartRefusedError

KEY_BYTES = 32


class EmailHmac:
    """Names e-mail addresses by an HMAC under a key that lies outside the database."""

    def __init__(self, key: bytes) -> None:
        """Take the key."""
        self._key = key

    def __call__(self, email: str) -> str:
        """Give the name of an address; upper and lower case are the same address."""
        normal = email.strip().casefold().encode("utf-8", "surrogatepass")
        return hmac.new(self._key, normal, hashlib.sha256).hexdigest()


def load_key(path: Path) -> bytes:
    """Read the key; make one the first time, readable by the service's user only."""
    try:
        if path.exists():
            key = path.read_bytes()
        else:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            key = os.urandom(KEY_BYTES)
            temporary = path.with_suffix(".new")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(key)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    except OSError as error:
        raise StartRefusedError(
            f"free_credit_key_file {path} cannot be read or made: {error.strerror}"
        ) from error
    if len(key) < KEY_BYTES:
        raise StartRefusedError(
            f"free_credit_key_file {path} has {len(key)} bytes: at least {KEY_BYTES} are needed"
        )
    return key


def claims_for(directory: Directory, email_hmac: EmailHmac, organization: bytes) -> list[str]:
    """Name what the organisation's first member claims when its cost center opens; may block."""
    members = directory.members(organization)
    if not members:
        return []
    first = min(members, key=lambda member: (member.joined, member.user_id))
    user = bytes.fromhex(first.user_id.replace("-", ""))
    return claims_of(user, email_hmac(first.email) if first.email else "")
