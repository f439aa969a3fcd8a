"""A void is a form of event that older roles cannot read, so it waits until none runs."""

from __future__ import annotations

import grpc
import psycopg
import pytest

from persistence import AUDIT
from persistence.postgres import Database, finish
from tests.contract.calls.asking import refused
from tests.contract.data.scene import PAYER, Scene, note, ran

pytestmark = pytest.mark.postgres


def test_nothing_is_voided_before_the_migration_is_finished(ledger_database: str) -> None:
    with psycopg.connect(ledger_database, autocommit=True) as connection:
        connection.execute("UPDATE migrations SET finished_at = NULL WHERE number = %s", (AUDIT,))
    with Scene(store="postgres", postgres={"urls": [ledger_database]}) as scene:
        scene.record(*ran("a", "06:00", "07:00"), note(3))
        (credit_note,) = [each for each in scene.calls.entries(PAYER) if each.credit_cents < 0]
        sentence = "usage-ledger migrate --finish"
        with refused(grpc.StatusCode.FAILED_PRECONDITION, sentence):
            scene.void("a")
        with refused(grpc.StatusCode.FAILED_PRECONDITION, sentence):
            scene.void_note(credit_note.id)
        assert 700 == scene.cents()
        finish(Database(ledger_database))
        scene.void("a")
        scene.void_note(credit_note.id)
        assert 0 == scene.cents()
        assert [] == scene.calls.breaches()
