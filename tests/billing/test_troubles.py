"""Why a payer waits, and how the last run went: told by any process, at any time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import UnavailableError
from ledger.identifiers import parse_payer
from ledger.invoicing.runs import KEY_REFUSED, NO_ANSWER
from ledger.invoicing.troubles import (
    PAGE,
    REASON_CHARS_MAX,
    SAID_AGAIN_MS,
    Troubles,
    reason_of,
)
from persistence import StoreUnavailableError, Trouble
from persistence.sqlite import FILE_NAME
from tests.billing.calls.failing import DOWN, INTERNAL, INVALID, LATE, UNAVAILABLE, Failure
from tests.billing.scene import PAYER, BillingScene, Shop
from tests.contract.calls.asking import STRIPE, refused, set_cost_center
from tests.harness.backends import POSTGRES, SHARDS, choose
from tests.oracle.events import payer_of
from tests.servers.postgres import PostgresServer
from tests.stripe_double import Fault
from usage.v1 import billing_pb2 as pb
from usage_ledger.v1 import billing_pb2 as status_pb

RIVAL = payer_of("rival")
EVENTS = "/v1/billing/meter_events"
WRONG_KEY = Failure(None, INTERNAL)
SLOW = Failure(Fault.TIMEOUT, LATE)


@pytest.fixture
def scene() -> Iterator[BillingScene]:
    with BillingScene() as scene:
        yield scene
        assert [] == scene.calls.breaches()


def status(scene: BillingScene) -> status_pb.GetBillingStatusResponse:
    return scene.calls.billing_status.GetBillingStatus(status_pb.GetBillingStatusRequest())


def bill(scene: BillingScene) -> None:
    """Report, and accrue nothing."""
    scene.calls.billing.ReconcileInvoices(pb.ReconcileInvoicesRequest())


def kept(scene: BillingScene, payer: str = PAYER) -> object:
    key = parse_payer(payer)
    assert key is not None
    return scene.service.wait(scene.service.ledger.read(key, lambda q: q.reader.trouble(key)))


def rows_written(scene: BillingScene) -> int:
    return scene.service.ledger.shards[0].store.rows_written()


class TestATrouble:
    def test_says_since_when_and_how_often_until_it_heals(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.use(5)
        began = scene.double.clock.now
        with DOWN.of(scene):
            for _ in range(3):
                bill(scene)
                scene.double.advance(hours=1)
        found = scene.standing()
        assert "Stripe cannot be asked now" in found.waits_for
        assert (began, 3) == (found.waits_since.seconds, found.waits_attempts)
        bill(scene)
        found = scene.standing()
        assert ("", False, 0) == (
            found.waits_for,
            found.HasField("waits_since"),
            found.waits_attempts,
        )

    def test_that_is_another_one_now_goes_on(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.use(5)
        began = scene.double.clock.now
        with DOWN.of(scene):
            bill(scene)
        scene.double.advance(minutes=1)
        with SLOW.of(scene):
            bill(scene)
        found = scene.standing()
        assert "did not answer in time" in found.waits_for
        assert (began, 2) == (found.waits_since.seconds, found.waits_attempts)

    def test_that_comes_again_begins_anew(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.use(5)
        with DOWN.of(scene):
            bill(scene)
        bill(scene)
        scene.double.advance(hours=1)
        scene.use(5)
        began = scene.double.clock.now
        with DOWN.of(scene):
            bill(scene)
        assert (began, 1) == (scene.standing().waits_since.seconds, scene.standing().waits_attempts)

    def test_of_a_payer_that_nobody_looks_after_any_more_is_forgotten(
        self, scene: BillingScene
    ) -> None:
        """An attempt at a subscription that could not go on, and then was refused."""
        scene.customer()
        hold = scene.hold(card="declined")
        with DOWN.of(scene):
            with refused(UNAVAILABLE):
                scene.subscribe(hold=hold)
            bill(scene)
        assert kept(scene) is not None
        with refused(INVALID):
            scene.subscribe(hold=hold)
        assert [] == list(status(scene).payers)
        bill(scene)
        assert kept(scene) is None

    def test_that_a_report_was_refused_says_since_when(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.use(5)
        began = scene.double.clock.now
        scene.double.faults.add(Fault.REFUSED, path=EVENTS)
        bill(scene)
        scene.double.advance(days=1)
        bill(scene)
        assert "was refused by Stripe" in scene.standing().waits_for
        assert began == scene.standing().waits_since.seconds


class CountingShard:
    """Counts the transactions that it is asked for, and does none."""

    transactions = 0

    async def beside(self, _act: object) -> None:
        """Count one."""
        self.transactions += 1


class TestWhatIsKept:
    def test_outlives_a_restart(self, tmp_path: Path) -> None:
        shop = Shop()
        with BillingScene(shop, tmp_path) as before:
            before.sign_up()
            before.use(5)
            with DOWN.of(before):
                bill(before)
            expected = status(before)
        shop.double.advance(days=1)
        with BillingScene(shop, tmp_path) as after:
            assert expected == status(after)
            bill(after)
            assert "" == after.standing().waits_for

    def test_outlives_a_fold_of_the_whole_log(self, tmp_path: Path) -> None:
        shop = Shop()
        with BillingScene(shop, tmp_path) as before:
            before.sign_up()
            before.use(5)
            with DOWN.of(before):
                bill(before)
            expected = status(before)
        with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database, database:
            database.execute(
                "UPDATE projections SET position = position - 1 WHERE name = 'balances'"
            )
        with BillingScene(shop, tmp_path) as after:
            assert expected == status(after)

    def test_costs_a_row_a_run_however_many_payers_there_are(self, scene: BillingScene) -> None:
        """A trouble is written when it comes, changes or goes, and else every few minutes."""
        payers = [payer_of(f"payer {number}") for number in range(4)]
        for payer in payers:
            scene.sign_up(payer)
            scene.use(5, payer)
        bill(scene)

        def written() -> int:
            before = rows_written(scene)
            bill(scene)
            return rows_written(scene) - before

        assert 1 == written()
        for payer in payers:
            scene.use(5, payer)
        with DOWN.of(scene):
            bill(scene)
            assert 1 == written()
            scene.double.advance(milliseconds=SAID_AGAIN_MS - 1)
            assert 1 == written()
            scene.double.advance(milliseconds=1)
            assert 1 + len(payers) == written()
        with SLOW.of(scene):
            assert 1 + len(payers) == written()
        bill(scene)
        assert 1 == written()

    def test_is_not_taken_back_from_those_who_had_none(self, scene: BillingScene) -> None:
        asked = CountingShard()
        keep = Troubles(scene.service.ledger).keep
        shard: Any = asked
        scene.service.wait(keep(shard, b"payer", "", None))
        assert 0 == asked.transactions
        scene.service.wait(keep(shard, b"payer", "", Trouble(b"payer", "down", 1, 1, 1)))
        assert 1 == asked.transactions

    def test_of_more_payers_than_are_looked_at_together_is_each_ones_own(
        self, scene: BillingScene
    ) -> None:
        payers = sorted(payer_of(f"payer {number}") for number in range(PAGE + 2))
        for payer in payers:
            set_cost_center(scene.calls, payer, limit=9, strategy=STRIPE)
        troubled = (payers[0], payers[PAGE - 1], payers[PAGE], payers[PAGE + 1])
        for payer in troubled:
            scene.sign_up(payer)
            scene.use(5, payer)
        with DOWN.of(scene):
            bill(scene)
        run = status(scene).last_run
        assert (len(payers) - 4, 4) == (run.payers_done, run.payers_failed)
        assert set(troubled) == {payer for payer in payers if scene.standing(payer).waits_for}
        bill(scene)
        assert [] == [payer for payer in payers if scene.standing(payer).waits_for]

    def test_lies_with_everything_else_of_the_payer(self) -> None:
        payers = [payer_of(f"payer {number}") for number in range(6)]
        with choose(SHARDS), BillingScene() as scene:
            for payer in payers:
                scene.sign_up(payer)
                scene.use(5, payer)
            with DOWN.of(scene):
                bill(scene)
            shards = scene.service.ledger.shards
            by_shard = [shard.queries.reader.billing_tallies().in_trouble for shard in shards]
            assert (3, 6) == (len(by_shard), sum(by_shard))
            assert all(by_shard), "chance has put no payer into one of the shards"
            assert all(scene.standing(payer).waits_for for payer in payers)
            assert 6 == status(scene).last_run.payers_failed
            bill(scene)
            assert not any(scene.standing(payer).waits_for for payer in payers)
            assert 6 == status(scene).last_run.payers_done

    def test_is_a_sentence_of_ours_and_short(self) -> None:
        """What a mistake of the program says may be anything: it is in the log."""
        assert "RuntimeError, see the log" == reason_of(RuntimeError("ada@example.org"))
        assert "later" == reason_of(UnavailableError("later"))
        assert REASON_CHARS_MAX == len(reason_of(UnavailableError("x" * 9_999)))


class TestTheLastRun:
    def test_is_none_before_the_first(self, scene: BillingScene) -> None:
        assert not status(scene).HasField("last_run")

    def test_says_when_and_of_how_many_payers(self, scene: BillingScene) -> None:
        for payer in (PAYER, RIVAL):
            scene.sign_up(payer)
            scene.use(5, payer)
        unlucky = scene.known_customer().id
        scene.double.faults.add(Fault.UNREACHABLE, path=EVENTS, times=3, naming=unlucky)
        began = scene.double.clock.now
        bill(scene)
        run = status(scene).last_run
        assert (1, 1, "") == (run.payers_done, run.payers_failed, run.error)
        assert began == run.started.seconds == run.ended.seconds == run.last_success.seconds

    @pytest.mark.parametrize(
        ("failure", "reason"),
        [(WRONG_KEY, KEY_REFUSED), (DOWN, NO_ANSWER), (SLOW, NO_ANSWER)],
        ids=["wrong key", "down", "slow"],
    )
    def test_that_failed_as_a_whole_says_why(
        self, scene: BillingScene, failure: Failure, reason: str
    ) -> None:
        scene.sign_up()
        scene.use(5)
        bill(scene)
        succeeded = scene.double.clock.now
        scene.double.advance(hours=1)
        scene.use(5)
        with failure.of(scene):
            bill(scene)
        run = status(scene).last_run
        assert (0, 1, reason) == (run.payers_done, run.payers_failed, run.error)
        assert (succeeded, succeeded + 3_600) == (run.last_success.seconds, run.ended.seconds)
        bill(scene)
        run = status(scene).last_run
        assert (1, 0, "") == (run.payers_done, run.payers_failed, run.error)
        assert succeeded + 3_600 == run.last_success.seconds

    def test_never_succeeded_while_none_has(self, scene: BillingScene) -> None:
        scene.sign_up()
        scene.use(5)
        with WRONG_KEY.of(scene):
            bill(scene)
        assert not status(scene).last_run.HasField("last_success")

    def test_of_the_job_tells_a_wrong_key_before_there_is_anything_to_report(
        self, scene: BillingScene
    ) -> None:
        with WRONG_KEY.of(scene):
            scene.service.run_job("ledger")
        run = status(scene).last_run
        assert (0, 0, KEY_REFUSED) == (run.payers_done, run.payers_failed, run.error)

    def test_of_the_job_tells_that_missed_webhooks_are_not_looked_for(
        self, scene: BillingScene
    ) -> None:
        scene.sign_up()
        scene.use(5)
        with DOWN.of(scene, "/v1/events"):
            scene.service.run_job("ledger")
        run = status(scene).last_run
        assert (1, 0) == (run.payers_done, run.payers_failed)
        assert "events that nobody heard of are listed: Stripe cannot be asked now" in run.error

    def test_that_an_error_of_ours_ended_says_where_to_look(self, scene: BillingScene) -> None:
        runs = scene.billing.runs
        run = runs.begin()
        run.count("")
        scene.service.wait(runs.end(run, StoreUnavailableError("password=secret")))
        found = status(scene).last_run
        assert (1, "StoreUnavailableError, see the log") == (found.payers_done, found.error)


@pytest.mark.postgres
class TestTwoProcesses:
    """Two ledgers on one PostgreSQL database: one runs, the other is asked."""

    @pytest.fixture
    def pair(
        self, postgres_server: PostgresServer, tmp_path: Path
    ) -> Iterator[tuple[BillingScene, BillingScene]]:
        shop = Shop()
        with (
            choose(POSTGRES, postgres_server) as backend,
            BillingScene(shop, tmp_path) as first,
            BillingScene(shop, tmp_path) as second,
        ):
            yield first, second
        backend.close()

    def test_tell_the_same(self, pair: tuple[BillingScene, BillingScene]) -> None:
        runs, asked = pair
        runs.sign_up()
        runs.use(5)
        began = runs.double.clock.now
        with WRONG_KEY.of(runs):
            bill(runs)
        assert status(runs) == status(asked)
        found = asked.standing()
        assert (began, 1) == (found.waits_since.seconds, found.waits_attempts)
        assert found.waits_for
        assert KEY_REFUSED == status(asked).last_run.error

    def test_heal_what_the_other_had_trouble_with(
        self, pair: tuple[BillingScene, BillingScene]
    ) -> None:
        first, second = pair
        first.sign_up()
        first.use(5)
        with DOWN.of(first):
            bill(first)
            first.double.advance(hours=1)
            bill(second)
        assert 2 == first.standing().waits_attempts
        bill(second)
        for scene in pair:
            assert ("", "") == (scene.standing().waits_for, status(scene).last_run.error)
