"""Organisations for tests: their members, and a small server that answers as Gitpod's API does."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from tests.oracle.events import named_uuid

PATH: Final = "/gitpod.experimental.v1.TeamsService/GetTeam"
JOINED: Final = "2026-01-01T00:00:00Z"


def organization(payer: str) -> str:
    return payer.removeprefix("team:")


def member(name: str, joined: str = JOINED, email: str = "") -> dict[str, str]:
    """A member as the file has it; names are told apart by user ID."""
    user_id = named_uuid("user", name)
    return {"user_id": user_id, "joined": joined, "email": email, "role": "member"}


def as_connect(members: list[dict[str, str]]) -> dict[str, Any]:
    """GetTeam's answer in Connect's JSON."""
    names = {"user_id": "userId", "joined": "memberSince", "email": "primaryEmail", "role": "role"}
    return {
        "team": {
            "name": "a team",
            "members": [{names[k]: v for k, v in m.items() if k in names} for m in members],
        }
    }


@dataclass
class Api:
    """What the server answers, and what it was asked."""

    # By organisation: status and body; anybody else is not found.
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    # By user: what blocking one is answered with; others are blocked.
    users: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, str], Any]] = field(default_factory=list)
    # While it is cleared nobody is answered.
    may_answer: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def has(self, payer: str, *members: dict[str, str]) -> None:
        body = json.dumps(as_connect(list(members))).encode()
        self.answers[organization(payer)] = 200, body

    def breaks(self, payer: str, status: int, body: bytes) -> None:
        self.answers[organization(payer)] = status, body


@contextmanager
def serving() -> Iterator[Api]:
    """Serve GetTeam and BlockUser on loopback."""
    api = Api()
    api.may_answer.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            api.asked.append((self.path, dict(self.headers), body))
            api.may_answer.wait(10)
            missing = 404, b'{"code": "not_found", "message": "no such team"}'
            if "userId" in body:
                status, answer = api.users.get(body["userId"], (200, b"{}"))
            else:
                status, answer = api.answers.get(body.get("teamId", ""), missing)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        api.may_answer.set()
        server.shutdown()
        server.server_close()
        thread.join()
