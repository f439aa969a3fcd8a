"""Payers and what they use: told to the ledger late, twice or corrected, and added up here."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fractions import Fraction

from events.readable import attribution_id
from ledger.identifiers import parse_payer
from tests.oracle.events import credit_note_event, instance_event, line_of, named_uuid, payer_of

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
MS_NS = 1_000_000

CENTS_PER_MINUTE = {"cent": Fraction(1), "large": Fraction(25)}
RUNTIMES_MS = (
    90_000,
    7 * MINUTE_MS,
    50 * MINUTE_MS,
    3 * HOUR_MS,
    10 * HOUR_MS + 12_345,
    2 * DAY_MS,
)
NOTES = (1, 1, 2, 5, 40, 300, 300, 2_000, -1, -3, -25)  # credits
RUNNING_MAX = 4  # of one payer


@dataclass
class Ran:
    """A workspace instance; times in ms."""

    instance_id: str
    workspace_class: str
    started: int
    stopped: int | None = None

    @property
    def cents(self) -> int:
        """What it costs, rounded half up; it has stopped."""
        assert self.stopped is not None
        seconds = (max(self.stopped - self.started, 0) + 500) // 1_000
        cents = CENTS_PER_MINUTE[self.workspace_class] * seconds / 60
        return int(cents + Fraction(1, 2))


@dataclass
class Resident:
    """A payer as the world knows it."""

    name: str
    key: bytes
    currency: str
    instances: list[Ran] = field(default_factory=list)
    note_credits: int = 0
    holds: list[str] = field(default_factory=list)

    @property
    def running(self) -> list[Ran]:
        """Instances that have not stopped."""
        return [one for one in self.instances if one.stopped is None]

    @property
    def usage_cents(self) -> int:
        """Everything that it used, once all of it has stopped."""
        return sum(one.cents for one in self.instances)


class Town:
    """Residents, and lines that services have published and the ledger has not heard yet."""

    def __init__(self, rng: random.Random, residents: int) -> None:
        self._rng = rng
        self.residents = [_resident(number, rng) for number in range(residents)]
        self._made = 0
        self._waiting: list[bytes] = []
        self._heard: list[bytes] = []

    def _number(self) -> int:
        self._made += 1
        return self._made

    def start(self, resident: Resident, now: int) -> None:
        """Let an instance start, now or a while ago."""
        if len(resident.running) >= RUNNING_MAX:
            return
        rng = self._rng
        name = rng.choice(sorted(CENTS_PER_MINUTE))
        began = now - rng.choice((0, 0, 0, 700, 20 * MINUTE_MS, 5 * HOUR_MS))
        ran = Ran(named_uuid("ran", self._number()), name, began)
        resident.instances.append(ran)
        self._tell("started", ran, ran.started, resident)

    def stop(self, resident: Resident, now: int) -> None:
        """Let one of them stop; most run for as long as is usual, if it is as late as that."""
        if resident.running:
            ran = self._rng.choice(resident.running)
            usual = ran.started + self._rng.choice(RUNTIMES_MS)
            self._stop(ran, max(min(usual, now), ran.started), resident)

    def stop_all(self, now: int) -> None:
        """Let everything stop."""
        for resident in self.residents:
            for ran in resident.running:
                self._stop(ran, max(now, ran.started), resident)

    def _stop(self, ran: Ran, at: int, resident: Resident) -> None:
        ran.stopped = at
        self._tell("stopped", ran, at, resident)

    def run_late(self, resident: Resident, now: int) -> None:
        """Let a whole instance be heard of only long after it ran."""
        rng = self._rng
        began = now - rng.choice((1, 3, 9, 33)) * DAY_MS
        ran = Ran(named_uuid("ran", self._number()), "cent", began)
        ran.stopped = began + rng.choice(RUNTIMES_MS[:5])
        resident.instances.append(ran)
        for kind, at in rng.sample((("started", began), ("stopped", ran.stopped)), 2):
            self._tell(kind, ran, at, resident)

    def note(self, resident: Resident, now: int, credits_given: int | None = None) -> None:
        """Let an administrator give credits, or take some."""
        given = self._rng.choice(NOTES) if credits_given is None else credits_given
        resident.note_credits += given
        event = credit_note_event(
            now * MS_NS,
            payer=resident.name,
            credits_given=given,
            event_id=f"note-{self._number()}",
        )
        self._waiting.append(line_of(event))

    def _tell(self, kind: str, ran: Ran, at: int, resident: Resident) -> None:
        more: dict[str, object] = {}
        if kind == "started":
            more = {
                "workspaceClass": ran.workspace_class,
                "workspaceType": "regular",
                "workspaceId": f"workspace-{ran.instance_id}",
                "userId": named_uuid("user"),
            }
        event = instance_event(
            kind,  # type: ignore[arg-type]  # one of the kinds
            at * MS_NS,
            instance_id=ran.instance_id,
            payer=resident.name,
            more=more,
        )
        self._waiting.append(line_of(event))

    def delivery(self, *, everything: bool = False) -> list[bytes]:
        """Give lines that the ledger is told now: mostly the oldest, and some again."""
        rng = self._rng
        if everything:
            return list(self._waiting)
        lines = [line for line in self._waiting if rng.random() < 0.8]
        lines += rng.sample(self._heard, min(len(self._heard), rng.choice((0, 0, 1, 3))))
        rng.shuffle(lines)
        return lines

    def heard(self, lines: list[bytes]) -> None:
        """Note what the ledger has taken in."""
        taken = set(lines)
        self._waiting = [line for line in self._waiting if line not in taken]
        self._heard = [*self._heard, *lines][-50:]

    @property
    def is_heard(self) -> bool:
        """Whether the ledger was told everything."""
        return not self._waiting

    def corrected(self, resident: Resident, now: int) -> tuple[Ran, int] | None:
        """Choose an instance whose end is corrected, and to when; None when there is none."""
        rng = self._rng
        ended = [
            one
            for one in resident.instances
            if one.stopped is not None and one.started <= now and not self._waits(one)
        ]
        if not ended:
            return None
        ran = rng.choice(ended)
        return ran, rng.randint(ran.started, min(now, ran.started + 3 * DAY_MS))

    def _waits(self, ran: Ran) -> bool:
        mark = ran.instance_id.encode()
        return any(mark in line for line in self._waiting)


def _resident(number: int, rng: random.Random) -> Resident:
    name = payer_of(("resident", number))
    key = parse_payer(name)
    assert key is not None
    assert attribution_id(key) == name
    return Resident(name, key, rng.choice(("eur", "usd")))
