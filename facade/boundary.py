"""The edge of the service: bytes in, bytes out, and one table from errors to gRPC status codes.

Every call passes here: who calls and whether they may, what is counted and traced, how long it
waits, and what is told of an error. Handlers take bytes and decode them themselves: the library
answers malformed protobuf and crashes alike with UNKNOWN and the text of a Python exception.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from facade.access import NEEDED, Access, names_in_auth_context
from facade.metrics import BIDI_STREAM, SERVER_STREAM, UNARY, CallCounts, MethodCounts
from facade.tokens import Role
from ledger import tracing
from ledger.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    LedgerError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    TroubleError,
    UnauthenticatedError,
    UnavailableError,
)
from ledger.patience import current, patience_of
from ledger.views import StoreUnavailableError, UnreadableEventError

# Trailing metadata of an answer to a change that reads may not show yet.
POSITION_METADATA = "usage-ledger-position"

CODES: dict[type[LedgerError], grpc.StatusCode] = {
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    OutcomeUnknownError: grpc.StatusCode.DEADLINE_EXCEEDED,
    TroubleError: grpc.StatusCode.INTERNAL,
}
# What is our own failure in a trace; the others are the caller's.
_OUR_FAILURES = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
_NUMBERS = {code.name: code.value[0] for code in grpc.StatusCode}
AUTHORIZATION = "authorization"
# A status travels in trailers. Clients take 8 KiB of them, and of more hear that the stream broke.
SENTENCE_BYTES_MAX = 4_096
_SIGN_BYTES_MAX = 12  # four bytes, each told as %XX

Context = grpc.aio.ServicerContext[Any, Any]
Request = TypeVar("Request", bound=Message)
Item = TypeVar("Item")
Unary = Callable[[Any, Context], Awaitable[Message]]
Streaming = Callable[[AsyncIterator[Any], Context], AsyncIterator[Message]]
Answering = Callable[[Any, Context], AsyncIterator[Message]]

log = logging.getLogger(__name__)

_ALL_ROLES = frozenset(Role)  # whoever calls has them where nobody is asked who calls
# Who calls, as authenticated. Never set back: every call runs in a task of its own.
_caller: ContextVar[str] = ContextVar("caller", default="")
_roles: ContextVar[frozenset[Role]] = ContextVar("roles", default=frozenset())


class UnimplementedError(Exception):
    """The call is known but cannot be served as the service is configured."""


class Call(NamedTuple):
    """A method as its module describes it; the boundary makes a handler of it."""

    kind: str  # how many requests and answers
    request_type: type[Message]
    handle: Callable[[Any, Context], Any]
    # Without a deadline it waits as long as it takes for its change to be visible.
    patient: bool = False


class Calls(NamedTuple):
    """The methods of a service."""

    service: str
    methods: Mapping[str, Call]


def unary(request_type: type[Message], handle: Unary, *, patient: bool = False) -> Call:
    """Serve one request with one answer."""
    return Call(UNARY, request_type, handle, patient)


def answering(request_type: type[Message], handle: Answering) -> Call:
    """Serve one request with a stream of answers."""
    return Call(SERVER_STREAM, request_type, handle)


def streaming(request_type: type[Message], handle: Streaming) -> Call:
    """Serve a stream of requests with a stream of answers."""
    return Call(BIDI_STREAM, request_type, handle, patient=True)


def decode(request_type: type[Request], raw: bytes) -> Request:
    """Decode a request or say that it is malformed."""
    request = request_type()
    try:
        request.ParseFromString(raw)
    except DecodeError:
        raise InvalidArgumentError(
            f"the request is not a {request_type.DESCRIPTOR.full_name}: malformed protobuf"
        ) from None
    return request


def _code_of(error: LedgerError) -> grpc.StatusCode:
    """Look for the error's own class first, then for the one that it is a kind of."""
    kinds = (CODES.get(kind) for kind in type(error).__mro__ if issubclass(kind, LedgerError))
    return next(filter(None, kinds), grpc.StatusCode.INTERNAL)


def status_of(error: Exception) -> tuple[grpc.StatusCode, str]:
    """Give the status that an error stands for, and what the caller is told."""
    code, sentence = _status_of(error)
    return code, _fitting(sentence)


def _fitting(sentence: str) -> str:
    """Cut a sentence to what trailers hold, where a byte that is no visible ASCII takes three."""
    sentence = sentence.encode(errors="backslashreplace").decode()  # half a sign cannot be sent
    if len(sentence) * _SIGN_BYTES_MAX <= SENTENCE_BYTES_MAX:
        return sentence
    room = SENTENCE_BYTES_MAX
    for place, sign in enumerate(sentence):
        room -= 1 if " " <= sign <= "~" and sign != "%" else 3 * len(sign.encode())
        if room < 0:
            return sentence[:place] + "…"
    return sentence


def _status_of(error: Exception) -> tuple[grpc.StatusCode, str]:
    if isinstance(error, LedgerError):
        return _code_of(error), str(error)
    if isinstance(error, UnimplementedError):
        return grpc.StatusCode.UNIMPLEMENTED, str(error)
    if isinstance(error, StoreUnavailableError):
        log.error("the store cannot be read: %s", error)
        return (
            grpc.StatusCode.UNAVAILABLE,
            "the ledger cannot be read now; try again later",
        )
    if isinstance(error, UnreadableEventError):
        log.error("the log holds what only a newer version can read: %s", error)
        return (
            grpc.StatusCode.UNAVAILABLE,
            "the log holds what only a newer version of the service can read; try again later",
        )
    request_id = uuid.uuid4().hex
    log.error("request %s failed", request_id, exc_info=error)
    return (
        grpc.StatusCode.INTERNAL,
        f"something went wrong; the service's log has it under request id {request_id}",
    )


class Boundary:
    """Makes handlers of calls."""

    def __init__(self, access: Access, counts: CallCounts) -> None:
        """Let in whom `access` lets in."""
        self._access = access
        self._counts = counts

    def handlers(self, calls: Calls) -> grpc.GenericRpcHandler:
        """Give a service's handlers; each of its methods must be in the table of roles."""
        handlers = {}
        for name, call in calls.methods.items():
            path = f"/{calls.service}/{name}"
            assert path in NEEDED, f"facade/access.py does not say who may call {path}"
            door = _Door(path, self._access, self._counts.of(call.kind, calls.service, name))
            handlers[name] = _HANDLERS[call.kind](call, door)
        return grpc.method_handlers_generic_handler(calls.service, handlers)


class _Door:
    """Where every call of one method comes in."""

    def __init__(self, path: str, access: Access, counts: MethodCounts) -> None:
        self.path = path
        self.counts = counts
        self._access = access
        self.is_open = access.is_open

    def admit(self, context: Context) -> None:
        """Find out who calls; UnauthenticatedError or PermissionDeniedError if they may not."""
        if self.is_open:
            _roles.set(_ALL_ROLES)
            return
        authorization = next((text for key, text in _texts(context) if key == AUTHORIZATION), None)
        caller = self._access.admit(
            self.path, authorization, lambda: names_in_auth_context(context.auth_context())
        )
        _caller.set(caller.name)
        _roles.set(caller.roles)

    def while_admitted(self, items: AsyncIterator[Item], context: Context) -> AsyncIterator[Item]:
        """Pass a stream on; look again who calls whenever it has changed who may."""
        return items if self.is_open else self._watched(items, context)

    async def _watched(self, items: AsyncIterator[Item], context: Context) -> AsyncIterator[Item]:
        changes = self._access.changes
        async for item in items:
            if self._access.changes != changes:
                changes = self._access.changes
                self.admit(context)
            yield item


class _Visit:
    """One call, from when it came in to when it was answered: counted, traced and waited for."""

    __slots__ = ("_began", "_code", "_context", "_door", "_patience", "_span", "_trace")

    def __init__(self, door: _Door, context: Context, *, patient: bool) -> None:
        self._door = door
        self._context = context
        self._code = "OK"
        self._began = time.perf_counter()
        door.counts.begin()
        self._trace: AbstractContextManager[tracing.Span] | None = None
        self._span: tracing.Span | None = None
        if tracing.current().is_on:
            self._begin_trace()
        self._patience = patience_of(context.time_remaining(), patient=patient)
        current.set(self._patience)  # never set back: every call runs in a task of its own

    def _begin_trace(self) -> None:
        service, _, method = self._door.path[1:].partition("/")
        self._trace = tracing.current().serving(
            self._door.path[1:],
            dict(_texts(self._context)),
            **{"rpc.system": "grpc", "rpc.service": service, "rpc.method": method},
        )
        self._span = self._trace.__enter__()

    def failed(self, error: BaseException) -> tuple[grpc.StatusCode, str] | None:
        """Give what is to be told of an error; None when nobody listens, or it is told already."""
        if isinstance(error, grpc.aio.AbortError):
            self._code = self._context.code().name
            return None
        if not isinstance(error, Exception):  # the call was cancelled, or its time is over
            remaining: float | None = self._context.time_remaining()
            is_over = remaining is not None and remaining <= 0
            self._code = "DEADLINE_EXCEEDED" if is_over else "CANCELLED"
            return None
        status = status_of(error)
        self._code = status[0].name
        return status

    def tell_unfolded(self) -> None:
        """Tell in trailing metadata what is durable and not yet visible: `shard:position`."""
        if self._patience.unfolded:
            positions = (
                (POSITION_METADATA, f"{shard}:{position}")
                for shard, position in sorted(self._patience.unfolded.items())
            )
            told = self._context.trailing_metadata() or ()
            self._context.set_trailing_metadata((*told, *positions))

    def end(self) -> None:
        """Count the answer."""
        self._door.counts.end(self._code, time.perf_counter() - self._began)
        if self._trace is not None and self._span is not None:
            self._span.set("rpc.grpc.status_code", _NUMBERS[self._code])
            if self._code in _OUR_FAILURES:
                self._span.fail(self._code)
            self._trace.__exit__(None, None, None)


def _unary(call: Call, door: _Door) -> grpc.RpcMethodHandler[bytes, bytes]:
    async def serve(raw: bytes, context: Context) -> bytes:
        visit = _Visit(door, context, patient=call.patient)
        try:
            door.admit(context)
            answer: Message = await call.handle(decode(call.request_type, raw), context)
            visit.tell_unfolded()
            return answer.SerializeToString()
        except BaseException as error:
            status = visit.failed(error)
            if status is not None:
                await context.abort(*status)
            raise
        finally:
            visit.end()

    return grpc.unary_unary_rpc_method_handler(serve)


def _answering(call: Call, door: _Door) -> grpc.RpcMethodHandler[bytes, bytes]:
    async def serve(raw: bytes, context: Context) -> AsyncIterator[bytes]:
        visit = _Visit(door, context, patient=call.patient)
        try:
            door.admit(context)
            answers = call.handle(decode(call.request_type, raw), context)
            async for answer in door.while_admitted(answers, context):
                yield answer.SerializeToString()
        except BaseException as error:
            status = visit.failed(error)
            if status is not None:
                await context.abort(*status)
            raise
        finally:
            visit.end()

    return grpc.unary_stream_rpc_method_handler(serve)


def _streaming(call: Call, door: _Door) -> grpc.RpcMethodHandler[bytes, bytes]:
    async def serve(raws: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        async def requests() -> AsyncIterator[Message]:
            async for raw in door.while_admitted(raws, context):
                yield decode(call.request_type, raw)

        visit = _Visit(door, context, patient=call.patient)
        try:
            door.admit(context)
            async for answer in call.handle(requests(), context):
                yield answer.SerializeToString()
            visit.tell_unfolded()
        except BaseException as error:
            status = visit.failed(error)
            if status is not None:
                await context.abort(*status)
            raise
        finally:
            visit.end()

    return grpc.stream_stream_rpc_method_handler(serve)


_HANDLERS: dict[str, Callable[[Call, _Door], grpc.RpcMethodHandler[bytes, bytes]]] = {
    UNARY: _unary,
    SERVER_STREAM: _answering,
    BIDI_STREAM: _streaming,
}


def _texts(context: Context) -> Iterator[tuple[str, str]]:
    for key, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            yield key, value


def author_of(context: Context, operator: str) -> str:
    """Name who calls: as authenticated, else on loopback the service's own user, else nobody."""
    peer: str = context.peer()
    is_local = peer.startswith(("ipv4:127.", "ipv6:[::1]", "ipv6:%5B::1%5D", "unix:"))
    return author(_caller.get(), operator, is_local=is_local)


def shown_reason(reason: str) -> str:
    """Give why an operator did something, to who does such things or examines them; else nothing.

    It is a remark in free words, and may be about a person.
    """
    return reason if _roles.get() & {Role.ADMIN, Role.AUDIT} else ""


def author(name: str, operator: str, *, is_local: bool) -> str:
    """Name the author of a change; who was not asked for a name has an empty one."""
    return name or (operator if is_local else "unauthenticated")
