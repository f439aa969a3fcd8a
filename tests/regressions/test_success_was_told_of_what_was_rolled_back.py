"""Callers heard of success that was rolled back.

A crash in a group has each tried alone; when the store then went away, the rest heard the answers
that the group had given before it was rolled back.
"""

from __future__ import annotations

from contextlib import closing

import pytest

from ledger import commands
from ledger.core import Core, Work
from ledger.errors import UnavailableError
from ledger.group import Group
from persistence import StoreUnavailableError
from tests.faults.stores import FailingStore
from tests.harness import ManualClock


def reconciles(group: Group) -> str:
    commands.reconcile_usage(group, from_time=0, to_time=0, ledger_interval_ms=1)
    return "done"


def crashes(_group: Group) -> None:
    raise KeyError("planted")


def test_those_who_had_no_turn_hear_that_nothing_is_stored() -> None:
    with closing(FailingStore()) as store:
        core = Core(store, ManualClock())
        works = [Work(act, "test") for act in (reconciles, reconciles, crashes, reconciles)]
        store.transactions_left = 2  # the group, then the first of it alone

        with pytest.raises(StoreUnavailableError):
            core.run(works)

        assert 1 == core.head
        assert "done" == works[0].result
        for work in works[1:]:
            assert work.result is None
            assert isinstance(work.error, UnavailableError)


def test_those_after_a_crash_have_their_turn() -> None:
    with closing(FailingStore()) as store:
        core = Core(store, ManualClock())
        works = [Work(act, "test") for act in (reconciles, crashes, reconciles)]

        core.run(works)

        assert 2 == core.head
        assert ["done", None, "done"] == [work.result for work in works]
