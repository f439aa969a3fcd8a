"""Who the members of organisations are.

A port with nobody, a file, or Gitpod's public API behind it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import httpx
import msgspec

from events.readable import uuid_text
from ledger.errors import UnavailableError
from ledger.identifiers import parse_time, parse_uuid
from ledger.settings import DirectorySettings


class Member(NamedTuple):
    """A member of an organisation; `joined` in ms."""

    user_id: str
    joined: int
    email: str


class Directory(Protocol):
    """Knows organisations."""

    def members(self, organization: bytes) -> list[Member]:
        """Give an organisation's members; UnavailableError when it cannot be asked."""


class NoDirectory:
    """Knows nobody."""

    def members(self, organization: bytes) -> list[Member]:  # noqa: ARG002  # the port's name
        """Give no members."""
        return []


class _FileMember(msgspec.Struct):
    user_id: str
    joined: str
    email: str = ""
    role: str = ""


class _FileOrganization(msgspec.Struct):
    id: str
    members: list[_FileMember]


class FileDirectory:
    """Reads `[{"id": "<uuid>", "members".

    [{"user_id", "joined", "email", "role"}]}]` when it is asked.
    """

    def __init__(self, path: Path) -> None:
        """Remember the file; it may change while the service runs."""
        self._path = path

    def members(self, organization: bytes) -> list[Member]:
        """Give an organisation's members."""
        try:
            content = self._path.read_bytes()
            organizations = msgspec.json.decode(content, type=list[_FileOrganization])
            wanted = uuid_text(organization)
            return [
                Member(_user(member.user_id), parse_time(member.joined), member.email)
                for found in organizations
                if parse_uuid(found.id) == wanted
                for member in found.members
            ]
        except (OSError, msgspec.DecodeError, ValueError) as error:
            raise UnavailableError(f"the directory file cannot be read: {error}") from error


class ConnectDirectory:
    """Asks `gitpod.experimental.v1.TeamsService/GetTeam` over Connect (JSON)."""

    def __init__(self, url: str, token_file: Path, timeout_s: float) -> None:
        """Nothing is asked yet; the token is read at each call, so that it can be renewed."""
        self._url = url.rstrip("/") + "/gitpod.experimental.v1.TeamsService/GetTeam"
        self._token_file = token_file
        self._timeout_s = timeout_s

    def members(self, organization: bytes) -> list[Member]:
        """Give an organisation's members; one that the API does not know has none."""
        try:
            token = self._token_file.read_text(encoding="utf-8").strip()
            answer = httpx.post(
                self._url,
                json={"teamId": uuid_text(organization)},
                headers={"Authorization": f"Bearer {token}", "Connect-Protocol-Version": "1"},
                timeout=self._timeout_s,
            )
            if answer.status_code == httpx.codes.NOT_FOUND and _code(answer) == "not_found":
                return []
            answer.raise_for_status()
            members: list[dict[str, Any]] = answer.json().get("team", {}).get("members", [])
            return [
                Member(
                    _user(member.get("userId", "")),
                    parse_time(member.get("memberSince", "")),
                    member.get("primaryEmail", ""),
                )
                for member in members
            ]
        except (
            OSError,
            httpx.HTTPError,
            json.JSONDecodeError,
            ValueError,
            AttributeError,
        ) as error:
            kind = type(error).__name__
            raise UnavailableError(f"the directory cannot be asked now ({kind})") from error


def _user(text: str) -> str:
    user = parse_uuid(text)
    if user is None:
        raise ValueError(f"user id {text[:80]!r} is no UUID")
    return user


def _code(answer: httpx.Response) -> str:
    try:
        code: str = answer.json().get("code", "")
    except (json.JSONDecodeError, AttributeError):
        return ""
    return code


def directory_of(settings: DirectorySettings) -> Directory:
    """Give the configured directory."""
    if settings.kind == "file":
        assert settings.path is not None
        return FileDirectory(settings.path)
    if settings.kind == "connect":
        assert settings.url is not None
        assert settings.token_file is not None
        return ConnectDirectory(settings.url, settings.token_file, settings.timeout / 1000)
    return NoDirectory()
