"""Section 1: what a cycle holds."""

import pytest

from tests.contract.data.scene import PAYER, Scene, instance, note, ran, started, stopped, stopping
from usage_ledger.v1 import queries_pb2

pytestmark = pytest.mark.sharded

DECEMBER = "12-01 08:00"
"""When the cycle that starts at the scene's now ends."""


def kept(draft: queries_pb2.InvoiceDraft) -> tuple[int, int, int, int, int]:
    """Carried balance, lines, notes, invoices and total of a draft."""
    lines = sum(line.credit_cents for line in draft.lines)
    return (
        draft.carried_balance_cents,
        lines,
        draft.credit_note_cents,
        draft.invoice_cents,
        draft.total_cents,
    )


class TestOpenCycle:
    def test_without_a_cost_center_there_is_one_open_cycle_since_the_first_event(
        self, scene: Scene
    ) -> None:
        scene.record(*ran("a", "2025-01-01T06:00:00Z", "2025-01-01T07:00:00Z"))
        scene.record(*ran("b", "06:00", "07:00"), note(3))

        draft = scene.calls.draft(PAYER)
        assert (0, 2000, -300, 0, 1700) == kept(draft)
        assert 0 == draft.cycle_number
        assert not draft.HasField("cycle_start")
        assert not any(line.HasField("late_for") for line in draft.lines)

    def test_opening_the_cost_center_starts_the_next_with_what_is_owed_carried_over(
        self, scene: Scene
    ) -> None:
        scene.record(*ran("a", "06:00", "07:00"), note(3))
        scene.open_cost_center()
        scene.clock.advance(hours=2)
        scene.record(*ran("b", "08:00", "09:00"))

        draft = scene.calls.draft(PAYER)
        assert (700, 1000, 0, 0, 1700) == kept(draft)
        assert 1 == draft.cycle_number
        assert "2026-11-01T08:00:00Z" == draft.cycle_start.ToJsonString()
        assert scene.cents() == draft.total_cents

    def test_the_boundary_fixes_what_each_running_instance_had_accrued(self, scene: Scene) -> None:
        scene.record(started("a", "06:00"))
        scene.reconcile("07:00")
        scene.clock.set("2026-11-01T08:00:00Z")
        scene.open_cost_center()

        assert {0: 1000} == scene.cycle_lines("a")
        assert (1000, 0, 0, 0, 1000) == kept(scene.calls.draft(PAYER))
        scene.reconcile("09:00")
        assert {0: 1000, 1: 2000} == scene.cycle_lines("a")
        assert (1000, 2000, 0, 0, 3000) == kept(scene.calls.draft(PAYER))

    def test_an_instance_over_a_boundary_has_a_line_in_both_and_one_entry(
        self, scene: Scene
    ) -> None:
        scene.record(started("a", "06:00"))
        scene.reconcile("07:00")
        scene.open_cost_center()
        scene.clock.set("2026-11-01T10:00:00Z")
        scene.record(stopping("a", "09:00"), stopped("a", "09:01"))

        assert {0: 1000, 1: 2000} == scene.cycle_lines("a")
        assert (3000, "2026-11-01T09:00:00Z", False) == scene.only_dated()

    @pytest.mark.parametrize("reconciles", [(), ("07:00",), ("07:00", "08:00"), ("09:30",)])
    def test_the_lines_of_an_instance_over_all_cycles_add_up_to_its_entry(
        self, scene: Scene, reconciles: tuple[str, ...]
    ) -> None:
        scene.clock.set("2026-11-01T06:30:00Z")
        scene.record(started("a", "06:10"))
        for time in reconciles:
            scene.reconcile(time)
            scene.set_cost_center(10, strategy=len(reconciles) % 2)
            scene.set_cost_center(10, strategy=1)
        scene.clock.set("2026-11-01T10:00:00Z")
        scene.record(stopped("a", "09:59:59.7"))

        assert scene.known("a").entry.credit_cents == sum(scene.cycle_lines("a").values())

    def test_a_line_is_the_change_recorded_in_the_cycle_not_the_entry_dated_in_it(
        self, scene: Scene
    ) -> None:
        scene.open_cost_center()
        scene.record(*ran("a", "05:00", "06:00"))

        assert [] == scene.draft_lines()
        (line,) = scene.calls.draft(PAYER).lines
        assert (1000, 1) == (line.credit_cents, line.instances)

    def test_a_late_instance_names_the_period_in_which_it_took_place(self, scene: Scene) -> None:
        scene.open_cost_center()
        scene.record(*ran("seen", "08:00", "08:01"))
        scene.reconcile("11-20 08:00")
        scene.reset(DECEMBER)
        scene.record(*ran("late", "11-15 08:00", "11-15 09:00"))
        scene.record(*ran("before", "10-15 08:00", "10-15 09:00"))

        late = {
            line.late_for.cycle_number: (
                line.credit_cents,
                line.late_for.HasField("start") and line.late_for.start.ToJsonString(),
                line.late_for.end.ToJsonString(),
            )
            for line in scene.calls.draft(PAYER).lines
        }
        assert {
            0: (1000, False, "2026-11-01T08:00:00Z"),
            1: (1000, "2026-11-01T08:00:00Z", "2026-12-01T08:00:00Z"),
        } == late

    def test_a_corrected_instance_has_its_difference_in_the_open_cycle(self, scene: Scene) -> None:
        scene.record(started("a", "06:00"), stopped("a", "07:00"))
        scene.open_cost_center()
        scene.record(stopping("a", "06:30"))

        draft = scene.calls.draft(PAYER)
        assert (1000, -500, 0, 0, 500) == kept(draft)
        (line,) = draft.lines
        assert 0 == line.late_for.cycle_number
        assert line.HasField("late_for")
        assert {0: 1000, 1: -500} == scene.cycle_lines("a")

    def test_an_instance_that_was_not_yet_listed_at_the_boundary_is_all_in_the_next(
        self, scene: Scene
    ) -> None:
        scene.reconcile("07:30")
        scene.record(started("a", "06:00"))
        scene.open_cost_center()
        scene.reconcile("08:00")

        assert {1: 2000} == scene.cycle_lines("a")


class TestBoundary:
    def test_the_write_off_of_a_reset_belongs_to_the_cycle_that_it_ends(self, scene: Scene) -> None:
        scene.set_cost_center(4)
        scene.record(*ran("a", "06:00", "07:00"))
        scene.reconcile("11-20 08:00")
        scene.reset(DECEMBER)

        assert (600, 0, 0, 0, 600) == kept(scene.calls.draft(PAYER))
        invoices = [each for each in scene.calls.entries(PAYER) if each.description == "Credits"]
        assert [-400] == [each.credit_cents for each in invoices]

    def test_the_write_off_of_an_upgrade_belongs_to_the_cycle_that_it_ends(
        self, scene: Scene
    ) -> None:
        scene.open_cost_center()
        scene.record(*ran("a", "06:00", "07:00"))
        scene.set_cost_center(50, strategy=0)

        draft = scene.calls.draft(PAYER)
        assert (0, 0, 0, 0, 0) == kept(draft)
        assert 2 == draft.cycle_number

    def test_a_reset_is_one_boundary_however_many_months_it_advances(self, scene: Scene) -> None:
        scene.open_cost_center()
        # Nobody resets meanwhile; the reconciles show that the clock did not leap.
        for moment in ("2026-11-20", "2026-12-15", "2027-01-10", "2027-02-05", "2027-03-01"):
            scene.reconcile(f"{moment}T00:00:00Z")
        scene.reset("2027-03-15T00:00:00Z")

        draft = scene.calls.draft(PAYER)
        assert 2 == draft.cycle_number
        assert "2027-03-01T08:00:00Z" == draft.cycle_start.ToJsonString()
        assert "2027-04-01T08:00:00Z" == draft.next_billing_time.ToJsonString()

    @pytest.mark.parametrize(
        ("opened", "ends"),
        [
            ("2026-01-31T23:59:59.999Z", "2026-02-28T23:59:59.999Z"),
            ("2028-01-30T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("2026-12-31T12:00:00Z", "2027-01-31T12:00:00Z"),
        ],
    )
    def test_months_are_utc(self, scene: Scene, opened: str, ends: str) -> None:
        scene.clock.set(opened)

        assert ends == scene.open_cost_center().next_billing_time.ToJsonString()

    def test_a_strategy_change_starts_a_cycle(self, scene: Scene) -> None:
        scene.open_cost_center()
        for number, strategy in enumerate((0, 1, 0), 2):
            scene.set_cost_center(5, strategy=strategy)
            assert number == scene.calls.draft(PAYER).cycle_number


class TestLaw:
    def test_balance_is_carried_balance_plus_lines_notes_and_invoices_at_every_step(
        self, scene: Scene
    ) -> None:
        def check() -> None:
            carried, lines, notes, invoices, total = kept(scene.calls.draft(PAYER))
            assert scene.cents() == total == carried + lines + notes + invoices

        for step in (
            lambda: scene.record(started("a", "05:00"), started("b", "06:00")),
            lambda: scene.reconcile("07:00"),
            scene.open_cost_center,
            lambda: scene.record(stopped("a", "07:30")),
            lambda: scene.record(note(2)),
            lambda: scene.set_cost_center(3, strategy=0),
            lambda: scene.record(stopping("a", "07:10")),
            lambda: scene.reconcile("09:00"),
            lambda: scene.set_cost_center(3, strategy=1),
            lambda: scene.end("b", "08:30"),
            lambda: scene.record(*ran("c", "10-01 00:00", "10-01 09:00")),
            lambda: scene.reconcile("11-25 00:00"),
            lambda: scene.reset("12-01 09:00"),
            lambda: scene.end("b", "08:40"),
        ):
            step()
            check()
        assert instance("a") == scene.known("a").workspace_instance_id
