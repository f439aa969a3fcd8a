"""What the tests of the calls say over and over: ask, publish, and read the log back."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from ledger.facts import FACT_STREAMS
from tests.harness import Calls, InProcessService, ManualClock
from tests.oracle import instant
from tests.oracle.events import instance_event, line_of, named_uuid, payer_of
from usage.v1 import usage_pb2 as pb
from usage_ledger.v1 import admin_pb2, queries_pb2

PAYER: Final = payer_of("acme")
RIVAL: Final = payer_of("rival")
USER: Final = named_uuid("user", "ann")
STRIPE: Final = pb.CostCenter.BILLING_STRATEGY_STRIPE
OTHER: Final = pb.CostCenter.BILLING_STRATEGY_OTHER
INVALID: Final = grpc.StatusCode.INVALID_ARGUMENT
UNAVAILABLE: Final = grpc.StatusCode.UNAVAILABLE

# Everything that the contract calls malformed.
BAD_UUIDS: Final = (
    "7",
    "11111111-1111-1111-1111-11111111111",
    "11111111-1111-1111-1111-1111111111111",
    "g1111111-1111-1111-1111-111111111111",
    "{11111111111111111111111111111111}",
    "{11111111-1111-1111-1111-111111111111",
    "urn:uuid:11111111-1111-1111-1111-111111111111",
    "1111-1111111111111111-1111-111111111111",
    " 11111111-1111-1111-1111-111111111111",
    "11111111-1111-1111-1111-111111111111\n",
    "１1111111-1111-1111-1111-111111111111",  # noqa: RUF001  # a digit of another script
)
BAD_ATTRIBUTIONS: Final = (
    "",
    "team",
    "team:",
    ":" + "1" * 32,
    "Team:" + "1" * 32,
    "user:" + "1" * 32,
    "team:" + "1" * 32 + ":",
    "team:team:" + "1" * 32,
    " team:" + "1" * 32,
    *("team:" + uuid for uuid in BAD_UUIDS),
)

_Answer = TypeVar("_Answer")


def stamp(text: str) -> Timestamp:
    """A timestamp of an RFC 3339 text, to the nanosecond."""
    made = Timestamp()
    made.FromJsonString(text)
    return made


def text(time: Timestamp) -> str:
    """RFC 3339 in UTC."""
    return time.ToJsonString()


@contextmanager
def refused(code: grpc.StatusCode, *words: str) -> Iterator[None]:
    """Expect a status with these words in its text, and nothing of Python's in it."""
    with pytest.raises(grpc.RpcError) as caught:
        yield
    details = caught.value.details() or ""
    assert code == caught.value.code(), details
    for word in words:
        assert word in details
    assert "Traceback" not in details
    assert "Error" not in details


def together(count: int, act: Callable[[int], _Answer]) -> list[_Answer]:
    """Do it in so many threads at the same moment; raise the first failure."""
    start = threading.Barrier(count)

    def one(number: int) -> _Answer:
        start.wait()
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def get_cost_center(calls: Calls, payer: str = PAYER) -> pb.CostCenter:
    return calls.usage.GetCostCenter(pb.GetCostCenterRequest(attribution_id=payer)).cost_center


def set_cost_center(
    calls: Calls,
    payer: str = PAYER,
    *,
    limit: int = 0,
    strategy: pb.CostCenter.BillingStrategy.ValueType = OTHER,
) -> pb.CostCenter:
    wanted = pb.CostCenter(attribution_id=payer, spending_limit=limit, billing_strategy=strategy)
    return calls.usage.SetCostCenter(pb.SetCostCenterRequest(cost_center=wanted)).cost_center


def add_note(
    calls: Calls,
    credits_given: int,
    *,
    payer: str = PAYER,
    description: str = "sorry",
    user: str = "",
    key: str | None = None,
) -> None:
    """Add a credit note; negative credits are a debit."""
    calls.usage.AddUsageCreditNote(
        pb.AddUsageCreditNoteRequest(
            attribution_id=payer, credits=credits_given, description=description, user_id=user
        ),
        metadata=None if key is None else (("idempotency-key", key),),
    )


def owe(calls: Calls, credits_owed: int, *, payer: str = PAYER) -> None:
    """Let the payer owe so many credits more."""
    add_note(calls, -credits_owed, payer=payer, description="consumed")


def list_usage(calls: Calls, payer: str = PAYER, **fields: Any) -> pb.ListUsageResponse:
    """ListUsage; `start` and `end` are RFC 3339 texts, `page` and `per_page` the pagination."""
    request = pb.ListUsageRequest(attribution_id=payer)
    for name, field in (("start", "from"), ("end", "to")):
        if name in fields:
            getattr(request, field).CopyFrom(stamp(fields.pop(name)))
    for name in ("page", "per_page"):
        if name in fields:
            setattr(request.pagination, name, fields.pop(name))
    for name, value in fields.items():
        setattr(request, name, value)
    return calls.usage.ListUsage(request)


def believe(calls: Calls, clock: ManualClock, time: str) -> None:
    """Set the clock, however far, and confirm it, so that resets are not held."""
    clock.set(time)
    calls.admin.ConfirmReset(admin_pb2.ConfirmResetRequest())


def reset(calls: Calls) -> None:
    calls.usage.ResetUsage(pb.ResetUsageRequest())


def run_lines(
    name: object,
    start: str,
    *,
    stopping: str = "",
    stopped: str = "",
    payer: str = PAYER,
    user: str = "",
    workspace_class: str = "",
) -> list[bytes]:
    """The events of one workspace instance."""
    instance_id = named_uuid("instance", name)
    more = {"workspaceId": f"ws-{name}", "workspaceClass": workspace_class, "userId": user}
    event = instance_event(
        "started", instant(start), instance_id=instance_id, payer=payer, more=more
    )
    lines = [line_of(event)]
    if stopping:
        at = instant(stopping)
        lines.append(line_of(instance_event("stopping", at, instance_id=instance_id, payer=payer)))
    if stopped:
        at = instant(stopped)
        lines.append(line_of(instance_event("stopped", at, instance_id=instance_id, payer=payer)))
    return lines


def run(calls: Calls, name: object, start: str, **fields: str) -> None:
    """Publish the events of one workspace instance; all must be recorded."""
    lines = run_lines(name, start, **fields)
    receipt = calls.publish(lines)
    assert (len(lines), []) == (receipt.recorded, list(receipt.rejects))


def names_of(entries: Sequence[pb.Usage]) -> list[str]:
    """The workspace ids of entries, as `run` named them."""
    return [json.loads(entry.metadata)["workspaceId"].removeprefix("ws-") for entry in entries]


def invoices(calls: Calls, payer: str = PAYER) -> list[int]:
    """Cents of a payer's invoice entries, oldest first."""
    entries = calls.entries(payer)
    kind = queries_pb2.ENTRY_KIND_INVOICE
    return [entry.credit_cents for entry in reversed(entries) if entry.kind == kind]


def log_of(calls: Calls, topic: str = "") -> list[queries_pb2.LogEvent]:
    """The recorded events of a topic, or all, in the order of the log, shard by shard.

    Of facts for everybody there is one in each shard; those of the first are given.
    """
    events = [
        event
        for shard in range(len(status(calls).heads))
        for answer in calls.queries.TailLog(
            queries_pb2.TailLogRequest(from_position=1, shard=shard)
        )
        for event in answer.events
        if shard == 0 or event.stream not in FACT_STREAMS
    ]
    return [event for event in events if topic in {"", event.topic}]


def status(calls: Calls) -> queries_pb2.GetStatusResponse:
    return calls.queries.GetStatus(queries_pb2.GetStatusRequest())


def head(calls: Calls) -> int:
    """How many events the logs hold."""
    return sum(position.number for position in status(calls).heads)


def cost_centers(calls: Calls) -> list[str]:
    """The attribution IDs of all cost centers."""
    request = queries_pb2.ListCostCentersRequest(page_size=1000)
    return [
        details.cost_center.attribution_id
        for details in calls.queries.ListCostCenters(request).cost_centers
    ]


def ask_raw(calls: Calls, method: str, request: bytes, *, stream: bool = False) -> bytes:
    """Send bytes as they are to a method by its path; give the bytes of the (first) answer."""
    if stream:
        many = calls.channel.stream_stream(
            method, request_serializer=bytes, response_deserializer=bytes
        )
        return bytes(next(iter(many(iter([request])))))
    one = calls.channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
    return bytes(one(request))


def submit(service: InProcessService, act: Callable[[Any], Any], payer: str | None = None) -> Any:
    """Have the writer do something that no call does, where a payer lives or in the first shard."""
    shard = service.ledger.shards[0]
    if payer is not None:
        key = bytes.fromhex(payer.removeprefix("team:").replace("-", ""))
        shard = service.wait(service.ledger.placing.find(key))
    return service.wait(shard.command(act, "local:test"))
