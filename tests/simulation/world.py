"""What the world says to a ledger: events in any order, repeated, contradicted, broken."""

from __future__ import annotations

import json
import random

from tests.oracle.events import (
    InstanceEventKind,
    credit_note_event,
    instance_event,
    line_of,
    named_uuid,
    payer_of,
)
from tests.oracle.respelling import respelled

MS_NS = 1_000_000
SECOND_NS = 1_000 * MS_NS
HOUR_NS = 3_600 * SECOND_NS
DAY_NS = 24 * HOUR_NS
CLASSES = ("default", "g1-large", "no-rate", "")
# Around ties of cents at 1/6 a minute, and of seconds.
ODD_RUNTIMES_NS = (9 * SECOND_NS, 27 * SECOND_NS, 99 * SECOND_NS, 500 * MS_NS, 1_499 * MS_NS)
UNHEARD_MAX = 40  # lines that wait to be delivered; producers pause beyond it


class World:
    """Producers and what they have said."""

    def __init__(self, rng: random.Random, now_ns: int) -> None:
        """Begin with some payers; what starts does so around now."""
        self._rng = rng
        self.payers = [payer_of(("world", n)) for n in range(rng.randint(1, 3))]
        self.users = [named_uuid("world user", n) for n in range(2)]
        self.now_ns = now_ns
        self._made = 0
        self._instances: list[str] = []
        self.waiting: list[bytes] = []
        self.delivered: list[bytes] = []

    def produce(self) -> None:
        """Let something happen that services will tell, sooner or later."""
        if len(self.waiting) >= UNHEARD_MAX:
            return
        if self._rng.random() < 0.2:
            self._produce_note()
        else:
            self._produce_instance()

    def _produce_note(self) -> None:
        rng = self._rng
        self._made += 1
        event = credit_note_event(
            self.now_ns - rng.choice((0, HOUR_NS, 40 * DAY_NS)),
            payer=rng.choice(self.payers),
            credits_given=rng.choice((1, -1, 0, 7, -250, 2**31 - 1)),
            event_id=f"note-{self._made}",
            user_id=rng.choice(("", self.users[0])),
        )
        self.waiting.append(line_of(event))

    def _produce_instance(self) -> None:
        rng = self._rng
        self._made += 1
        payer = rng.choice(self.payers)
        is_anew = bool(self._instances) and rng.random() < 0.2
        # Told again under other IDs: it contradicts, unless what was told before is void.
        instance_id = named_uuid("simulated", self._made)
        if is_anew:
            instance_id = rng.choice(self._instances[-6:])
        else:
            self._instances.append(instance_id)
        start_ns = self.now_ns - rng.choice((0, SECOND_NS, HOUR_NS, 3 * DAY_NS, 45 * DAY_NS))
        start_ns += rng.choice((0, 1, MS_NS, rng.randrange(HOUR_NS)))
        if rng.random() < 0.1:
            start_ns += 2 * DAY_NS  # a producer's clock that is ahead
        runtime_ns = rng.choice((*ODD_RUNTIMES_NS, rng.randrange(3 * DAY_NS), -HOUR_NS))
        stopping_ns = start_ns + runtime_ns
        stopped_ns = stopping_ns + rng.choice((0, SECOND_NS, 61 * SECOND_NS, -SECOND_NS))
        times: dict[InstanceEventKind, int] = {
            "started": start_ns,
            "stopping": stopping_ns,
            "stopped": stopped_ns,
        }
        left_out = rng.choice(("", "", "", "", "stopping", "stopped", "stops", "stops", "started"))
        for kind, at_ns in times.items():
            if kind == left_out or (left_out == "stops" and kind != "started"):
                continue
            more: dict[str, object] = {}
            if kind == "started":
                more = {
                    "workspaceClass": rng.choice(CLASSES),
                    "workspaceType": rng.choice(("", "regular", "prebuild")),
                    "workspaceId": f"workspace-{self._made}",
                    "userId": rng.choice(("", *self.users)),
                    "userName": "somebody",
                }
            event = instance_event(
                kind,
                at_ns,
                instance_id=instance_id,
                payer=payer,
                event_id=f"anew-{self._made}-{kind}" if is_anew else "",
                more=more,
            )
            self.waiting.append(line_of(event))

    def batch(self) -> list[bytes]:
        """Give the lines of one delivery: news in any order, with repeats and nonsense between."""
        rng = self._rng
        lines: list[bytes] = []
        for _ in range(rng.randint(1, 6)):
            said = rng.random()
            if self.waiting and said < 0.7:
                # Early ones first, mostly; the others come late.
                place = min(rng.randrange(len(self.waiting)), rng.randrange(len(self.waiting)))
                lines.append(self.waiting.pop(place))
            elif self.delivered and said < 0.95:
                lines.append(self._again(rng.choice(self.delivered)))
            else:
                lines.append(self._nonsense())
        self.delivered += lines
        return lines

    def _again(self, line: bytes) -> bytes:
        rng = self._rng
        try:
            event = json.loads(line)
            fields = event["data"]
        except (ValueError, TypeError, KeyError):
            return line
        if not isinstance(fields, dict) or "attributionId" not in fields:
            return line
        how = rng.choice(("same", "same", "respelled", "respelled", "contradicts", "taken id"))
        if how == "respelled":
            try:
                return respelled(line, rng.randrange(10_000))
            except (ValueError, KeyError, TypeError):
                return line
        if how == "contradicts":
            event["id"] = f"contradiction-{rng.randrange(4)}-{event['id']}"
            fields["attributionId"] = rng.choice(self.payers)
            for name in ("startedTime", "stoppingTime", "stoppedTime"):
                if name in fields and rng.random() < 0.5:
                    fields[name] = "2026-06-30T12:00:00Z"
        elif how == "taken id":
            fields["userId"] = rng.choice(self.users)
            fields["credits"] = rng.choice((5, 6))
        return line_of(event)

    def _nonsense(self) -> bytes:
        rng = self._rng
        stop = instance_event(
            "stopped",
            self.now_ns,
            instance_id=named_uuid("nonsense"),
            payer=rng.choice(self.payers),
        )
        return rng.choice(
            (
                b"{",
                b"\xff\xfe",
                b"null",
                line_of(stop)[:-7],
                line_of({**stop, "type": "usage.workspace_instance.exploded.v1"}),
                line_of({**stop, "specversion": "0.3"}),
            )
        )
