"""Found by an audit: who asked again for a customer was sent to a command that does not exist.

A customer was asked for, nobody knows what came of it, and name and address were erased since: the
request cannot be repeated. What the text says now leads to a customer: to wait a little and to ask
again, whether one was made meanwhile or not.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from persistence.sqlite import FILE_NAME
from tests.billing.calls.failing import DOWN, UNAVAILABLE
from tests.billing.scene import PAYER, BillingScene
from tests.contract.calls.asking import refused


def test_what_is_told_to_do_can_be_done(tmp_path: Path) -> None:
    with BillingScene(data_dir=tmp_path) as scene:
        with DOWN.of(scene), refused(UNAVAILABLE):
            scene.customer()
        with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as ledger:
            ledger.execute("DELETE FROM personal")
            ledger.commit()
        with refused(UNAVAILABLE, "try again in 10 minutes"):
            scene.customer()
        metadata = {"attributionId": PAYER, "preferredCurrency": "eur"}
        made = scene.shop.client.v1.customers.create({"metadata": metadata})
        scene.double.advance(hours=1)
        assert made.id == scene.known_customer().id == scene.customer().id
