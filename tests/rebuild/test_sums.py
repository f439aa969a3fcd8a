"""Sums of entries are a generation's own: what is promoted or taken back is answered by its own."""

from __future__ import annotations

from collections.abc import Sequence

from persistence.sql.generations import name_in
from persistence.sql.tables import SEALED_TABLES
from tests.cluster.processes import wait_until
from tests.contract.data.scene import bytes_of, ran
from tests.harness import Calls
from tests.oracle.events import payer_of
from tests.rebuild.scene import Place
from usage_ledger.v1 import audit_clocks_pb2 as pb

PAYER = payer_of("with sums")
INSTANCES = 600  # two events each: more than a block
DAYS = 28


def instances(first: int, count: int) -> list[bytes]:
    lines: list[bytes] = []
    for number in range(first, first + count):
        day, hour = 1 + number % DAYS, number // DAYS % 20
        starts = f"2026-10-{day:02}T{hour:02}:10:00Z"
        ends = f"2026-10-{day + (hour > 9):02}T{(hour + 14) % 24:02}:00:00Z"
        lines += bytes_of(ran(f"sums {number}", starts, ends, payer=PAYER))
    return lines


def answers(calls: Calls) -> Sequence[int]:
    """Balances at noon of each day, as known after each hundredth event."""
    told = []
    for day in range(1, DAYS + 1, 3):
        for position in range(100, 3 * INSTANCES, 150):
            moment = pb.Moment()
            moment.as_of.FromJsonString(f"2026-10-{day:02}T12:00:00Z")
            moment.known_at_position.number = position
            request = pb.GetBalanceAtRequest(attribution_id=PAYER, moment=moment)
            told.append(calls.audit.GetBalanceAt(request).credit_cents)
    return told


def sums(place: Place, generation: int) -> list[list[tuple[object, ...]]]:
    with place.database() as sql:
        return [
            sorted(map(tuple, sql(f"SELECT * FROM {name_in(table, generation)}")), key=repr)
            for table in SEALED_TABLES
        ]


def blocks(place: Place, generation: int) -> int:
    return len(sums(place, generation)[0])


def is_followed(place: Place) -> bool:
    """Whether the sums of the first generation are of the whole log."""
    with place.database() as sql:
        ((head,),) = sql("SELECT max(position) FROM stored_events")
        return [(head,)] == sql("SELECT position FROM tails WHERE name = 'clocks'")


def test_each_generation_has_its_own(place: Place) -> None:
    with place.role() as served:
        assert served.calls is not None
        calls = served.calls
        calls.publish(instances(0, 2 * INSTANCES))
        wait_until(lambda: is_followed(place))
        assert blocks(place, 1) > 1
        before, kept = answers(calls), sums(place, 1)
        assert 0 < sum(before)
        assert "generation 2 is served" in place.do("projections", "rebuild", "--promote")
        assert before == answers(calls)
        wait_until(lambda: kept == sums(place, 2))
        assert before == answers(calls)
        calls.publish(instances(2 * INSTANCES, INSTANCES))
        wait_until(lambda: blocks(place, 2) > len(kept[0]))
        later = answers(calls)
        place.do("projections", "rollback")
        assert later == answers(calls)
        wait_until(lambda: blocks(place, 1) > len(kept[0]))
        assert later == answers(calls)
        place.do("projections", "drop", "2")
    with place.database() as sql:
        assert ["clocks"] == [name for (name,) in sql("SELECT name FROM tails") if "clock" in name]
