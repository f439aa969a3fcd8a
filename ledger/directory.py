"""Who the members of organisations are.

A port with nobody, a file, or Gitpod's public API behind it.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import NamedTuple, Protocol

import httpx
import msgspec

from events.readable import uuid_text
from ledger.errors import UnavailableError
from ledger.identifiers import parse_time, parse_uuid
from ledger.settings import DirectorySettings

log = logging.getLogger(__name__)


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
    """Reads a JSON file when it is asked.

    `[{"id": "<uuid>", "members": [{"user_id": …, "joined": …, "email": …, "role": …}]}]`
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
            raise _unavailable("its file cannot be read", error) from error


class _ApiMember(msgspec.Struct, rename="camel"):
    """In the JSON of protobuf `null` is the default, as is what is left out."""

    user_id: str | None = None
    member_since: str | None = None
    primary_email: str | None = None


class _ApiTeam(msgspec.Struct):
    members: list[_ApiMember] | None = None


class _ApiAnswer(msgspec.Struct):
    team: _ApiTeam | None = None


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
        except (OSError, ValueError) as error:
            raise _unavailable("its token cannot be read", error) from error
        try:
            answer = httpx.post(
                self._url,
                json={"teamId": uuid_text(organization)},
                headers={"Authorization": f"Bearer {token}", "Connect-Protocol-Version": "1"},
                timeout=self._timeout_s,
            )
            if answer.status_code == httpx.codes.NOT_FOUND and _code(answer) == "not_found":
                return []
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            told = f"it answered with status {error.response.status_code}"
            raise _unavailable(told, error) from error
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise _unavailable("it does not answer", error) from error
        try:
            team = msgspec.json.decode(answer.content, type=_ApiAnswer).team
            return [
                Member(
                    _user(member.user_id or ""),
                    parse_time(member.member_since or ""),
                    member.primary_email or "",
                )
                for member in (team and team.members) or ()
            ]
        except (msgspec.DecodeError, ValueError) as error:
            raise _unavailable("its answer cannot be read", error) from error


def _unavailable(told: str, error: Exception) -> UnavailableError:
    """Tell the caller in our words; the log has the rest, which may name files and addresses."""
    log.warning("the directory cannot be asked: %s (%s: %s)", told, type(error).__name__, error)
    return UnavailableError(f"the directory cannot be asked now: {told}; try again later")


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
