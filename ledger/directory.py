"""Who the members of organisations are, and blocking one of them.

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


OWNER = "owner"
# As Gitpod's API spells it in JSON, by name or by number.
_OWNER_IN_API = frozenset({"TEAM_ROLE_OWNER", 1})


class Member(NamedTuple):
    """A member of an organisation; `joined` in ms."""

    user_id: str
    joined: int
    email: str
    role: str = ""  # OWNER, or anything else


class Directory(Protocol):
    """Knows organisations."""

    def members(self, organization: bytes) -> list[Member]:
        """Give an organisation's members; UnavailableError when it cannot be asked."""

    def block(self, user_id: str, reason: str) -> None:
        """Block a user; again is fine. UnavailableError when it cannot be done now."""


class NoDirectory:
    """Knows nobody."""

    def members(self, organization: bytes) -> list[Member]:  # noqa: ARG002  # the port's name
        """Give no members."""
        return []

    def block(self, user_id: str, reason: str) -> None:  # noqa: ARG002  # the port's names
        """Nobody is known, so nobody can be blocked."""
        raise UnavailableError("no directory is configured, so no user can be blocked")


class _FileMember(msgspec.Struct):
    user_id: str
    joined: str
    email: str = ""
    role: str = ""


class _Blocked(msgspec.Struct):
    user_id: str
    reason: str


class _FileOrganization(msgspec.Struct):
    id: str
    members: list[_FileMember]


class FileDirectory:
    """Reads a JSON file when it is asked.

    `[{"id": "<uuid>", "members": [{"user_id": …, "joined": …, "email": …, "role": …}]}]`; the role
    of those who answer for it is `owner`.
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
                Member(_user(member.user_id), parse_time(member.joined), member.email, member.role)
                for found in organizations
                if parse_uuid(found.id) == wanted
                for member in found.members
            ]
        except (OSError, msgspec.DecodeError, ValueError) as error:
            raise _unavailable("its file cannot be read", error) from error

    def block(self, user_id: str, reason: str) -> None:
        """Write a user to the file of blocked ones beside it, a JSON line each."""
        path = self._path.with_suffix(".blocked.jsonl")
        try:
            with path.open("ab+") as file:
                file.seek(0)
                blocked = [msgspec.json.decode(line, type=_Blocked) for line in file]
                if all(one.user_id != user_id for one in blocked):
                    file.write(msgspec.json.encode(_Blocked(user_id, reason)) + b"\n")
        except (OSError, msgspec.DecodeError) as error:
            raise _unavailable("its file of blocked users cannot be written", error) from error


class _ApiMember(msgspec.Struct, rename="camel"):
    """In the JSON of protobuf `null` is the default, as is what is left out."""

    user_id: str | None = None
    member_since: str | None = None
    primary_email: str | None = None
    role: str | int | None = None


class _ApiTeam(msgspec.Struct):
    members: list[_ApiMember] | None = None


class _ApiAnswer(msgspec.Struct):
    team: _ApiTeam | None = None


class ConnectDirectory:
    """Asks Gitpod's `TeamsService/GetTeam` and `UserService/BlockUser` over Connect (JSON)."""

    def __init__(self, url: str, token_file: Path, timeout_s: float) -> None:
        """Nothing is asked yet; the token is read at each call, so that it can be renewed."""
        self._url = url.rstrip("/") + "/gitpod.experimental.v1."
        self._token_file = token_file
        self._timeout_s = timeout_s

    def members(self, organization: bytes) -> list[Member]:
        """Give an organisation's members; one that the API does not know has none."""
        answer = self._ask("TeamsService/GetTeam", {"teamId": uuid_text(organization)})
        if answer is None:
            return []
        try:
            team = msgspec.json.decode(answer.content, type=_ApiAnswer).team
            return [
                Member(
                    _user(member.user_id or ""),
                    parse_time(member.member_since or ""),
                    member.primary_email or "",
                    OWNER if member.role in _OWNER_IN_API else "",
                )
                for member in (team and team.members) or ()
            ]
        except (msgspec.DecodeError, ValueError) as error:
            raise _unavailable("its answer cannot be read", error) from error

    def block(self, user_id: str, reason: str) -> None:
        """Block a user; one that the API does not know is gone already."""
        self._ask("UserService/BlockUser", {"userId": user_id, "reason": reason})

    def _ask(self, method: str, request: dict[str, str]) -> httpx.Response | None:
        """Call a method; None when the API does not know what was named."""
        try:
            token = self._token_file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise _unavailable("its token cannot be read", error) from error
        try:
            answer = httpx.post(
                self._url + method,
                json=request,
                headers={"Authorization": f"Bearer {token}", "Connect-Protocol-Version": "1"},
                timeout=self._timeout_s,
            )
            if answer.status_code == httpx.codes.NOT_FOUND and _code(answer) == "not_found":
                return None
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            told = f"it answered with status {error.response.status_code}"
            raise _unavailable(told, error) from error
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise _unavailable("it does not answer", error) from error
        return answer


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
