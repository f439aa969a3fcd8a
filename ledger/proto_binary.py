"""The messages of published events in protobuf, with their times as whole milliseconds.

protobuf itself gives times as text at ten times the cost; every published event has one or two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from events.readable import TIME_MAX, TIME_MIN
from ledger._event_shapes import NoteData, StartedData, StoppedData, StoppingData
from ledger.arrivals import CREDIT_NOTE, STARTED, STOPPED, STOPPING, RejectedError
from usage.events.v1 import events_pb2

_SECONDS_MIN, _SECONDS_MAX = TIME_MIN // 1000, TIME_MAX // 1000
_NANOS_MAX = 999_999_999

MESSAGES: dict[int, type[Message]] = {
    STARTED: events_pb2.WorkspaceInstanceStarted,
    STOPPING: events_pb2.WorkspaceInstanceStopping,
    STOPPED: events_pb2.WorkspaceInstanceStopped,
    CREDIT_NOTE: events_pb2.CreditNoteIssued,
}


def read_message(kind: int, encoded: bytes) -> Any:
    """Read the message of an event's kind; raise RejectedError with what to change."""
    try:
        return _READERS[kind](encoded)
    except DecodeError as error:
        name = MESSAGES[kind].DESCRIPTOR.name
        raise RejectedError(f"data is not a {name} in protobuf: {error}") from None


def milliseconds(name: str, timestamp: Timestamp) -> int:
    """Give a time as milliseconds, cut; raise RejectedError for one that is not of this world."""
    seconds, nanos = timestamp.seconds, timestamp.nanos
    if _SECONDS_MIN <= seconds <= _SECONDS_MAX and 0 <= nanos <= _NANOS_MAX:
        return seconds * 1000 + nanos // 1_000_000
    raise RejectedError(
        f"{name} of {seconds} seconds and {nanos} nanoseconds: must lie in years 1 to 9999, "
        f"with 0 to {_NANOS_MAX} nanoseconds"
    )


# The fields of the shapes are typed by what JSON says of them; a time is text or milliseconds.
_started: Callable[..., StartedData] = StartedData
_stopping: Callable[..., StoppingData] = StoppingData
_stopped: Callable[..., StoppedData] = StoppedData


def _read_started(encoded: bytes) -> StartedData:
    message = events_pb2.WorkspaceInstanceStarted.FromString(encoded)
    created = started = None
    if message.HasField("creation_time"):
        created = milliseconds("creation_time", message.creation_time)
    if message.HasField("started_time"):
        started = milliseconds("started_time", message.started_time)
    return _started(
        message.workspace_instance_id,
        message.attribution_id,
        message.workspace_id,
        message.workspace_class,
        message.workspace_type,
        message.context_url,
        message.user_id,
        message.user_name,
        message.user_avatar_url,
        message.project_id,
        created,
        started,
    )


def _read_stopping(encoded: bytes) -> StoppingData:
    message = events_pb2.WorkspaceInstanceStopping.FromString(encoded)
    time = None
    if message.HasField("stopping_time"):
        time = milliseconds("stopping_time", message.stopping_time)
    return _stopping(message.workspace_instance_id, message.attribution_id, time)


def _read_stopped(encoded: bytes) -> StoppedData:
    message = events_pb2.WorkspaceInstanceStopped.FromString(encoded)
    time = None
    if message.HasField("stopped_time"):
        time = milliseconds("stopped_time", message.stopped_time)
    return _stopped(message.workspace_instance_id, message.attribution_id, time)


def _read_note(encoded: bytes) -> NoteData:
    message = events_pb2.CreditNoteIssued.FromString(encoded)
    return NoteData(message.attribution_id, message.credits, message.description, message.user_id)


_READERS: dict[int, Callable[[bytes], Any]] = {
    STARTED: _read_started,
    STOPPING: _read_stopping,
    STOPPED: _read_stopped,
    CREDIT_NOTE: _read_note,
}
