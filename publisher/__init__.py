"""Publishes usage events to Kafka, for services in Python.

    from publisher import Publisher, workspace_instance_stopped

    with Publisher("kafka:9092", source="/workspace-manager/eu01") as publisher:
        event = workspace_instance_stopped(
            workspace_instance_id=instance_id,
            attribution_id=f"team:{organisation_id}",
            stopped_time=datetime.now(UTC),
        )
        publisher.publish(event)

What it promises, and what it does not, is in docs/publishing-kafka.md.
"""

from publisher._buffer import Acknowledgement, Flushed
from publisher._session import Security
from publisher.client import Publisher
from publisher.errors import (
    BufferFull,
    Closed,
    Forked,
    InvalidEvent,
    NotAcknowledged,
    NotDelivered,
    PublisherError,
    Unreachable,
)
from publisher.events import (
    Event,
    credit_note_issued,
    workspace_instance_started,
    workspace_instance_stopped,
    workspace_instance_stopping,
)

__all__ = [
    "Acknowledgement",
    "BufferFull",
    "Closed",
    "Event",
    "Flushed",
    "Forked",
    "InvalidEvent",
    "NotAcknowledged",
    "NotDelivered",
    "Publisher",
    "PublisherError",
    "Security",
    "Unreachable",
    "credit_note_issued",
    "workspace_instance_started",
    "workspace_instance_stopped",
    "workspace_instance_stopping",
]
