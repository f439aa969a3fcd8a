"""Writes CloudEvents lines as services publish them."""

import json
import uuid
from collections.abc import Mapping
from typing import Literal

from ._times import text_of

NAMESPACE = uuid.UUID("5f8c1f6e-52a1-4d63-9a55-2f6d9b0a7c41")

InstanceEventKind = Literal["started", "stopping", "stopped"]


def named_uuid(*names: object) -> str:
    """The same names always give the same UUID."""
    return str(uuid.uuid5(NAMESPACE, "\n".join(map(str, names))))


def payer_of(name: object) -> str:
    return "team:" + named_uuid("payer", name)


def line_of(event: dict[str, object]) -> bytes:
    """The event in structured JSON, without a newline."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def envelope(
    kind: str, *, event_id: str, source: str, time_ns: int | None, fields: dict[str, object]
) -> dict[str, object]:
    """A CloudEvent whose type is `usage.<kind>.v1`."""
    event: dict[str, object] = {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": f"usage.{kind}.v1",
        "datacontenttype": "application/json",
        "data": fields,
    }
    if time_ns is not None:
        event["time"] = text_of(time_ns)
    return event


def instance_event(
    kind: InstanceEventKind,
    at_ns: int,
    *,
    instance_id: str,
    payer: str,
    event_id: str = "",
    source: str = "/workspace-manager/test",
    more: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """A started, stopping or stopped event at this time; `more` are more of its fields."""
    event = envelope(
        f"workspace_instance.{kind}",
        event_id=event_id or named_uuid(source, instance_id, kind),
        source=source,
        time_ns=at_ns,
        fields={
            "workspaceInstanceId": instance_id,
            "attributionId": payer,
            f"{kind}Time": text_of(at_ns),
            **(more or {}),
        },
    )
    event["subject"] = instance_id
    return event


def credit_note_event(
    at_ns: int,
    *,
    payer: str,
    credits_given: int,
    event_id: str,
    source: str = "/support/test",
    description: str = "sorry",
    user_id: str = "",
) -> dict[str, object]:
    return envelope(
        "credit_note.issued",
        event_id=event_id,
        source=source,
        time_ns=at_ns,
        fields={
            "attributionId": payer,
            "credits": credits_given,
            "description": description,
            "userId": user_id,
        },
    )
