"""ListUsage from exactly the accrual instant showed every running instance twice.

The stretch before the instant was empty, but began at it, and was taken for the running block.
"""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.laws.adapter import ProductLedger
from tests.laws.listings import MS, Question, product_page
from tests.oracle import DEFAULT_RATES, instant
from tests.oracle.events import instance_event, line_of, named_uuid, payer_of
from tests.oracle.operations import Publish, PublishPrices, Reconcile

PAYER = payer_of("payer")
AT_NS = instant("2026-02-28T12:00:00Z")


@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize(("page", "shown"), [(1, 2), (2, 1), (3, 0)])
def test_pages_of_running_instances_tile(ascending: bool, page: int, shown: int) -> None:
    events = [
        instance_event("started", AT_NS, instance_id=named_uuid("instance", n), payer=PAYER)
        for n in range(3)
    ]
    asked = Question(
        payer=PAYER,
        user_id="",
        from_ms=AT_NS // MS,
        to_ms=AT_NS // MS + 1,
        ascending=ascending,
        per_page=2,
        page=page,
    )
    with closing(ProductLedger()) as ledger:
        ledger.apply_all(
            [
                PublishPrices(at_ns=AT_NS, revision=1, rates=tuple(DEFAULT_RATES.items())),
                Publish(at_ns=AT_NS, lines=tuple(map(line_of, events))),
                Reconcile(at_ns=AT_NS),
            ]
        )
        listed = product_page(ledger, asked)
    assert (3, shown) == (listed.total, len(listed.entries))
