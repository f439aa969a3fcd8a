"""Hand-computed examples of sections 2 and 3: prices, runtimes, entries."""

from fractions import Fraction

import pytest

from . import CallError
from ._pricing import round_half_away_from_zero
from .build import PAYER, Bench, at, instance


class TestRounding:
    @pytest.mark.parametrize(
        ("number", "expected"),
        [("2.5", 3), ("-2.5", -3), ("2.49", 2), ("-2.49", -2), ("0.5", 1), ("0", 0), ("-7", -7)],
    )
    def test_half_goes_away_from_zero(self, number: str, expected: int) -> None:
        assert expected == round_half_away_from_zero(Fraction(number))


class TestPrices:
    @pytest.mark.parametrize(
        ("stop", "cents"),
        [
            ("08:01:39", 28),  # 99 s at 1/6 a minute are 27.5 cents
            ("08:00:09", 3),  # 2.5 cents
            ("08:01:38.500", 28),  # 98.5 s are 99 s
            ("08:01:38.499", 27),  # 98 s are 27.2 cents
            ("08:01:38.499999", 27),  # cut to the millisecond before anything else
            ("07:59:59", 0),  # stop before start
            ("09:00", 1000),
        ],
    )
    def test_of_a_class_without_a_rate(self, stop: str, cents: int) -> None:
        bench = Bench()
        bench.run("a", "08:00", stop, workspace_class="none")
        assert cents == bench.balance

    @pytest.mark.parametrize(
        ("workspace_class", "cents"),
        [("", 1000), ("default", 1000), ("g1-large", 2000), ("cent", 60)],
    )
    def test_of_an_hour(self, workspace_class: str, cents: int) -> None:
        bench = Bench()
        bench.run("a", "08:00", "09:00", workspace_class=workspace_class)
        assert cents == bench.balance

    def test_a_rate_of_nothing_costs_nothing(self) -> None:
        bench = Bench(rates={"free": "0"})
        bench.run("a", "08:00", "09:00", workspace_class="free")
        assert 0 == bench.balance

    def test_start_and_end_are_cut_each_for_itself(self) -> None:
        bench = Bench()
        bench.run("a", "08:00:00.000999", "08:01:38.500", workspace_class="none")
        assert 28 == bench.balance

    def test_a_later_list_prices_starts_from_its_instant_recorded_after_it(self) -> None:
        bench = Bench(rates={"cent": "0.01"})
        bench.tell("recorded before", "started", "09:00")
        assert "recorded" == bench.oracle.publish_price_list(2, {"cent": "0.02"}, at("08:30"))
        bench.tell("started before", "started", "08:29:59.999")
        bench.tell("started then", "started", "08:30")
        for name in ("recorded before", "started before", "started then"):
            bench.tell(name, "stopped", "10:30")
        cents = {e.instance_id: e.cents for e in bench.oracle.entries(PAYER)}
        expected = {"recorded before": 90, "started before": 120, "started then": 240}
        assert {instance(name): amount for name, amount in expected.items()} == cents

    def test_revisions_only_rise(self) -> None:
        oracle = Bench(rates={"cent": "0.01"}).oracle
        assert "repeated" == oracle.publish_price_list(1, {"cent": "0.010"}, at("09:00"))
        assert "ignored" == oracle.publish_price_list(0, {"cent": "9"}, at("09:00"))
        with pytest.raises(CallError, match="FAILED_PRECONDITION"):
            oracle.publish_price_list(1, {"cent": "0.02"}, at("09:00"))


class TestEntries:
    def test_nothing_running_is_listed_before_the_first_reconcile(self) -> None:
        bench = Bench()
        bench.tell("a", "started", "08:00")
        assert [] == bench.oracle.entries(PAYER)

    def test_a_running_instance_is_a_draft_dated_at_the_accrual_instant(self) -> None:
        bench = Bench()
        bench.tell("a", "started", "08:00")
        bench.oracle.reconcile(at("08:30:00.0009"))
        (entry,) = bench.oracle.entries(PAYER)
        assert (30, at("08:30") // 1_000_000) == (entry.cents, entry.effective_ms)
        assert (True, True, 1800) == (entry.draft, entry.running, entry.seconds)

    def test_one_recorded_after_the_last_reconcile_waits_for_the_next(self) -> None:
        bench = Bench()
        bench.oracle.reconcile(at("09:00"))
        bench.tell("a", "started", "08:00")
        assert (0, None) == (bench.balance, bench.oracle.entry_of(instance("a")))
        bench.oracle.reconcile(at("09:00"))
        assert 60 == bench.balance

    def test_a_start_after_the_accrual_instant_costs_nothing_and_is_listed(self) -> None:
        bench = Bench()
        bench.tell("a", "started", "10:00")
        bench.oracle.reconcile(at("09:00"))
        (entry,) = bench.oracle.entries(PAYER)
        assert (0, True) == (entry.cents, entry.running)

    def test_the_accrual_instant_may_go_back(self) -> None:
        bench = Bench()
        bench.tell("a", "started", "08:00")
        bench.oracle.reconcile(at("12:00"))
        bench.oracle.reconcile(at("09:00"))
        assert 60 == bench.balance

    def test_stopping_makes_a_draft_at_once_and_stopped_makes_it_final(self) -> None:
        bench = Bench()
        bench.tell("a", "started", "08:00")
        bench.tell("a", "stopping", "08:10")
        (draft,) = bench.oracle.entries(PAYER)
        assert (10, True, False) == (draft.cents, draft.draft, draft.running)
        bench.tell("a", "stopped", "08:20")
        (final,) = bench.oracle.entries(PAYER)
        assert (10, False, draft.effective_ms) == (final.cents, final.draft, final.effective_ms)
        assert "2026-02-28T08:20:00.000Z" == final.metadata["stoppedTime"]

    def test_stopped_alone_is_the_end_until_stopping_corrects_it(self) -> None:
        bench = Bench()
        bench.tell("a", "stopped", "08:20")
        bench.tell("a", "started", "08:00")
        assert 20 == bench.balance
        assert "recorded" == bench.tell("a", "stopping", "08:10")
        assert 10 == bench.balance

    def test_what_never_started_is_not_listed(self) -> None:
        bench = Bench()
        bench.tell("a", "stopping", "08:10")
        bench.tell("a", "stopped", "08:20")
        assert [] == bench.oracle.entries(PAYER)

    def test_an_operators_end_overrides_and_a_first_stopping_corrects_it(self) -> None:
        bench = Bench()
        bench.tell("a", "started", "08:00")
        bench.oracle.reconcile(at("12:00"))
        bench.oracle.end_instance(instance("a"), at("09:00"), at("12:00"))
        entry = bench.oracle.entry_of(instance("a"))
        assert entry is not None
        assert (60, False) == (entry.cents, entry.draft)
        bench.tell("a", "stopping", "08:30")
        assert 30 == bench.balance
        bench.oracle.end_instance(instance("a"), at("08:40"), at("12:00"))
        assert 40 == bench.balance

    def test_an_operator_cannot_end_what_nobody_heard_of(self) -> None:
        with pytest.raises(CallError, match="NOT_FOUND"):
            Bench().oracle.end_instance(instance("a"), at("09:00"), at("12:00"))

    def test_metadata_tells_the_instance(self) -> None:
        bench = Bench()
        bench.tell(
            "a",
            "started",
            "08:00:00.0129",
            workspaceId="w",
            userName="n",
            contextUrl="c",
            creationTime="2026-02-28T09:59:00+02:00",
        )
        bench.tell("a", "stopping", "08:10")
        entry = bench.oracle.entry_of(instance("a"))
        assert entry is not None
        assert {
            "workspaceId": "w",
            "workspaceType": "regular",
            "workspaceClass": "cent",
            "contextURL": "c",
            "creationTime": "2026-02-28T07:59:00.000Z",
            "startTime": "2026-02-28T08:00:00.012Z",
            "endTime": "2026-02-28T08:10:00.000Z",
            "stoppedTime": "",
            "userId": entry.user_id,
            "userName": "n",
            "userAvatarURL": "",
        } == entry.metadata


class TestCreditNotes:
    def test_give_back_and_may_debit_down_to_the_smallest_int32(self) -> None:
        bench = Bench()
        bench.oracle.add_credit_note(PAYER, 3, "sorry", at("08:00"))
        assert -300 == bench.balance
        bench.oracle.add_credit_note(PAYER, -(2**31), "debit", at("08:00"))
        assert 100 * 2**31 - 300 == bench.balance

    def test_a_key_makes_a_retry_safe(self) -> None:
        bench = Bench()
        outcomes = [
            bench.oracle.add_credit_note(
                PAYER, 3, text, at("08:00"), idempotency_key="k", user_id=""
            )
            for text in ("sorry", " sorry ")
        ]
        assert ["recorded", "repeated"] == outcomes
        with pytest.raises(CallError, match="ALREADY_EXISTS"):
            bench.oracle.add_credit_note(PAYER, 4, "sorry", at("08:00"), idempotency_key="k")
        assert -300 == bench.balance

    @pytest.mark.parametrize(
        ("payer", "description", "user_id", "key", "field"),
        [
            ("team:x", "", "x", "", "attribution_id"),
            (PAYER, " \u2003\n", "x", "", "description"),
            (PAYER, "d" * 256, "x", "", "description"),
            (PAYER, "d" * 255, "x", "", "user_id"),
            (PAYER, "d", "", "", "idempotency-key"),
            (PAYER, "d", "", "k" * 256, "idempotency-key"),
            (PAYER, "d", "", "a b", "idempotency-key"),
        ],
    )
    def test_are_checked_in_the_contracts_order(
        self, payer: str, description: str, user_id: str, key: str, field: str
    ) -> None:
        with pytest.raises(CallError, match=f"INVALID_ARGUMENT: {field}"):
            Bench().oracle.add_credit_note(
                payer, 1, description, at("08:00"), user_id=user_id, idempotency_key=key
            )
