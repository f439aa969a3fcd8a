"""Events: what happened to objects, in the order in which it did."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.stripe_double.clock import DAY, DoubleClock, rfc3339

# `events.list` and `events.retrieve` know an event this long.
KEPT_SECONDS = 30 * DAY


@dataclass(slots=True)
class EventRecord:
    """An event as it was told at its time; a thin one has its content apart.

    `undelivered` counts deliveries that have not succeeded yet, lost ones too.
    """

    id: str
    kind: str
    created: int
    told: dict[str, Any]
    content: dict[str, Any] | None = None
    undelivered: int = 0

    def body(self) -> bytes:
        """Give what a webhook sends."""
        told = self.told
        if self.content is None:
            told = told | {"pending_webhooks": max(1, self.undelivered)}
        return json.dumps(told, separators=(",", ":")).encode()


@dataclass(slots=True)
class EventLog:
    """`cause` is what a request sets while it is executed: its ID and its idempotency key."""

    clock: DoubleClock
    new_id: Callable[[], str]
    api_version: str
    records: dict[str, EventRecord] = field(default_factory=dict)
    cause: tuple[str, str | None] | None = None
    listener: Callable[[EventRecord], None] | None = None

    def add(self, kind: str, told: dict[str, Any], previous: dict[str, Any] | None) -> EventRecord:
        """Make a snapshot event."""
        inside: dict[str, Any] = {"object": told}
        if previous is not None:
            inside["previous_attributes"] = previous
        request_id, key = self.cause or (None, None)
        name = self.new_id()
        event = {
            "id": name,
            "object": "event",
            "api_version": self.api_version,
            "created": self.clock.now,
            "data": inside,
            "livemode": False,
            "pending_webhooks": 0,
            "request": {"id": request_id, "idempotency_key": key},
            "type": kind,
        }
        return self._keep(EventRecord(name, kind, self.clock.now, event))

    def add_thin(
        self, kind: str, related: dict[str, str] | None, content: dict[str, Any]
    ) -> EventRecord:
        """Make a thin event, whose content is fetched."""
        name = self.new_id()
        event: dict[str, Any] = {
            "id": name,
            "object": "v2.core.event",
            "type": kind,
            "created": rfc3339(self.clock.now),
            "livemode": False,
            "context": None,
            "reason": None,
        }
        if related is not None:
            event["related_object"] = related
        return self._keep(EventRecord(name, kind, self.clock.now, event, content))

    def _keep(self, event: EventRecord) -> EventRecord:
        self.records[event.id] = event
        if self.listener is not None:
            self.listener(event)
        return event
