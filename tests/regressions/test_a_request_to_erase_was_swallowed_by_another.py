"""Two processes numbered their requests to erase one user alike, and the second one was lost.

Both had read that there was none before. The second found a request of that number and went on
with it as if it were its own: its author, its reason and its texts were nowhere, and it was told
success.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
import pytest

from ledger import commands
from ledger.audit.erasure import check_wanted
from ledger.commands.erasures import ErasureAsked
from tests.contract.audit.erasing import broken_laws, erase, erasures, metadata
from tests.contract.data.scene import PAYER, USER, Scene, ran
from tests.oracle.events import named_uuid
from usage_ledger.v1 import audit_erasure_pb2 as pb

OTHER_USER = named_uuid("other user")
GONE = ("", "", "")
WAIT_SECONDS = 20.0
_WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def record(scene: Scene) -> None:
    scene.record(
        *ran("a", "06:00", "07:00", userName="Ada Lovelace"),
        *ran("b", "06:00", "07:01", userName="Countess", userId=OTHER_USER),
        *ran("c", "06:00", "07:02", userName="Enchantress", userId=OTHER_USER),
    )


def wanted(reason: str, *texts: str) -> ErasureAsked:
    user, _, _ = check_wanted(USER, reason, texts)
    return ErasureAsked(user, 1, reason, texts, "somebody")


@contextmanager
def nobody_appends(url: str, *, until_waiting: int) -> Iterator[None]:
    """Hold up whoever appends, until so many wait for it."""
    with psycopg.connect(url) as holding, psycopg.connect(url, autocommit=True) as looking:
        holding.execute("SELECT head FROM log_head FOR UPDATE")
        yield
        deadline = time.monotonic() + WAIT_SECONDS
        while (looking.execute(_WAITING).fetchone() or (0,))[0] < until_waiting:
            assert time.monotonic() < deadline, "they did not ask"
            time.sleep(0.02)


@pytest.mark.postgres
def test_of_two_processes_that_ask_at_once_both_are_heard(ledger_database: str) -> None:
    place: dict[str, Any] = {"store": "postgres", "postgres": {"urls": [ledger_database]}}
    with Scene(**place) as scene, Scene(**place) as other, ThreadPoolExecutor(2) as threads:
        record(scene)
        with nobody_appends(ledger_database, until_waiting=2):
            both = (
                threads.submit(erase, scene, reason="first", texts=["countess"]),
                threads.submit(erase, other, reason="second", texts=["enchantress"]),
            )
        one, two = (each.result() for each in both)

        assert [GONE] * 3 == metadata(scene, PAYER)
        assert ("first", "second") == (one.reason, two.reason)
        assert {1, 2} == {one.number, two.number}
        # Whoever came first has taken the row that names the user, too.
        assert [2, 1] == [each.personal_rows for each in erasures(scene)]
        assert {pb.ERASURE_STATE_DONE} == {each.state for each in erasures(scene)}
        assert [] == broken_laws(scene)


def test_a_request_that_finds_another_one_is_not_taken_for_it() -> None:
    with Scene() as scene:
        record(scene)
        shard = scene.service.ledger.shards[0]

        def request(asked: ErasureAsked) -> bool:
            act = partial(commands.request_erasure, asked=asked)
            return bool(scene.service.wait(shard.command(act, "somebody")))

        assert request(wanted("first"))
        assert not request(wanted("second", "countess"))
        # Nor under the next number, while the first one is under way.
        assert not request(wanted("second", "countess")._replace(number=2))
        assert ["first"] == [each.reason for each in erasures(scene)]

        erasure = erase(scene, reason="second", texts=["countess"])

        assert (2, "second", 1) == (erasure.number, erasure.reason, erasure.personal_rows)
        assert [GONE, GONE, ("Enchantress", "", "")] == metadata(scene, PAYER)
        assert not request(wanted("second", "countess"))
