"""What an alternative history does with what other hands recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregates import PriceBook
from events import PriceListPublished
from events.money import AS_RECORDED, Rounding
from events.readable import TIME_MAX, TIME_MIN
from ledger.audit.alternative import try_rules
from ledger.audit.rules import Rules, parse_rounding, read_prices
from ledger.audit.what_if import Account, Shown, WhatIf
from ledger.errors import FailedPreconditionError, InvalidArgumentError
from ledger.folding import decoded
from ledger.identifiers import parse_payer
from tests.billing.scene import PAYER as BILLED
from tests.billing.scene import BillingScene
from tests.contract.data.scene import CENT_PRICES, OTHER_PAYER, PAYER, Scene, note, ran, started
from tests.importing.lines import cost_center, entry, taken, terms, times

EVER = Shown(TIME_MIN, TIME_MAX + 1)
TWICE = Rules(PriceBook([PriceListPublished(0, "", 1, None, {"cent": "0.02"}, "1/3")]))


def account(scene: Scene | BillingScene, rules: Rules, payer: str = PAYER) -> Account:
    """The payer's; its recorded side has to be what the ledger shows."""
    readers = [shard.queries.reader for shard in scene.service.ledger.shards]
    outcome = try_rules(readers, rules, EVER)
    assert [] == outcome.breaches
    assert outcome.compared
    (found,) = [each for each in outcome.accounts if each.payer == parse_payer(payer)]
    return found


@pytest.fixture
def scene() -> Iterator[Scene]:
    """A cent a minute."""
    with Scene(prices=CENT_PRICES) as scene:
        yield scene


def cents(name: str, start: str, end: str, payer: str = PAYER) -> list[dict[str, object]]:
    return ran(name, start, end, workspaceClass="cent", payer=payer)


class TestFactsOfOtherHands:
    def test_credit_notes_stay_as_they_are(self, scene: Scene) -> None:
        scene.record(*cents("a", "06:00", "07:00"), note(1))

        found = account(scene, TWICE)

        assert (60, 120, -100) == (found.usage.recorded, found.usage.what_if, found.note_cents)
        assert (-40, 20) == (found.balance.recorded, found.balance.what_if)

    def test_a_charge_that_was_taken_over_stays_until_it_is_corrected(self, scene: Scene) -> None:
        """A correction prices the instance by our rate, so it is priced by the other one, too."""
        ended = times("10-20 11:00", "10-20 12:00", "10-20 12:00", workspaceClass="cent")
        taken(
            scene,
            entry(777, metadata=ended),
            entry(888, name="b", metadata=ended),
            entry(999, name="c"),
        )
        assert 0 == account(scene, TWICE).balance.difference

        scene.end("b", "10-20 12:30")

        found = account(scene, TWICE)
        assert (777 + 90 + 999, 777 + 180 + 999) == (found.usage.recorded, found.usage.what_if)

    def test_what_ran_when_it_was_taken_over_is_priced_as_any_other(self, scene: Scene) -> None:
        runs = times("10-31 08:00", workspaceClass="cent")
        taken(scene, entry(1, draft=True, metadata=runs))
        scene.reconcile()

        found = account(scene, TWICE)

        assert (1440, 2880) == (found.usage.recorded, found.usage.what_if)

    def test_entries_and_limits_that_were_taken_over_stay(self, scene: Scene) -> None:
        due = "2026-11-15T00:00:00Z"
        taken(
            scene,
            cost_center(terms(limit=1, due=due)),
            entry(500, kind="invoice"),
            entry(-20, kind="credit_note"),
        )
        scene.record(*cents("a", "06:00", "07:00"))
        scene.reset("11-15 00:00")

        found = account(scene, TWICE)

        # Of 540 cents and of 600 the limit of one credit covers 100.
        assert (-100, -100) == (found.written_off.recorded, found.written_off.what_if)
        assert (440, 500) == (found.balance.recorded, found.balance.what_if)
        assert (500, -20) == (found.invoice_cents, found.note_cents)


class TestWriteOffs:
    def test_of_a_reset_follow_from_what_would_be_owed(self, scene: Scene) -> None:
        scene.set_cost_center(1)
        scene.record(*cents("a", "06:00", "07:00"))
        scene.reset("12-02 00:00")

        assert (-60, -100) == self.written_off(scene, TWICE)
        assert (-60, -100) == self.written_off(scene, Rules(rounding=parse_rounding("2-hour-up")))
        assert (-60, -120) == self.written_off(scene, TWICE._replace(spending_limit=0))
        assert (-60, -120) == self.written_off(scene, TWICE._replace(resets="everything"))
        assert (-60, 0) == self.written_off(scene, TWICE._replace(resets="nothing"))

    def test_that_were_not_made_are_owed_at_the_next_reset(self, scene: Scene) -> None:
        scene.set_cost_center(1)
        scene.record(*cents("a", "06:00", "08:00"))
        scene.reset("12-02 00:00")
        scene.reset("2027-01-02T00:00:00Z")

        assert (-120, -200) == self.written_off(scene, TWICE)

    def test_count_what_runs_as_it_was_accrued_then(self, scene: Scene) -> None:
        scene.set_cost_center(0)
        scene.record(started("a", "07:00", workspaceClass="cent"))
        scene.reconcile("08:00")
        scene.reset("12-02 00:00")

        assert (-60, -120) == self.written_off(scene, TWICE)

    @staticmethod
    def written_off(scene: Scene, rules: Rules) -> tuple[int, int]:
        found = account(scene, rules).written_off
        return found.recorded, found.what_if

    def test_that_do_not_follow_from_the_log_are_refused(self, scene: Scene) -> None:
        scene.record(*cents("a", "06:00", "07:00"))
        scene.set_cost_center(0)
        scene.reset("12-02 00:00")
        store = scene.service.sqlite
        with store.transaction():
            store.connection.execute(
                "DELETE FROM stored_events WHERE topic = 'instance-stopped'"
                " OR topic = 'instance-stopping'"
            )
        with pytest.raises(FailedPreconditionError, match="and its log adds up to 0"):
            account(scene, TWICE)


class TestStripe:
    def test_what_it_settled_stays_and_the_difference_is_owed(self) -> None:
        with BillingScene() as scene:
            scene.sign_up()
            scene.minutes("a", 60_000)
            scene.double.advance(days=1)
            scene.reconcile()
            end = scene.cost_center().next_billing_time.seconds
            scene.double.advance_to((end + 2 * 3_600) * 1_000)
            scene.reconcile()
            assert 0 == scene.cents()

            found = account(scene, TWICE, BILLED)

            assert (60_000, 120_000) == (found.usage.recorded, found.usage.what_if)
            assert -60_000 == found.invoice_cents
            assert (0, 60_000) == (found.balance.recorded, found.balance.what_if)

    def test_a_move_to_it_forgives_what_would_be_owed_but_for_what_is_not_settled(self) -> None:
        with BillingScene() as scene:
            scene.minutes("a", 100)
            first = scene.sign_up()
            scene.minutes("b", 700)
            scene.reconcile()
            scene.minutes("c", 200)  # never reported: Stripe ends the subscription before
            scene.shop.client.v1.subscriptions.cancel(first, {"invoice_now": True})
            scene.cancel(first)
            scene.subscribe(hold=scene.hold())
            assert 700 == scene.cents()

            found = account(scene, TWICE, BILLED)

            # Beyond the 700 cents that Stripe is still to bill 200 were owed; 1,100 would be.
            assert (-100 - 200, -200 - 1_100) == (
                found.written_off.recorded,
                found.written_off.what_if,
            )
            assert (700, 700) == (found.balance.recorded, found.balance.what_if)


class TestMemory:
    def test_holds_what_runs_and_nothing_that_is_final(self, scene: Scene) -> None:
        for n in range(50):
            scene.record(*cents(f"i{n}", "06:00", "07:00"))
        scene.end("i7", "06:30")  # its entry was read from the log to be corrected
        scene.record(started("runs", "07:30", workspaceClass="cent"))
        (shard,) = scene.service.ledger.shards
        reader = shard.queries.reader
        fold = WhatIf(TWICE, EVER, reader)
        position = 0
        while stored := reader.log(after=position, limit=7):
            fold.fold(decoded(stored))
            position = stored[-1].position

        running = fold._rows
        assert 1 == sum(len(rows) for rows in running.open.values())
        assert {} == running.entries


class TestShards:
    def test_are_tried_one_after_the_other(self) -> None:
        with Scene(prices=CENT_PRICES, shards={"count": 3}) as scene:
            for n in range(6):
                scene.record(*cents(f"i{n}", "06:00", f"07:0{n}", payer=_payer(n)))
            readers = [shard.queries.reader for shard in scene.service.ledger.shards]
            told: list[tuple[int, int]] = []
            outcome = try_rules(readers, TWICE, EVER, lambda done, of: told.append((done, of)))

            assert ([], 6) == (outcome.breaches, outcome.compared)
            differences = [each.usage.difference for each in outcome.accounts]
            assert [65, 64, 63, 62, 61, 60] == differences
            assert told[-1] == (outcome.events, outcome.events)


def _payer(n: int) -> str:
    return [
        PAYER,
        OTHER_PAYER,
        *(f"team:0000000{i}-0000-4000-8000-000000000000" for i in range(4)),
    ][n]


class TestRounding:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("second-half-up", AS_RECORDED),
            ("second-half-up/half-up", AS_RECORDED),
            ("second-down", Rounding(1, "down", "half-up")),
            ("minute-up/down", Rounding(60, "up", "down")),
            ("15-minute-up", Rounding(900, "up", "half-up")),
            ("2-hour-half-even/half-even", Rounding(7_200, "half-even", "half-even")),
        ],
    )
    def test_is_read(self, text: str, expected: Rounding) -> None:
        assert expected == parse_rounding(text)

    @pytest.mark.parametrize(
        "text", ["", "minute", "minute-ceil", "0-minute-up", "day-up", "minute-up/", "minute-up/x"]
    )
    def test_that_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidArgumentError, match="write UNIT-MODE or N-UNIT-MODE"):
            parse_rounding(text)


class TestPrices:
    def test_are_read_as_the_service_has_them(self, tmp_path: Path) -> None:
        path = tmp_path / "prices.toml"
        path.write_text(
            "[prices]\nrevision = 2\neffective_from = 2026-12-01T00:00:00Z\n"
            '[prices.credits_per_minute]\ndefault = "0.2"\ng1-large = 0.40\nfree = 0\n'
            '[http]\nlisten = "127.0.0.1:9002"\n'
        )

        book = read_prices(path)

        december = 1_796_083_200_000
        assert (1, "0.2", True) == book.price("default", december)
        assert (1, "0.4", True) == book.price("g1-large", december)
        assert (1, "0", True) == book.price("free", december)
        assert (1, "1/6", False) == book.price("other", december)
        with pytest.raises(LookupError):
            book.price("default", december - 1)

    def test_may_be_several_lists(self, tmp_path: Path) -> None:
        path = tmp_path / "prices.toml"
        path.write_text(
            "[[prices]]\nfallback = 0.25\n[prices.credits_per_minute]\ndefault = 1\n"
            "[[prices]]\neffective_from = 1970-01-01T00:00:01Z\n"
            "[prices.credits_per_minute]\ndefault = 2\n"
        )

        book = read_prices(path)

        assert ["1", "2"] == [book.price("default", at)[1] for at in (999, 1_000)]
        assert ["0.25", "1/6"] == [book.price("other", at)[1] for at in (999, 1_000)]

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            ("prices = 3", "has no table"),
            ("", "has no table"),
            ("[prices]", "has no credits_per_minute"),
            ("[prices.credits_per_minute]\nx = '1,5'", "write a decimal"),
            ("[prices.credits_per_minute]\nx = -1", "write a decimal"),
            ("[prices.credits_per_minute]\nx = true", "write a decimal"),
            ("[prices.credits_per_minute]\nx = 1001", "at most 1000 credits per minute"),
            ("[prices]\nfrom = 1\n[prices.credits_per_minute]\nx = 1", "'from' is nothing"),
            (
                "[prices]\neffective_from = 2026-12-01\n[prices.credits_per_minute]\nx = 1",
                "must be a time with its zone",
            ),
            ("[prices", "is not TOML"),
        ],
    )
    def test_that_are_wrong_are_refused(self, tmp_path: Path, text: str, what: str) -> None:
        path = tmp_path / "prices.toml"
        path.write_text(text)
        with pytest.raises(InvalidArgumentError, match=what):
            read_prices(path)

    def test_in_a_file_that_is_not_there_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidArgumentError, match="cannot be read: No such file"):
            read_prices(tmp_path / "none.toml")
