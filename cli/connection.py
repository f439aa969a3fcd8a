"""The way to the service: one channel a command, and its errors as one sentence."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from cli import credentials
from cli.credentials import Credentials
from cli.exits import FAILED, UNREACHABLE, USAGE, CommandFailed
from cli.values import printable
from ledger.addresses import is_loopback
from usage.v1.billing_pb2_grpc import BillingServiceStub
from usage.v1.usage_pb2_grpc import UsageServiceStub
from usage_ledger.v1.admin_pb2_grpc import AdminServiceStub
from usage_ledger.v1.audit_pb2_grpc import AuditServiceStub
from usage_ledger.v1.billing_pb2_grpc import BillingStatusServiceStub
from usage_ledger.v1.publishing_pb2_grpc import PublishingServiceStub
from usage_ledger.v1.queries_pb2_grpc import QueryServiceStub

# A read that takes longer is stuck: it costs the same however large the ledger is.
READ_SECONDS = 30.0
# A write waits its turn behind what is being published.
WRITE_SECONDS = 60.0
# 10,000 rejects with their reasons, or a page of 1,000 entries with texts of 4 KiB.
ANSWER_BYTES_MAX = 32 << 20
# Said instead of a file: what gRPC trusts by itself.
SYSTEM_CA = "system"

_EXIT_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: USAGE,
    grpc.StatusCode.UNAVAILABLE: UNREACHABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: UNREACHABLE,
}
# How gRPC words that nobody listens; a service that is up words its own refusals.
_NOBODY_THERE = ("failed to connect", "DNS resolution failed", "name resolution")
# ... and that somebody listens, but TLS did not come about. The first that is found counts.
_NO_TLS = (
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not signed by one of --tls-ca"),
    ("Hostname Verification", "its certificate is for another host than this"),
    ("WRONG_VERSION_NUMBER", "it does not speak TLS: leave --tls-ca and --cert out"),
    (
        "Socket closed",
        "it ended the connection: it may want TLS (--tls-ca) or a certificate (--cert, --key)",
    ),
    ("andshake failed", "TLS failed: look at --tls-ca, --cert and --key"),
)


class Services:
    """The service's faces over one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.usage = UsageServiceStub(channel)
        self.queries = QueryServiceStub(channel)
        self.admin = AdminServiceStub(channel)
        self.audit = AuditServiceStub(channel)
        self.publishing = PublishingServiceStub(channel)
        self.billing = BillingServiceStub(channel)
        self.billing_status = BillingStatusServiceStub(channel)
        self.audit = AuditServiceStub(channel)


@contextmanager
def connected(target: str) -> Iterator[Services]:
    """Opens the channel; turns a gRPC error inside into CommandFailed."""
    if ":" not in target:
        raise CommandFailed(
            f'--target is "{printable(target)}", but it must be HOST:PORT, such as 127.0.0.1:9001.',
            exit_code=USAGE,
        )
    given = credentials.given()
    with _channel(target, given) as channel:
        try:
            yield Services(_with_token(channel, given.token()))
        except grpc.RpcError as error:
            raise failure(error, target) from None


def _channel(target: str, given: Credentials) -> grpc.Channel:
    options = [
        ("grpc.max_receive_message_length", ANSWER_BYTES_MAX),
        # A proxy for the web would be asked for 127.0.0.1 too, and refuse.
        ("grpc.enable_http_proxy", 0),
    ]
    if given.wants_tls:
        return grpc.secure_channel(target, _tls(given), options=options)
    if given.token_file is not None and not given.insecure:
        host = target.rpartition(":")[0].strip("[]")
        if not is_loopback(host):
            raise CommandFailed(
                f"The token would cross the network to {printable(host)} in the clear: say whose "
                "certificates to trust with --tls-ca, or --insecure.",
                exit_code=USAGE,
            )
    return grpc.insecure_channel(target, options=options)


def _tls(given: Credentials) -> grpc.ChannelCredentials:
    if (given.cert is None) != (given.key is None):
        raise CommandFailed("--cert and --key go together: give both.", exit_code=USAGE)
    roots = None
    if given.tls_ca is not None and given.tls_ca != SYSTEM_CA:
        roots = credentials.read(Path(given.tls_ca), "--tls-ca")
    return grpc.ssl_channel_credentials(
        roots,
        credentials.read(given.key, "--key") if given.key is not None else None,
        credentials.read(given.cert, "--cert") if given.cert is not None else None,
    )


def _with_token(channel: grpc.Channel, token: str) -> grpc.Channel:
    if not token:
        return channel
    return grpc.intercept_channel(channel, _Bearer(token))


class _Details(NamedTuple):
    """Implements `grpc.ClientCallDetails`, with more metadata."""

    method: str
    timeout: float | None
    metadata: Sequence[tuple[str, str | bytes]]
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Bearer(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Sends a token with every call."""

    def __init__(self, token: str) -> None:
        self._entry = ("authorization", f"Bearer {token}")

    def _more(self, details: Any) -> Any:
        return _Details(
            details.method,
            details.timeout,
            (*(details.metadata or ()), self._entry),
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._more(details), request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._more(details), request)

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        return continuation(self._more(details), requests)


def failure(error: grpc.RpcError, target: str) -> CommandFailed:
    """The error as `NAME: message` and an exit code."""
    call: Any = error  # every error that a call raises is that call, too
    code, details = call.code(), call.details() or "the service gave no reason"
    if code is grpc.StatusCode.UNAVAILABLE and any(sign in details for sign in _NOBODY_THERE):
        why = next((why for sign, why in _NO_TLS if sign in details), "")
        details = (
            f"somebody answers at {target}, but {why}"
            if why
            else f"no service answers at {target}; start one with `usage-ledger serve`, "
            "or name its address with --target"
        )
    return CommandFailed(
        f"{code.name}: {printable(details)}", exit_code=_EXIT_CODES.get(code, FAILED)
    )
