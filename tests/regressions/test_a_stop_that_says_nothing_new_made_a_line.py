"""A stopping time equal to the stopped one came in the next cycle, and its draft had a line.

A cycle's lines are the changes recorded in it (contract, section 1), and nothing had changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.laws.adapter import ProductLedger
from tests.oracle import DEFAULT_RATES, Line, instant
from tests.oracle.events import InstanceEventKind, instance_event, line_of, named_uuid, payer_of
from tests.oracle.operations import GetCostCenter, Publish, PublishPrices

PAYER = payer_of("payer")
AT_NS = instant("2026-02-28T12:00:00Z")


def tell(ledger: ProductLedger, kind: InstanceEventKind, time: str) -> None:
    event = instance_event(
        kind, instant(time), instance_id=named_uuid("instance"), payer=PAYER, event_id=time + kind
    )
    ledger.apply(Publish(at_ns=AT_NS, lines=(line_of(event),)))


@pytest.fixture
def ledger() -> Iterator[ProductLedger]:
    """An instance that ran for six minutes, and then a new cycle."""
    with closing(ProductLedger()) as made:
        made.apply(PublishPrices(at_ns=AT_NS, revision=1, rates=tuple(DEFAULT_RATES.items())))
        tell(made, "started", "2026-02-28T11:00:00Z")
        tell(made, "stopped", "2026-02-28T11:06:00Z")
        made.apply(GetCostCenter(at_ns=AT_NS, payer=PAYER))
        yield made


def test_the_same_end_is_no_line(ledger: ProductLedger) -> None:
    tell(ledger, "stopping", "2026-02-28T11:06:00Z")
    assert () == ledger.drafts(PAYER)[-1].lines


def test_another_end_is_one(ledger: ProductLedger) -> None:
    tell(ledger, "stopping", "2026-02-28T11:03:00Z")
    line = Line(workspace_class="default", late_for=0, instances=1, seconds=-180, cents=-50)
    assert (line,) == ledger.drafts(PAYER)[-1].lines
