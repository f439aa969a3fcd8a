"""What everybody on the stage shares: the clock, the ledger's machine, and how things are done."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from ledger.errors import LedgerError
from tests.billing.scene import Shop
from tests.billing.simulation.checks import Checks
from tests.billing.simulation.machine import Died, Machine
from tests.billing.simulation.plans import Plan
from tests.billing.simulation.town import DAY_MS, HOUR_MS, MINUTE_MS, Resident, Town
from tests.stripe_double import Settings

AUTHOR = "simulation"
TOLD = 40  # steps that a failure shows
SAID_CHARS_MAX = 80
BEHIND_MS = (0, 0, 900, 5_000)  # our clock's, of Stripe's
# Of everything for a while, and of some requests.
OUTAGES = ("unreachable", "timeout", "answer_lost", "rate_limited")
TROUBLES = (
    *OUTAGES,
    "timeout_after",
    "conflict",
    "rate_limited_retry",
    "server_error",
    "server_error_after",
    "still_running",
)


class BrokenLawError(AssertionError):
    """A law does not hold; the text has the seed and the last steps."""


class Stage:
    """One life, before anything happens in it."""

    def __init__(self, seed: int, plan: Plan, data_dir: Path | None = None) -> None:
        """Draw a world. In memory nothing restarts."""
        self.seed, self.plan = seed, plan
        self._rng = random.Random(f"{plan.name}:{seed}")
        rng = self._rng
        start = f"2027-{rng.randint(1, 12):02d}-01T{rng.randint(0, 23):02d}:00:00Z"
        self._shop = Shop(start=start, seed=seed, settings=_settings(rng, plan))
        self._double = self._shop.double
        self._double.advance(days=rng.randint(0, 30), seconds=rng.choice((0, 0, 17, 3_599, 40_000)))
        self.town = Town(rng, rng.randint(1, plan.residents_max))
        self._machine = Machine(self._shop, rng, data_dir, rng.choice(BEHIND_MS))
        self._outage_ends: int | None = None
        self.told: list[str] = []
        self._checks = Checks(self._double, self.town, self._machine)

    @property
    def now(self) -> int:
        """The time in ms."""
        return self._double.clock.now_ms

    def _hold(self, broken: Sequence[str]) -> None:
        if broken:
            wrong = "\n  ".join(broken[:12])
            last = "\n  ".join(self.told[-TOLD:])
            raise BrokenLawError(f"{self.plan.name} seed {self.seed}:\n  {wrong}\nafter\n  {last}")

    def _tell(self, what: str) -> None:
        moment = self._double.clock.now_ms
        self.told.append(f"{moment} {_date(moment)} {what}")

    # Time --------------------------------------------------------------------------------------

    def _pass_time(self) -> None:
        rng = self._rng
        kind = rng.choices(("minutes", "hours", "day", "days", "boundary"), (2, 4, 5, 2, 3))[0]
        match kind:
            case "minutes":
                moved = rng.randint(1, 90 * MINUTE_MS)
            case "hours":
                moved = rng.randint(HOUR_MS, 12 * HOUR_MS)
            case "day":
                moved = rng.randint(12 * HOUR_MS, 36 * HOUR_MS)
            case "days":
                moved = rng.randint(2 * DAY_MS, 8 * DAY_MS)
            case _:
                moved = self._to_boundary()
        self._advance(moved)

    def _to_boundary(self) -> int:
        """Come close to where a cycle ends, or its invoice is finalized."""
        ends = [
            item.period_end
            for one in self._double.world.subscriptions.values()
            if one.ended_at is None
            for item in one.items
        ]
        drafts = [
            one.finalizes_at
            for one in self._double.world.invoices.values()
            if one.status == "draft" and one.finalizes_at is not None
        ]
        places = [*drafts, *drafts, *(end for end in ends if end * 1_000 - self.now < 12 * DAY_MS)]
        if not places:
            return self._rng.randint(MINUTE_MS, DAY_MS)
        near = self._rng.choice((-3_600_000, -90_000, -31_000, -2_000, 0, 1, 45_000, 2_000_000))
        return max(
            self._rng.choice(places) * 1_000 + near - self.now, self._rng.randint(1, HOUR_MS)
        )

    def _advance(self, moved: int) -> None:
        target = self.now + moved
        if self._outage_ends is not None and target >= self._outage_ends:
            self._double.advance_to(max(self._outage_ends, self.now))
            self._double.faults.clear()
            self._outage_ends = None
            self._tell("Stripe is back")
        self._double.advance_to(max(target, self.now))

    # Calls -------------------------------------------------------------------------------------

    async def _call(self, name: str, *acts: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Do one thing, or several at once; give what the last one gave, None if it failed."""
        outcomes = await asyncio.gather(*[act() for act in acts], return_exceptions=True)
        said = [_said(outcome) for outcome in outcomes]
        self._tell(f"{name}: {', '.join(said)}")
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, (LedgerError, Died)):
                raise BrokenLawError(f"seed {self.seed}: {name} fails") from outcome
        if not self._machine.power.is_on:
            self._machine.lose_power()
            self._machine.boot()
            self._tell("boots")
        last = outcomes[-1]
        return None if isinstance(last, BaseException) else last

    async def _once_or_twice(self, name: str, act: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Do something, sometimes twice at the same time."""
        times = 2 if self._rng.random() < self.plan.twice else 1
        return await self._call(f"{name} x{times}", *[act] * times)

    def _somebody(self) -> Resident:
        return self._rng.choice(self.town.residents)


def _settings(rng: random.Random, plan: Plan) -> Settings:
    return Settings(
        aggregation_delay_seconds=rng.choice((0, 30, 30, 600, 1_800)),
        grace_seconds=rng.choice((3_600, 3_600, 3_600, *plan.graces)),
        collects_payments=rng.random() < 0.7,
        duplicate_identifier_code=rng.choice((None, "duplicate_meter_event")),
        turns_in_flight=rng.randint(1, 3),
        server_errors_are_final=rng.random() < 0.5,
        running_seconds=rng.choice((5, 30, 80)),
    )


def _said(outcome: object) -> str:
    if isinstance(outcome, BaseException):
        return f"{type(outcome).__name__} {outcome}"
    text = str(outcome)
    return text if len(text) <= SAID_CHARS_MAX else text[:SAID_CHARS_MAX] + "…"


def _date(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms / 1_000, dt.UTC).strftime("%m-%d %H:%M:%S")
