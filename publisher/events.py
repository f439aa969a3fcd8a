"""The four events that services publish, each made by a function that checks what it is given.

Times are `datetime`s with a zone. UUIDs are `uuid.UUID`s or texts in any legal spelling; they are
sent in lower case with hyphens. Every function raises InvalidEvent, and only that.

An event has an ID. Together with the source it names the event for ever: published twice, it counts
once. Without one a new UUID is drawn, which the event that comes back carries.
"""

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Final

from publisher import _checks
from publisher.errors import InvalidEvent
from usage.events.v1 import events_pb2

STARTED: Final = "usage.workspace_instance.started.v1"
STOPPING: Final = "usage.workspace_instance.stopping.v1"
STOPPED: Final = "usage.workspace_instance.stopped.v1"
CREDIT_NOTE: Final = "usage.credit_note.issued.v1"

WORKSPACE_TYPES: Final = ("regular", "prebuild", "imagebuild")

UuidLike = str | uuid.UUID


@dataclass(frozen=True, slots=True)
class Event:
    """One event, checked and encoded. Made by the functions of this module."""

    id: str
    type: str
    attribution_id: str  # as the ledger stores it; the key of the message
    subject: str  # the workspace instance; empty for a credit note
    time: dt.datetime  # the event's own
    data: bytes  # the encoded message of `usage.events.v1`
    source: str = ""  # empty: the publisher's


def workspace_instance_started(
    *,
    workspace_instance_id: UuidLike,
    attribution_id: str,
    started_time: dt.datetime,
    workspace_id: str = "",
    workspace_class: str = "",
    workspace_type: str = "",
    context_url: str = "",
    user_id: UuidLike = "",
    user_name: str = "",
    user_avatar_url: str = "",
    project_id: str = "",
    creation_time: dt.datetime | None = None,
    event_id: UuidLike | None = None,
    source: str = "",
) -> Event:
    """An instance began to run. An empty class means `default`, an empty type `regular`."""
    if workspace_type and workspace_type not in WORKSPACE_TYPES:
        raise InvalidEvent(
            f"workspace_type {_checks.text('workspace_type', workspace_type)[:80]!r}: "
            f"one of {', '.join(WORKSPACE_TYPES)}, or empty"
        )
    message = events_pb2.WorkspaceInstanceStarted(
        workspace_instance_id=_checks.uuid_text("workspace_instance_id", workspace_instance_id),
        attribution_id=_checks.attribution_id(attribution_id),
        workspace_id=_checks.text("workspace_id", workspace_id),
        workspace_class=_checks.text("workspace_class", workspace_class),
        workspace_type=workspace_type,
        context_url=_checks.text("context_url", context_url),
        user_id=_checks.optional_uuid("user_id", user_id),
        user_name=_checks.text("user_name", user_name),
        user_avatar_url=_checks.text("user_avatar_url", user_avatar_url),
        project_id=_checks.text("project_id", project_id),
        creation_time=(
            None if creation_time is None else _checks.instant("creation_time", creation_time)
        ),
        started_time=_checks.instant("started_time", started_time),
    )
    return _event(STARTED, message, started_time, event_id, source, message.workspace_instance_id)


def workspace_instance_stopping(
    *,
    workspace_instance_id: UuidLike,
    attribution_id: str,
    stopping_time: dt.datetime,
    event_id: UuidLike | None = None,
    source: str = "",
) -> Event:
    """An instance was asked to stop; what it is charged for ends here."""
    message = events_pb2.WorkspaceInstanceStopping(
        workspace_instance_id=_checks.uuid_text("workspace_instance_id", workspace_instance_id),
        attribution_id=_checks.attribution_id(attribution_id),
        stopping_time=_checks.instant("stopping_time", stopping_time),
    )
    return _event(STOPPING, message, stopping_time, event_id, source, message.workspace_instance_id)


def workspace_instance_stopped(
    *,
    workspace_instance_id: UuidLike,
    attribution_id: str,
    stopped_time: dt.datetime,
    event_id: UuidLike | None = None,
    source: str = "",
) -> Event:
    """An instance is gone."""
    message = events_pb2.WorkspaceInstanceStopped(
        workspace_instance_id=_checks.uuid_text("workspace_instance_id", workspace_instance_id),
        attribution_id=_checks.attribution_id(attribution_id),
        stopped_time=_checks.instant("stopped_time", stopped_time),
    )
    return _event(STOPPED, message, stopped_time, event_id, source, message.workspace_instance_id)


def credit_note_issued(
    *,
    attribution_id: str,
    credits: int,
    effective_time: dt.datetime,
    description: str = "",
    user_id: UuidLike = "",
    event_id: UuidLike | None = None,
    source: str = "",
) -> Event:
    """Credits were given back; negative ones are a debit.

    Two notes under two IDs are two notes: keep the ID where a retry after a crash finds it.
    """
    message = events_pb2.CreditNoteIssued(
        attribution_id=_checks.attribution_id(attribution_id),
        credits=_checks.whole_number("credits", credits),
        description=_checks.text("description", description),
        user_id=_checks.optional_uuid("user_id", user_id),
    )
    _checks.instant("effective_time", effective_time)
    return _event(CREDIT_NOTE, message, effective_time, event_id, source, "")


_Checked = (
    events_pb2.WorkspaceInstanceStarted
    | events_pb2.WorkspaceInstanceStopping
    | events_pb2.WorkspaceInstanceStopped
    | events_pb2.CreditNoteIssued
)


def _event(
    kind: str,
    message: _Checked,
    time: dt.datetime,
    event_id: UuidLike | None,
    source: str,
    subject: str,
) -> Event:
    if event_id is None or isinstance(event_id, uuid.UUID):
        identity = str(event_id or uuid.uuid4())
    else:
        identity = _checks.text("event_id", event_id, required=True)
    return Event(
        id=identity,
        type=kind,
        attribution_id=message.attribution_id,
        subject=subject,
        time=time,
        data=message.SerializeToString(),
        source=_checks.text("source", source),
    )
