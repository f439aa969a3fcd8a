"""A refusal after a command had appended was told as INTERNAL.

The first upgrade of a new payer opens its cost center, then may find no current balance.
"""

from __future__ import annotations

from contextlib import closing

from ledger.core import Core, Work
from ledger.errors import UnavailableError
from ledger.group import Group
from tests.faults.stores import FailingStore
from tests.harness import ManualClock
from tests.laws.acts import act_of
from tests.oracle.events import payer_of
from tests.oracle.operations import GetCostCenter, Reconcile, SetCostCenter

UPGRADE = SetCostCenter(at_ns=0, payer=payer_of("new"), spending_limit=1, strategy="STRIPE")


def test_the_caller_hears_why_and_nothing_of_it_stays() -> None:
    broken = False

    def before_fold(projection: str) -> None:
        if broken and projection == "balances":
            raise ValueError("planted")

    with closing(FailingStore()) as store:
        core = Core(store, ManualClock(), before_fold=before_fold)
        core.run([Work(act_of(GetCostCenter(at_ns=0, payer=payer_of("old"))), "test")])
        broken = True
        core.run([Work(act_of(Reconcile(at_ns=0)), "test")])
        head = core.head
        works = [Work(act_of(each), "test") for each in (UPGRADE, Reconcile(at_ns=0))]

        core.run(works)

        assert isinstance(works[0].error, UnavailableError)
        assert "not current" in str(works[0].error)
        assert works[1].error is None
        assert head + 1 == core.head


def test_the_same_of_any_command() -> None:
    refusal = UnavailableError("not now")

    def act(group: Group) -> None:
        act_of(Reconcile(at_ns=0))(group)
        raise refusal

    with closing(FailingStore()) as store:
        core = Core(store, ManualClock())
        work = Work(act, "test")
        core.run([work])
        assert refusal is work.error
        assert 0 == core.head
