"""One request from its arrival to its answer: key, faults, idempotency, checks, effect."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from tests.stripe_double import (
    credit_notes,
    customers,
    disputes,
    intents,
    invoice_calls,
    meters,
    meters_v2,
    prices,
    subscription_calls,
)
from tests.stripe_double.errors import (
    AnswerLost,
    NoAnswer,
    StripeError,
    TimedOut,
    Unreachable,
)
from tests.stripe_double.expansion import Tree, expand, tree_of
from tests.stripe_double.faults import Fault, FaultPlan
from tests.stripe_double.fields import filled, many
from tests.stripe_double.forms import decode_form, decode_json
from tests.stripe_double.idempotency import IdempotencyKeys, StoredAnswer
from tests.stripe_double.journal import Journal, JournalEntry
from tests.stripe_double.world import Call, Json, Route, World

EXPANSIONS_MAX = 20

_MODULES = (
    credit_notes,
    customers,
    disputes,
    intents,
    invoice_calls,
    meters,
    meters_v2,
    prices,
    subscription_calls,
)
_METER_EVENTS = {"/v1/billing/meter_events", "/v2/billing/meter_events"}
_EXPANSIONS = many(filled, most=EXPANSIONS_MAX)


class Headers(Mapping[str, str]):
    """Headers whose names have no case, as the SDK expects of an answer's."""

    def __init__(self, pairs: Mapping[str, str]) -> None:
        """Take them over."""
        self._pairs = {name.lower(): value for name, value in pairs.items()}

    def __getitem__(self, name: str) -> str:
        """Give a header's value."""
        return self._pairs[name.lower()]

    def __contains__(self, name: object) -> bool:
        """Tell whether there is one."""
        return isinstance(name, str) and name.lower() in self._pairs

    def __iter__(self) -> Iterator[str]:
        """Give the names in lower case."""
        return iter(self._pairs)

    def __len__(self) -> int:
        """Count them."""
        return len(self._pairs)


class Request(NamedTuple):
    """As it arrives; `query` without the question mark."""

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    body: str
    headers: Headers


class Account:
    """What requests share: the account's state, keys, faults and journal."""

    def __init__(self, world: World, secret_key: str, faults: FaultPlan) -> None:
        """Take no request yet."""
        self.world = world
        self.faults = faults
        self.journal = Journal()
        self.keys = IdempotencyKeys()
        # Customers and meters of whom a report is under way.
        self.busy: set[tuple[str, str]] = set()
        self._authorization = f"Bearer {secret_key}"
        self._routes: dict[tuple[str, int], list[tuple[tuple[str, ...], Route]]] = {}
        for module in _MODULES:
            for route in module.ROUTES:
                parts = tuple(route.path.split("/"))
                self._routes.setdefault((route.method, len(parts)), []).append((parts, route))

    def route_of(self, method: str, path: str) -> tuple[Route, tuple[str, ...]]:
        """Give the call of a path and the names in it, else refuse with 404."""
        # The SDK writes an empty ID so; Stripe takes it for the list, too.
        given = path.rstrip("/").split("/")
        for parts, route in self._routes.get((method, len(given)), ()):
            if all(part in {"{}", one} for part, one in zip(parts, given, strict=True)):
                names = [one for part, one in zip(parts, given, strict=True) if part == "{}"]
                return route, tuple(unquote(name) for name in names)
        raise StripeError(404, f"Unrecognized request URL ({method}: {path}).", stored=False)

    def require_key(self, request: Request) -> None:
        """Refuse a wrong key to the API; it is not repeated in the answer."""
        if request.path == meters_v2.STREAM_PATH:
            return  # it has tokens of its own
        if request.headers.get("authorization") != self._authorization:
            raise StripeError(401, "Invalid API Key provided: sk_test_********", stored=False)


class Exchange:
    """`finish` executes the request; until then it is under way, and others may find it busy."""

    def __init__(self, account: Account, request: Request) -> None:
        """Take a request in: what is refused before execution is decided here."""
        self._account = account
        self._request = request
        self._held_key: str | None = None
        self._busy: tuple[str, str] | None = None
        self._ready: Answer | None = None
        self._told: StoredAnswer | None = None
        self._entry = self._note()
        self._fault = account.faults.strike(
            request.method, request.path, request.body.decode(errors="replace")
        )
        self._entry.fault = self._fault
        self._parameters: Json = {}
        self._tree: Tree = {}
        if self._fault in {Fault.UNREACHABLE, Fault.TIMEOUT}:
            return
        try:
            self._prepare()
        except StripeError as refusal:
            self._ready = self._refused(refusal)
            self._release(None)

    def _note(self) -> JournalEntry:
        request, journal = self._request, self._account.journal
        is_form = request.path.startswith("/v1/")
        encoded = request.body.decode() if request.method == "POST" and is_form else request.query
        entry = JournalEntry(
            len(journal) + 1,
            self._account.world.clock.now_ms,
            request.method,
            request.path,
            {},
            encoded,
            request.headers.get("stripe-version"),
            request.headers.get("idempotency-key") if request.method == "POST" else None,
            f"req_Double{len(journal) + 1:06d}",
        )
        journal.append(entry)
        return entry

    def _prepare(self) -> None:
        account, request, entry = self._account, self._request, self._entry
        account.require_key(request)
        _refuse_by_fault(self._fault)
        is_json = request.path.startswith("/v2/") and request.method == "POST"
        given = decode_json(request.body) if is_json else decode_form(entry.encoded)
        entry.parameters = dict(given)
        self._route, self._names = account.route_of(request.method, request.path)
        if entry.idempotency_key is not None:
            asked = f"{request.method} {request.path} {json.dumps(given, sort_keys=True)}"
            now = account.world.now
            self._told = account.keys.take(entry.idempotency_key, asked, now)
            if self._told is not None:
                self._ready = self._replayed(self._told)
                return
            self._held_key = asked
        self._tree = tree_of(_EXPANSIONS(given.pop("expand", []), "expand"))
        self._parameters = self._route.check(given, "")
        if request.path in _METER_EVENTS:
            self._hold_meter()

    def _hold_meter(self) -> None:
        """Refuse a second report of one customer to one meter while the first is under way."""
        name, payload = self._parameters["event_name"], self._parameters["payload"]
        named = [one for one in self._account.world.meters.values() if one.event_name == name]
        key = named[-1].customer_key if named else ""
        busy = (name, payload.get(key, ""))
        if busy in self._account.busy:
            raise StripeError(
                429,
                "Another meter event of this customer and meter is being processed.",
                code="lock_timeout",
                stored=False,
            )
        self._account.busy.add(busy)
        self._busy = busy

    def finish(self) -> Answer:
        """Execute the request and give the answer, or raise `NoAnswer`."""
        if self._fault is Fault.UNREACHABLE:
            raise Unreachable("the connection was refused")
        if self._fault is Fault.TIMEOUT:
            raise TimedOut("nobody answered in time")
        answer = self._ready
        if answer is None and self._fault is Fault.STILL_RUNNING:
            world = self._account.world
            world.clock.at(world.now + world.settings.running_seconds, self._finish_late)
            answer = self._refused(StripeError(504, "The request timed out", stored=False))
        elif answer is None:
            try:
                answer = self._execute()
            finally:
                self._release(None)
        if self._fault is Fault.ANSWER_LOST:
            raise AnswerLost("the connection was closed before the answer")
        if self._fault is Fault.TIMEOUT_AFTER:
            raise TimedOut("nobody answered in time")
        self._entry.status = answer.status
        return answer

    def _finish_late(self) -> None:
        try:
            self._execute()
        finally:
            self._release(None)

    async def finish_in_turn(self) -> Answer:
        """Let others have their turns first; what was sent takes effect even if nobody waits."""
        try:
            for _ in range(self._account.world.settings.turns_in_flight):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            with contextlib.suppress(NoAnswer):
                self.finish()
            raise
        return self.finish()

    def _execute(self) -> Answer:
        entry, world = self._entry, self._account.world
        if self._fault is Fault.SERVER_ERROR:
            answer = self._refused(_broken())
            self._store(answer)
            return answer
        world.events.cause = (entry.request_id, entry.idempotency_key)
        token = (self._request.headers.get("authorization") or "").removeprefix("Bearer ")
        call = Call(self._parameters, self._names, self._request.path, token)
        stored = True
        try:
            told = self._route.handler(world, call)
            entry.executed = True
            expand(world, told, self._tree)
            answer = self._answer(200, told)
        except StripeError as refusal:
            answer = self._refused(refusal)
            stored = refusal.stored
        finally:
            world.events.cause = None
        if self._fault is Fault.SERVER_ERROR_AFTER:
            answer = self._refused(_broken())
        if stored:
            self._store(answer)
        return answer

    def _store(self, answer: Answer) -> None:
        # API v2 executes a request again that failed; v1 tells what it told.
        if self._request.path.startswith("/v2/") and answer.status >= 300:
            return
        entry = self._entry
        if self._held_key is not None and entry.idempotency_key is not None:
            now = self._account.world.now
            self._release(
                StoredAnswer(self._held_key, now, answer.status, answer.body, entry.request_id)
            )

    def _release(self, stored: StoredAnswer | None) -> None:
        if self._held_key is not None and self._entry.idempotency_key is not None:
            self._account.keys.release(self._entry.idempotency_key, stored)
            self._held_key = None
        if self._busy is not None:
            self._account.busy.discard(self._busy)
            self._busy = None

    def _refused(self, refusal: StripeError) -> Answer:
        self._entry.code = refusal.code
        return self._answer(refusal.status, refusal.body(), refusal.headers)

    def _replayed(self, stored: StoredAnswer) -> Answer:
        self._entry.replayed = True
        headers = {"Idempotent-Replayed": "true", "Original-Request": stored.request_id}
        return self._made(stored.status, stored.body, headers)

    def _answer(self, status: int, told: Json, headers: Mapping[str, str] | None = None) -> Answer:
        return self._made(status, json.dumps(told, separators=(",", ":")), headers or {})

    def _made(self, status: int, body: str, more: Mapping[str, str]) -> Answer:
        entry = self._entry
        if self._account.world.settings.keeps_answers:
            entry.told = body
        headers = {"Content-Type": "application/json", "Request-Id": entry.request_id}
        if entry.stripe_version is not None:
            headers["Stripe-Version"] = entry.stripe_version
        if entry.idempotency_key is not None:
            headers["Idempotency-Key"] = entry.idempotency_key
        if status in {500, 504} and self._account.world.settings.server_errors_are_final:
            headers["Stripe-Should-Retry"] = "false"
        return Answer(status, body, Headers({**headers, **more}))


def _broken() -> StripeError:
    return StripeError(500, "An unknown error occurred")


def _refuse_by_fault(fault: Fault | None) -> None:
    if fault is Fault.CONFLICT:
        raise StripeError(409, "This object is in use.", code="lock_timeout", stored=False)
    if fault is Fault.REFUSED:
        raise StripeError(400, "Not this one.", code="parameter_invalid", stored=False)
    if fault in {Fault.RATE_LIMITED, Fault.RATE_LIMITED_RETRY}:
        retry = {"Stripe-Should-Retry": "true"} if fault is Fault.RATE_LIMITED_RETRY else None
        raise StripeError(
            429, "Request rate limit exceeded.", code="rate_limit", stored=False, headers=retry
        )
