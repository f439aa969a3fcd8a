"""The way to the service: one channel a command, and its errors as one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from cli.exits import FAILED, UNREACHABLE, USAGE, CommandFailed
from cli.values import printable
from usage.v1.usage_pb2_grpc import UsageServiceStub
from usage_ledger.v1.admin_pb2_grpc import AdminServiceStub
from usage_ledger.v1.publishing_pb2_grpc import PublishingServiceStub
from usage_ledger.v1.queries_pb2_grpc import QueryServiceStub

# A read that takes longer is stuck: it costs the same however large the ledger is.
READ_SECONDS = 30.0
# A write waits its turn behind what is being published.
WRITE_SECONDS = 60.0
# 10,000 rejects with their reasons, or a page of 1,000 entries with texts of 4 KiB.
ANSWER_BYTES_MAX = 32 << 20

_EXIT_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: USAGE,
    grpc.StatusCode.UNAVAILABLE: UNREACHABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: UNREACHABLE,
}
# How gRPC words that nobody listens; a service that is up words its own refusals.
_NOBODY_THERE = ("failed to connect", "DNS resolution failed", "name resolution")


class Services:
    """The service's four faces over one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.usage = UsageServiceStub(channel)
        self.queries = QueryServiceStub(channel)
        self.admin = AdminServiceStub(channel)
        self.publishing = PublishingServiceStub(channel)


@contextmanager
def connected(target: str) -> Iterator[Services]:
    """Opens the channel; turns a gRPC error inside into CommandFailed."""
    if ":" not in target:
        raise CommandFailed(
            f'--target is "{printable(target)}", but it must be HOST:PORT, such as 127.0.0.1:9001.',
            exit_code=USAGE,
        )
    options = [
        ("grpc.max_receive_message_length", ANSWER_BYTES_MAX),
        # A proxy for the web would be asked for 127.0.0.1 too, and refuse.
        ("grpc.enable_http_proxy", 0),
    ]
    with grpc.insecure_channel(target, options=options) as channel:
        try:
            yield Services(channel)
        except grpc.RpcError as error:
            raise failure(error, target) from None


def failure(error: grpc.RpcError, target: str) -> CommandFailed:
    """The error as `NAME: message` and an exit code."""
    call: Any = error  # every error that a call raises is that call, too
    code, details = call.code(), call.details() or "the service gave no reason"
    if code is grpc.StatusCode.UNAVAILABLE and any(sign in details for sign in _NOBODY_THERE):
        details = (
            f"no service answers at {target}; start one with `usage-ledger serve`, "
            "or name its address with --target"
        )
    return CommandFailed(
        f"{code.name}: {printable(details)}", exit_code=_EXIT_CODES.get(code, FAILED)
    )
