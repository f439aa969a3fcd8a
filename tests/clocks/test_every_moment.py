"""Every moment of a short history in which everything happens, and many of seeded long ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from ledger import commands
from ledger.audit.clocks import Moment, look
from ledger.audit.cuts import KnownAt
from ledger.audit.sealing import Sealing
from tests.clocks.comparing import log_of, plain_says, product_says
from tests.clocks.dense import DATED, INSTANCES, PAYERS, Dense, Step
from tests.clocks.plain import Log, cut_by_position, cut_by_time
from tests.clocks.sealed import seal
from tests.clocks.test_any_moment import STEPS_MS, times_in
from tests.clocks.test_differences import all_of, plain_sides
from tests.contract.data.scene import (
    PAYER,
    Event,
    at,
    bytes_of,
    instance,
    note,
    ran,
    started,
    stopped,
    stopping,
)
from tests.laws.acts import OPENING, Act, payer_bytes
from tests.laws.adapter import ProductLedger
from tests.laws.histories import EFFORT
from tests.oracle import instant
from tests.oracle.operations import Publish, PublishPrices, Reconcile

KEY = payer_bytes(PAYER)
SEEDS = range(120 * EFFORT)
Told = tuple[str, Callable[[ProductLedger, int], object]]


def publish(*events: Event) -> Callable[[ProductLedger, int], object]:
    return lambda ledger, ns: ledger.apply(Publish(at_ns=ns, lines=tuple(bytes_of(events))))


def act(command: Act) -> Callable[[ProductLedger, int], object]:
    return lambda ledger, _ns: ledger.run(command)


def reconcile(ledger: ProductLedger, ns: int) -> object:
    return ledger.apply(Reconcile(at_ns=ns))


def _set(limit: int, strategy: str) -> Act:
    return lambda group: commands.set_cost_center(
        group, KEY, spending_limit=limit, strategy=strategy, opening=OPENING
    )


def _end(name: str, time: str) -> Act:
    ended = instant(at(time)) // 1_000_000
    return lambda group: commands.end_instance(group, instance(name), ended, "gone")


def _void(name: str) -> Act:
    return lambda group: commands.void_instance(group, instance(name), "wrong", payer=None)


HISTORY: tuple[Told, ...] = (
    ("10-20 12:00", publish(started("a", "10-20 12:00"), started("b", "10-19 22:00"))),
    ("10-20 13:00", act(lambda group: commands.open_cost_center(group, KEY, OPENING))),
    ("10-20 14:00", reconcile),
    ("10-24 09:00", publish(stopping("b", "10-23 23:30"))),
    # It ran over midnights that it never saw, once that is known.
    ("10-24 10:00", publish(stopped("a", "10-24 09:00"))),
    ("10-24 11:00", act(_end("a", "10-21 00:00"))),
    ("10-24 12:00", reconcile),
    # Dated later than the boundary that comes next, and started later.
    ("10-25 08:00", publish(*ran("future", "10-26 12:00", "10-27 12:00"), note(3))),
    ("10-25 09:00", act(_set(5, "stripe"))),
    ("10-26 07:00", publish(*ran("late", "10-20 23:00", "10-22 01:00"))),
    ("10-26 08:00", publish(started("c", "10-25 20:00"))),
    ("10-28 08:00", act(_void("b"))),
    ("10-28 09:00", publish(started("b", "10-27 23:00", event_id="anew"))),
    ("10-28 10:00", reconcile),
    ("10-28 11:00", act(_set(7, "other"))),
    ("10-29 08:00", publish(stopped("c", "10-28 22:00"), stopping("c", "10-28 20:00"))),
    ("10-29 09:00", act(_void("late"))),
)  # fmt: skip


def told(ledger: ProductLedger) -> Iterator[int]:
    ledger.apply(PublishPrices(at_ns=instant(at("10-20 11:00")), revision=1, rates=()))
    for time, happens in HISTORY:
        ledger.clock.set_ns(instant(at(time)))
        happens(ledger, instant(at(time)))
        yield ledger.core.head


class TestAShortHistory:
    @pytest.mark.parametrize("block", [0, 1, 2, 3, 5, 8])
    def test_at_every_position_as_of_every_time(self, block: int) -> None:
        with closing(ProductLedger()) as ledger:
            sealing = Sealing(block_events=block or 1_000)
            for _ in told(ledger):
                if block:
                    seal(ledger, sealing)
            events = log_of(ledger.reader)
            assert len(events) >= len(HISTORY)
            assert [] == ledger.breaches()
            times: set[int | None] = {time + step for time in times_in(events) for step in (-1, 0)}
            for position in range(len(events) + 1):
                log = Log(KEY, cut_by_position(events, position))
                for as_of in {*times, None}:
                    moment = Moment(as_of, KnownAt(position=position))
                    found = product_says(ledger.queries, KEY, moment)
                    assert plain_says(log, as_of) == found, moment

    def test_whose_last_events_no_sums_have(self) -> None:
        """What a sum has and a later event took back must not count twice."""
        for last in range(2, len(HISTORY)):
            with closing(ProductLedger()) as ledger:
                for number, _ in enumerate(told(ledger)):
                    if number == last:
                        seal(ledger, Sealing(block_events=1))
                events = log_of(ledger.reader)
                log = Log(KEY, events)
                for time in times_in(events):
                    found = product_says(ledger.queries, KEY, Moment(time))
                    assert plain_says(log, time) == found, (last, time)


def drawn(dice: random.Random) -> list[Step]:
    return [
        (
            dice.randint(0, 26),
            dice.randrange(INSTANCES),
            dice.randrange(len(DATED)),
            dice.randint(0, 9),
            dice.choice((0, 0, 1, 5, 11, 24)),
        )
        for _ in range(dice.randint(5, 80))
    ]


class TestSeededHistories:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_say_what_a_plain_fold_says(self, seed: int) -> None:
        dice = random.Random(seed)  # the same in every run
        with closing(ProductLedger()) as ledger:
            sealing = Sealing(batch_max=dice.randint(1, 12), block_events=dice.randint(1, 9))
            Dense(ledger).take(drawn(dice), dice.choice((None, sealing)))
            events = log_of(ledger.reader)
            times = times_in(events)

            def moment() -> tuple[Moment, Log]:
                near = dice.choice(times) + dice.choice(STEPS_MS)
                as_of = dice.choice((None, near))
                if dice.random() < 0.5:
                    time = dice.choice(times) + dice.choice(STEPS_MS)
                    time = min(time, events[-1].event.recorded_at)
                    return Moment(as_of, KnownAt(time=time)), Log(key, cut_by_time(events, time))
                position = dice.randint(0, len(events))
                known_at = KnownAt(position=position)
                return Moment(as_of, known_at), Log(key, cut_by_position(events, position))

            for key in map(payer_bytes, PAYERS):
                for _ in range(6):
                    (one, log), (two, other) = moment(), moment()
                    expected = plain_says(log, one.as_of)
                    assert expected == product_says(ledger.queries, key, one), one
                    before = plain_sides(log, one.as_of)
                    after = plain_sides(other, two.as_of)
                    with ledger.reader.snapshot():
                        first, second = (look(ledger.queries, key, m) for m in (one, two))
                        found = all_of(first, second, limit=dice.randint(1, 5))
                    differing = {k for k in before | after if before.get(k) != after.get(k)}
                    assert sorted(
                        ((k[0], before.get(k), after.get(k)) for k in differing), key=repr
                    ) == sorted(((d.kind, d.first, d.second) for d in found), key=repr)
