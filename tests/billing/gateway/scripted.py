"""A client of HTTP that answers from a script and remembers what it was asked."""

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import stripe

from billing import GatewaySettings, Secret
from billing.gateway import Gateway

SECRET_KEY = "sk_test_51SecretOfTheTests"
API = "http://stripe.test"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    form: dict[str, str]
    headers: httpx.Headers

    @property
    def key(self) -> str | None:
        """The idempotency key."""
        key: str | None = self.headers.get("Idempotency-Key")
        return key


@dataclass(frozen=True)
class Answer:
    body: Mapping[str, Any] | bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def refused(status: int, headers: Mapping[str, str] | None = None, **error: Any) -> Answer:
    """An answer in the form of Stripe's errors."""
    return Answer({"error": error}, status, {"Request-Id": "req_1", **(headers or {})})


def unreachable(cause: Exception) -> stripe.APIConnectionError:
    """What the library's client of httpx raises when `cause` was raised below it."""
    error = stripe.APIConnectionError(  # type: ignore[no-untyped-call]  # theirs has no types
        "Unexpected error communicating", should_retry=True
    )
    error.__cause__ = cause
    return error


class ScriptedStripe(stripe.HTTPClient):
    """Gives the answers in order; the test says how many there are."""

    name = "scripted"

    def __init__(self, *answers: Answer | Exception) -> None:
        super().__init__()
        self.answers = deque(answers)
        self.requests: list[Request] = []
        self.sleeps = 0
        self.is_closed = False

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        parts = urlsplit(url)
        assert API == f"{parts.scheme}://{parts.netloc}"
        form = parse_qsl(post_data or parts.query, keep_blank_values=True, strict_parsing=False)
        assert len(form) == len(dict(form))
        self.requests.append(Request(method, parts.path, dict(form), httpx.Headers(headers)))
        answer = self.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer.content(), answer.status, httpx.Headers(answer.headers)

    async def sleep_async(self, secs: float) -> None:
        self.sleeps += 1

    async def close_async(self) -> None:
        self.is_closed = True

    @property
    def only_request(self) -> Request:
        """The only request there was."""
        (one,) = self.requests
        return one


def gateway(stripe_side: ScriptedStripe, *, retries: int = 0) -> Gateway:
    settings = GatewaySettings(secret_key=Secret(SECRET_KEY), base_url=API, retries=retries)
    return Gateway(settings, http_client=stripe_side)
