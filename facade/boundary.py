"""The edge of the service: bytes in, bytes out, and one table from errors to gRPC status codes.

Handlers take bytes and decode them themselves: the library answers malformed protobuf and crashes
alike with UNKNOWN and the text of a Python exception.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from ledger.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    LedgerError,
    NotFoundError,
    UnavailableError,
)
from ledger.patience import current, patience_of
from ledger.views import StoreUnavailableError

# Trailing metadata of an answer to a change that reads may not show yet.
POSITION_METADATA = "usage-ledger-position"

CODES: dict[type[LedgerError], grpc.StatusCode] = {
    InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
}

Context = grpc.aio.ServicerContext[Any, Any]
Request = TypeVar("Request", bound=Message)
Unary = Callable[[Any, Context], Awaitable[Message]]
Streaming = Callable[[AsyncIterator[Any], Context], AsyncIterator[Message]]
Answering = Callable[[Any, Context], AsyncIterator[Message]]

log = logging.getLogger(__name__)


class UnimplementedError(Exception):
    """The call is known but cannot be served as the service is configured."""


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


async def _refuse(context: Context, error: Exception) -> None:
    """End the call with the status that an error stands for."""
    if isinstance(error, LedgerError):
        await context.abort(_code_of(error), str(error))
    if isinstance(error, UnimplementedError):
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, str(error))
    if isinstance(error, StoreUnavailableError):
        log.error("the store cannot be read: %s", error)
        await context.abort(
            grpc.StatusCode.UNAVAILABLE, "the ledger cannot be read now; try again later"
        )
    request_id = uuid.uuid4().hex
    log.error("request %s failed", request_id, exc_info=error)
    await context.abort(
        grpc.StatusCode.INTERNAL,
        f"something went wrong; the service's log has it under request id {request_id}",
    )


def _is_abort(error: Exception) -> bool:
    return isinstance(error, grpc.aio.AbortError)


@contextlib.contextmanager
def _waiting(context: Context, *, patient: bool) -> Iterator[None]:
    """Let what the call changes become visible, until near its deadline.

    What is durable and not visible by then is told in trailing metadata: `shard:position`.
    """
    patience = patience_of(context.time_remaining(), patient=patient)
    current.set(patience)  # never set back: every call runs in a task of its own
    yield
    if patience.unfolded:
        context.set_trailing_metadata(
            tuple(
                (POSITION_METADATA, f"{shard}:{position}")
                for shard, position in sorted(patience.unfolded.items())
            )
        )


def unary(
    request_type: type[Message], handle: Unary, *, patient: bool = False
) -> grpc.RpcMethodHandler[bytes, bytes]:
    """Serve one request with one answer.

    A patient call without a deadline waits as long as it takes for its change to be visible.
    """

    async def serve(raw: bytes, context: Context) -> bytes:
        try:
            with _waiting(context, patient=patient):
                answer = await handle(decode(request_type, raw), context)
            return answer.SerializeToString()
        except Exception as error:
            if _is_abort(error):
                raise
            await _refuse(context, error)
            raise

    return grpc.unary_unary_rpc_method_handler(serve)


def answering(
    request_type: type[Message], handle: Answering
) -> grpc.RpcMethodHandler[bytes, bytes]:
    """Serve one request with a stream of answers."""

    async def serve(raw: bytes, context: Context) -> AsyncIterator[bytes]:
        try:
            async for answer in handle(decode(request_type, raw), context):
                yield answer.SerializeToString()
        except Exception as error:
            if _is_abort(error):
                raise
            await _refuse(context, error)
            raise

    return grpc.unary_stream_rpc_method_handler(serve)


def streaming(
    request_type: type[Message], handle: Streaming
) -> grpc.RpcMethodHandler[bytes, bytes]:
    """Serve a stream of requests with a stream of answers."""

    async def serve(raws: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        async def requests() -> AsyncIterator[Message]:
            async for raw in raws:
                yield decode(request_type, raw)

        try:
            with _waiting(context, patient=True):
                async for answer in handle(requests(), context):
                    yield answer.SerializeToString()
        except Exception as error:
            if _is_abort(error):
                raise
            await _refuse(context, error)
            raise

    return grpc.stream_stream_rpc_method_handler(serve)


def author_of(context: Context, operator: str) -> str:
    """Name who calls: on loopback the service's own user, else nobody that was authenticated."""
    peer: str = context.peer()
    if peer.startswith(("ipv4:127.", "ipv6:[::1]", "ipv6:%5B::1%5D", "unix:")):
        return operator
    return "unauthenticated"
