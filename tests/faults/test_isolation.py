"""What fails by itself does not touch its neighbours: in a group, and among projections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from events import decode
from events.readable import attribution_id
from ledger import commands
from ledger.core import Core, Work
from ledger.errors import InvalidArgumentError, UnavailableError
from ledger.group import Group
from ledger.intake import Receipt, read_lines, take
from persistence import StoreUnavailableError
from persistence.sqlite import SQLiteReader
from tests.faults.stores import FailingStore
from tests.harness import InProcessService, ManualClock, settings_for
from tests.laws.acts import act_of
from tests.laws.adapter import ProductLedger
from tests.oracle import instant
from tests.oracle.events import payer_of
from tests.oracle.operations import (
    GetCostCenter,
    PublishPrices,
    Reconcile,
    SetCostCenter,
)
from tests.oracle.synthetic import synthetic_lines
from usage_ledger.v1 import audit_why_pb2, queries_pb2

NOW_NS = instant("2026-11-01T08:00:00Z")
LINES = list(synthetic_lines(9, 60, 3))
PROJECTIONS = (
    "instances",
    "usage-totals",
    "balances",
    "invoice-drafts",
    "cost-centers",
    "clock",
    "billing",
)
LIVE_ON_INSTANCES = {"usage-totals", "balances", "invoice-drafts"}


@pytest.fixture
def ledger() -> Iterator[ProductLedger]:
    ledger = ProductLedger()
    ledger.apply(PublishPrices(at_ns=NOW_NS, revision=1, rates=(("default", "0.1666666667"),)))
    yield ledger
    ledger.close()


def publishing(start: int, end: int) -> Callable[[Group], Receipt]:
    batch = read_lines("file", b"\n".join(LINES[start:end]), start + 1)
    return lambda group: take(group, batch)


def note(name: str, *, payer: str = "payer") -> Callable[[Group], Any]:
    checked = commands.check_credit_note(payer_of(payer), 1, name, "", name.replace(" ", "-"))
    return lambda group: commands.add_credit_note(group, checked)


def appends_then(error: Exception) -> Callable[[Group], None]:
    def act(group: Group) -> None:
        note("half done", payer="half done")(group)
        raise error

    return act


def publishing_prices(group: Group) -> None:
    commands.publish_prices(group, revision=1, rates={}, in_force_from=None)


def run(ledger: ProductLedger, *acts: Callable[[Group], Any]) -> list[Work]:
    works = [Work(act, "test") for act in acts]
    ledger.core.run(works)
    return works


class TestGroup:
    @pytest.mark.parametrize(
        "error", [RuntimeError("a mistake"), KeyError("ours"), AssertionError("too"), MemoryError()]
    )
    def test_a_crash_does_not_fail_its_neighbours(
        self, ledger: ProductLedger, error: Exception
    ) -> None:
        works = run(
            ledger,
            note("one"),
            publishing(0, 50),
            appends_then(error),
            publishing(50, 90),
            note("two"),
        )

        assert [None, None, error, None, None] == [work.error for work in works]
        assert 50 == works[1].result.counts.recorded
        assert 40 == works[3].result.counts.recorded
        assert -200 == ledger.balance_cents(payer_of("payer"))
        assert 0 == ledger.balance_cents(payer_of("half done"))
        assert [] == ledger.breaches()

    def test_a_refused_command_does_not_fail_its_neighbours(self, ledger: ProductLedger) -> None:
        refusal = InvalidArgumentError("no")

        def refused(_group: Group) -> None:
            raise refusal

        works = run(ledger, note("one"), refused, note("two"))

        assert [None, refusal, None] == [work.error for work in works]
        assert -200 == ledger.balance_cents(payer_of("payer"))

    @pytest.mark.parametrize(
        "error", [StoreUnavailableError("its table is damaged"), RuntimeError("a mistake")]
    )
    def test_what_fails_in_the_background_refuses_nobody(
        self, ledger: ProductLedger, error: Exception
    ) -> None:
        def fails(_group: Group) -> None:
            raise error

        acts = [note("one"), publishing(0, 50), publishing(50, 90)]
        works = [Work(act, "test") for act in acts]
        passed: list[str] = []
        ledger.core.failpoint = passed.append
        ledger.core.run([*works, Work(fails, "", is_background=True)])
        assert 1 == passed.count("before-append"), "the others are one group"
        alone = Work(fails, "", is_background=True)
        ledger.core.run([alone])

        assert error is alone.error
        assert [None, None, None] == [work.error for work in works]
        assert [50, 40] == [work.result.counts.recorded for work in works[1:]]
        assert -100 == ledger.balance_cents(payer_of("payer"))
        assert [] == ledger.breaches()

    def test_a_store_that_takes_nothing_tells_everybody_though_the_background_found_it(
        self,
    ) -> None:
        store = FailingStore()
        core = Core(store, ManualClock())

        def fails(_group: Group) -> None:
            store.fails_at_commit = True
            raise StoreUnavailableError("no space left")

        works = [Work(publishing_prices, "test"), Work(fails, "", is_background=True)]
        with pytest.raises(StoreUnavailableError):
            core.run(works)
        assert [UnavailableError] * 2 == [type(work.error) for work in works]

    def test_states_of_a_group_that_failed_are_forgotten(self) -> None:
        """Or the next command would decide on what was never stored."""
        store = FailingStore()
        core = Core(store, ManualClock())
        core.run([Work(publishing_prices, "test"), Work(publishing(0, 30), "test")])
        store.fails_at_commit = True
        with pytest.raises(StoreUnavailableError):
            core.run([Work(publishing(30, 60), "test")])
        store.fails_at_commit = False

        again = Work(publishing(0, 60), "test")
        core.run([again])

        assert (30, 30) == (again.result.counts.recorded, again.result.counts.repeated)
        store.close()


class TestProjections:
    @pytest.mark.parametrize("name", PROJECTIONS)
    def test_a_fold_that_fails_pauses_its_projection_only(self, tmp_path: Path, name: str) -> None:
        broken = True

        def before_fold(folding: str) -> None:
            if broken and folding == name:
                raise ValueError("planted")

        ledger = ProductLedger(tmp_path / "data", before_fold=before_fold)
        broken = False
        ledger.apply(PublishPrices(at_ns=NOW_NS, revision=1, rates=(("default", "0.1666666667"),)))
        ledger.apply(GetCostCenter(at_ns=NOW_NS, payer=payer_of("payer")))
        broken = True

        works = run(ledger, publishing(0, 50), note("one"))

        assert [None, None] == [work.error for work in works]
        paused = LIVE_ON_INSTANCES | {name} if name == "instances" else {name}
        assert paused == set(ledger.core.paused)
        standing = {
            p.name: p for p in ledger.reader.status(runs_since=0, stopped_since=0).projections
        }
        head = ledger.core.head
        for other, row in standing.items():
            assert (row.position == head) == (other not in paused), other
        assert "planted" in standing[name].pause.reason  # type: ignore[union-attr]

        # The log goes on, and what was paused is folded anew at the next start, to the same rows.
        ledger.apply(Reconcile(at_ns=NOW_NS))
        broken = False
        ledger.reopen()
        assert {} == ledger.core.paused
        assert [] == ledger.breaches()
        undisturbed = _undisturbed()
        for payer in undisturbed.payers():
            assert undisturbed.entries(payer) == ledger.entries(payer)
            assert undisturbed.drafts(payer) == ledger.drafts(payer)
            assert undisturbed.balance_cents(payer) == ledger.balance_cents(payer)
            assert undisturbed.cost_center(payer) == ledger.cost_center(payer)
        ledger.close()
        undisturbed.close()

    @pytest.mark.parametrize("name", ["instances", "balances"])
    def test_nothing_is_decided_on_a_balance_that_is_not_current(
        self, tmp_path: Path, name: str
    ) -> None:
        broken = False

        def before_fold(folding: str) -> None:
            if broken and folding == name:
                raise ValueError("planted")

        ledger = ProductLedger(tmp_path / "data", before_fold=before_fold)
        ledger.apply(PublishPrices(at_ns=NOW_NS, revision=1, rates=(("default", "0.1666666667"),)))
        ledger.apply(GetCostCenter(at_ns=NOW_NS, payer=payer_of("old")))
        broken = True
        head = ledger.core.head
        upgrades = [
            act_of(SetCostCenter(at_ns=NOW_NS, payer=payer, spending_limit=1, strategy="STRIPE"))
            for payer in (payer_of("old"), payer_of("new"))
        ]

        works = run(ledger, note("one"), *upgrades)

        assert [type(None), UnavailableError, UnavailableError] == [type(w.error) for w in works]
        assert head + 1 == ledger.core.head  # the note; of the new cost center nothing stays
        ledger.close()

    def test_reads_of_what_is_paused_say_so_and_others_go_on(self, tmp_path: Path) -> None:
        broken = False

        def before_fold(folding: str) -> None:
            if broken and folding == "usage-totals":
                raise ValueError("planted")

        with InProcessService(settings_for(tmp_path / "data"), before_fold=before_fold) as service:
            broken = True
            receipt = service.calls.publish(LINES)
            assert len(LINES) == receipt.recorded
            status = service.calls.queries.GetStatus(queries_pb2.GetStatusRequest())
            paused = {p.name for p in status.projections if p.paused}
            assert {"usage-totals"} == paused
            payer = status_payer(service)
            assert service.calls.balance_cents(payer) == service.calls.draft(payer).total_cents
            with pytest.raises(grpc.RpcError) as caught:  # days are a part of it
                service.calls.audit.ExplainBalance(
                    audit_why_pb2.ExplainBalanceRequest(attribution_id=payer)
                )
            assert grpc.StatusCode.UNAVAILABLE == caught.value.code()
            assert "'usage-totals' is paused" in (caught.value.details() or "")


def status_payer(service: InProcessService) -> str:
    reader = SQLiteReader(service.sqlite)
    try:
        stored = reader.log(after=1, limit=1)[0]
        return attribution_id(decode(stored.topic, stored.state).payer)  # type: ignore[attr-defined]
    finally:
        reader.close()


def _undisturbed() -> ProductLedger:
    ledger = ProductLedger()
    ledger.apply(PublishPrices(at_ns=NOW_NS, revision=1, rates=(("default", "0.1666666667"),)))
    ledger.apply(GetCostCenter(at_ns=NOW_NS, payer=payer_of("payer")))
    run(ledger, publishing(0, 50), note("one"))
    ledger.apply(Reconcile(at_ns=NOW_NS))
    return ledger
