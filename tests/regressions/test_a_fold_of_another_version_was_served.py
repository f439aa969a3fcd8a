"""A start with newer folds served the rows that the older ones had written."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from persistence.sqlite import FILE_NAME
from tests.harness import InProcessService, settings_for
from tests.oracle.events import credit_note_event, line_of

PAYER = "team:0b1f6f6e-6d0c-5a52-9d2b-0d1c6f1f8a11"


class TestAnotherVersionOfTheFolds:
    """Rows that another version of the folds has written."""

    def test_are_folded_anew_at_start(self, tmp_path: Path) -> None:
        """The wrong balance of the older fold is gone."""
        note = credit_note_event(0, payer=PAYER, event_id="n-1", credits_given=-7)
        with InProcessService(settings_for(tmp_path)) as service:
            service.calls.publish([line_of(note)])
        connection = sqlite3.connect(tmp_path / FILE_NAME)
        with connection:
            connection.execute("UPDATE projections SET version = version - 1")
            connection.execute("UPDATE balances SET booked_cents = 1")
        connection.close()
        with InProcessService(settings_for(tmp_path)) as service:
            assert service.calls.balance_cents(PAYER) == 700
            assert service.calls.breaches() == []
