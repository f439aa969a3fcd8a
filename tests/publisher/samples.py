"""Events to publish, some of each kind."""

import datetime as dt
import uuid
from collections.abc import Iterator

from publisher import (
    Event,
    credit_note_issued,
    workspace_instance_started,
    workspace_instance_stopped,
    workspace_instance_stopping,
)

SOURCE = "/workspace-manager/eu01"
NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
NAMESPACE = uuid.UUID("8f1f0a3e-1f0e-4a55-8f5a-9d0b0c2f7e11")


def named_uuid(*names: object) -> str:
    return str(uuid.uuid5(NAMESPACE, "/".join(map(str, names))))


def payer(number: int = 0) -> str:
    return f"team:{named_uuid('payer', number)}"


PAYER = payer()
INSTANCE = named_uuid("instance")
USER = named_uuid("user")


def one_of_each() -> dict[str, Event]:
    """Each kind with all its fields, under an ID that is its kind."""
    return {
        "started": workspace_instance_started(
            workspace_instance_id=INSTANCE,
            attribution_id=PAYER,
            started_time=NOON,
            workspace_id="demo-1",
            workspace_class="g1-large",
            workspace_type="prebuild",
            context_url="https://example.org/demo",
            user_id=USER,
            user_name="Ada Lövelace",
            user_avatar_url="https://example.org/ada.png",
            project_id="project-7",
            creation_time=NOON - dt.timedelta(seconds=5, milliseconds=250),
            event_id="started",
        ),
        "stopping": workspace_instance_stopping(
            workspace_instance_id=INSTANCE,
            attribution_id=PAYER,
            stopping_time=NOON + dt.timedelta(minutes=90),
            event_id="stopping",
        ),
        "stopped": workspace_instance_stopped(
            workspace_instance_id=INSTANCE,
            attribution_id=PAYER,
            stopped_time=NOON + dt.timedelta(minutes=90, microseconds=123_456),
            event_id="stopped",
        ),
        "note": credit_note_issued(
            attribution_id=PAYER,
            credits=-5,
            effective_time=NOON + dt.timedelta(hours=3),
            description="a debit",
            user_id=USER,
            event_id="note",
        ),
    }


def lines_of_each() -> dict[str, dict[str, object]]:
    """The same events as CloudEvents in JSON."""
    instance = {"workspaceInstanceId": INSTANCE, "attributionId": PAYER}
    envelope = {"specversion": "1.0", "source": SOURCE, "datacontenttype": "application/json"}
    kind = "usage.workspace_instance"
    return {
        "started": {
            **envelope,
            "id": "started",
            "type": f"{kind}.started.v1",
            "subject": INSTANCE,
            "time": "2026-11-01T12:00:00Z",
            "data": {
                **instance,
                "workspaceId": "demo-1",
                "workspaceClass": "g1-large",
                "workspaceType": "prebuild",
                "contextUrl": "https://example.org/demo",
                "userId": USER,
                "userName": "Ada Lövelace",
                "userAvatarUrl": "https://example.org/ada.png",
                "projectId": "project-7",
                "creationTime": "2026-11-01T11:59:54.750Z",
                "startedTime": "2026-11-01T12:00:00Z",
            },
        },
        "stopping": {
            **envelope,
            "id": "stopping",
            "type": f"{kind}.stopping.v1",
            "subject": INSTANCE,
            "time": "2026-11-01T13:30:00Z",
            "data": {**instance, "stoppingTime": "2026-11-01T13:30:00Z"},
        },
        "stopped": {
            **envelope,
            "id": "stopped",
            "type": f"{kind}.stopped.v1",
            "subject": INSTANCE,
            "time": "2026-11-01T13:30:00.123456Z",
            "data": {**instance, "stoppedTime": "2026-11-01T13:30:00.123456Z"},
        },
        "note": {
            **envelope,
            "id": "note",
            "type": "usage.credit_note.issued.v1",
            "time": "2026-11-01T15:00:00Z",
            "data": {
                "attributionId": PAYER,
                "credits": -5,
                "description": "a debit",
                "userId": USER,
            },
        },
    }


def stops(count: int, *, payers: int = 20, word: str = "") -> Iterator[Event]:
    """Stops of so many instances, their IDs numbered in their order."""
    for number in range(count):
        yield workspace_instance_stopped(
            workspace_instance_id=named_uuid(word, number),
            attribution_id=payer(number % payers),
            stopped_time=NOON + dt.timedelta(seconds=number),
            event_id=f"{word}{number:06d}",
        )
