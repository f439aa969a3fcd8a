"""A row of an instance that the database refused failed the whole transaction, for ever.

Only what a fold computes was guarded, not what it writes; decision 11 says that a fold that fails
pauses its projection, not intake.
"""

from __future__ import annotations

from contextlib import closing

from persistence import Counts
from tests.laws.adapter import ProductLedger
from tests.oracle import DEFAULT_RATES, instant
from tests.oracle.events import instance_event, line_of, named_uuid, payer_of
from tests.oracle.operations import Publish, PublishPrices

AT_NS = instant("2026-02-28T12:00:00Z")
REFUSE = """
CREATE TRIGGER refuse BEFORE INSERT ON entries BEGIN SELECT raise(ABORT, 'not this one'); END
"""


def test_the_event_is_recorded_and_the_projection_paused() -> None:
    lines = [
        line_of(instance_event(kind, AT_NS, instance_id=named_uuid("a"), payer=payer_of("a")))
        for kind in ("started", "stopped")
    ]
    with closing(ProductLedger()) as ledger:
        ledger.apply(PublishPrices(at_ns=AT_NS, revision=1, rates=tuple(DEFAULT_RATES.items())))
        ledger.store.connection.execute(REFUSE)
        assert Counts(2, 2, 0, 0) == ledger.apply(Publish(at_ns=AT_NS, lines=tuple(lines)))
        assert "not this one" in ledger.core.paused["instances"].reason

        ledger.store.connection.execute("DROP TRIGGER refuse")
        ledger.reopen()
        assert {} == ledger.core.paused
        assert [] == ledger.breaches()
