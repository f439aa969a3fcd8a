"""Lines of an import, and a scene that takes them."""

import json
from pathlib import Path
from typing import Any

from tests.contract.data.scene import PAYER, USER, Scene, at, instance
from tests.oracle.events import named_uuid
from usage_ledger.v1 import admin_pb2, publishing_pb2

Line = dict[str, Any]
CYCLE_START = "2026-10-15T00:00:00Z"


def terms(
    limit: int = 100,
    strategy: str = "other",
    start: str = CYCLE_START,
    due: str | None = "2026-11-15T00:00:00Z",
) -> Line:
    return {
        "spending_limit": limit,
        "billing_strategy": strategy,
        "created": start,
        "billing_cycle_start": start,
        "next_billing_time": due,
    }


def cost_center(*history: Line, payer: str = PAYER, name: str = "center") -> Line:
    versions = list(history) or [terms()]
    return {"kind": "cost_center", "id": name, "attribution_id": payer, "history": versions}


def member(
    user: str = USER,
    *,
    joined: str = "2026-01-05T10:00:00Z",
    payer: str = PAYER,
    **more: object,
) -> Line:
    organization = payer.removeprefix("team:")
    return {
        "kind": "member",
        "id": f"{organization}/{user}",
        "organization_id": organization,
        "user_id": user,
        "joined": joined,
        **more,
    }


def entry(
    cents: int,
    *,
    name: str = "a",
    kind: str = "workspace_instance",
    time: str = "10-20 12:00",
    payer: str = PAYER,
    draft: bool = False,
    metadata: Line | None = None,
    **more: object,
) -> Line:
    line = {
        "kind": "entry",
        "id": named_uuid("entry", kind, name),
        "attribution_id": payer,
        "entry_kind": kind,
        "credit_cents": cents,
        "effective_time": at(time),
        "draft": draft,
        "metadata": metadata or {},
    }
    if kind == "workspace_instance":
        line["workspace_instance_id"] = instance(name)
    return {**line, **more}


def times(start: str, end: str = "", stopped: str = "", **more: str) -> Line:
    """Metadata as the original's entries have it."""
    said = {"startTime": start, "endTime": end, "stoppedTime": stopped}
    return {name: at(text) if text else "" for name, text in said.items()} | more


def bytes_of(*lines: Line | bytes) -> bytes:
    return b"".join(
        (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines
    )


def written(path: Path, *lines: Line | bytes) -> Path:
    path.write_bytes(bytes_of(*lines))
    return path


def take_over(scene: Scene, *lines: Line | bytes, source: str = "old") -> publishing_pb2.Receipt:
    """Sends the lines in one request."""
    request = admin_pb2.ImportOpeningStateRequest(source=source, lines=bytes_of(*lines))
    (answer,) = scene.calls.admin.ImportOpeningState(iter([request]))
    return answer.receipt


def taken(scene: Scene, *lines: Line | bytes, source: str = "old") -> None:
    """Every line has to be recorded."""
    receipt = take_over(scene, *lines, source=source)
    assert (len(lines), len(lines)) == (receipt.received, receipt.recorded), receipt


def refused(scene: Scene, *lines: Line | bytes, source: str = "old") -> str:
    """Every line has to be rejected; the reason of the first."""
    receipt = take_over(scene, *lines, source=source)
    assert (len(lines), len(lines)) == (receipt.received, receipt.rejected), receipt
    return receipt.rejects[0].reason
