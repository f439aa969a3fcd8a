"""GetInvoiceDraft: every field of the open cycle. What a cycle holds: `tests/contract/data`."""

import grpc
import pytest

from tests.contract.data.scene import PAYER, Scene, note, ran, started, stopped
from usage_ledger.v1 import queries_pb2


def lines(scene: Scene) -> list[tuple[str, int | None, int, int, int]]:
    return [
        (
            line.workspace_class,
            line.late_for.cycle_number if line.HasField("late_for") else None,
            line.instances,
            line.seconds,
            line.credit_cents,
        )
        for line in scene.calls.draft(PAYER).lines
    ]


class TestFields:
    def test_of_a_payer_without_any_event(self, scene: Scene) -> None:
        assert queries_pb2.InvoiceDraft(attribution_id=PAYER) == scene.calls.draft(PAYER)
        assert 0 == len(scene.usage())  # and asking opened nothing
        assert 0 == scene.status().cost_centers

    def test_of_an_open_cost_center(self, scene: Scene) -> None:
        center = scene.open_cost_center()

        draft = scene.calls.draft(PAYER)
        assert center == draft.cost_center
        assert (center.billing_cycle_start, center.next_billing_time, 1) == (
            draft.cycle_start,
            draft.next_billing_time,
            draft.cycle_number,
        )

    def test_lines_by_workspace_class_with_instances_seconds_and_credits(
        self, scene: Scene
    ) -> None:
        scene.record(*ran("a", "06:00", "06:10"), *ran("b", "06:00", "06:00:30"))
        scene.record(*ran("c", "06:00", "07:00", workspaceClass="g1-large"))
        scene.record(started("d", "07:00", workspaceClass="g1-large"))
        scene.reconcile("07:30")

        assert [
            ("default", None, 2, 630, 167 + 8),
            ("g1-large", None, 2, 5400, 2000 + 1000),
        ] == lines(scene)

    def test_credit_notes_invoices_carried_balance_and_total(self, scene: Scene) -> None:
        scene.record(*ran("a", "05:00", "06:00"), note(1, event_id="before"))
        scene.open_cost_center()
        scene.record(*ran("b", "05:00", "07:00"))
        scene.record(note(3, event_id="1"), note(-1, event_id="2"))

        draft = scene.calls.draft(PAYER)
        assert (900, 2, -200, 0, 0, 2700) == (
            draft.carried_balance_cents,
            draft.credit_note_count,
            draft.credit_note_cents,
            draft.invoice_count,
            draft.invoice_cents,
            draft.total_cents,
        )

    @pytest.mark.parametrize(
        ("notes", "billable"),
        [((), 0), ((-1,), 1), ((-7, 3), 4), ((3,), 0), ((-7, 7), 0)],
    )
    def test_billable_credits_are_never_below_0(
        self, scene: Scene, notes: tuple[int, ...], billable: int
    ) -> None:
        scene.record(*[note(each, event_id=str(each)) for each in notes])

        assert billable == scene.calls.draft(PAYER).billable_credits

    @pytest.mark.parametrize(
        ("end", "billable"), [("06:00:01", 0), ("06:00:02", 1), ("07:00", 10), ("07:00:05", 11)]
    )
    def test_billable_credits_are_whole_and_rounded_up(
        self, scene: Scene, end: str, billable: int
    ) -> None:
        # A second costs nothing, two cost a cent.
        scene.record(*ran("a", "06:00", end, workspaceClass="none"))

        assert billable == scene.calls.draft(PAYER).billable_credits

    def test_billable_credits_leave_invoices_out(self, scene: Scene) -> None:
        scene.open_cost_center()
        scene.record(*ran("a", "06:00", "07:00"))
        scene.set_cost_center(5, strategy=0)
        scene.record(*ran("b", "06:00", "07:00"))

        draft = scene.calls.draft(PAYER)
        assert (1000, 10) == (draft.total_cents, draft.billable_credits)

    def test_accrued_to_is_the_last_reconcile(self, scene: Scene) -> None:
        scene.record(started("a", "05:00"))
        assert not scene.calls.draft(PAYER).HasField("accrued_to")
        scene.reconcile("07:00")
        scene.clock.advance(hours=3)

        draft = scene.calls.draft(PAYER)
        assert ("2026-11-01T07:00:00Z", 2000) == (
            draft.accrued_to.ToJsonString(),
            draft.total_cents,
        )

    @pytest.mark.parametrize("payer", ["", "team:", "user:" + PAYER[5:]])
    def test_a_malformed_payer_is_refused(self, scene: Scene, payer: str) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            scene.calls.draft(payer)
        assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()


class TestLateFor:
    def test_each_closed_period_has_lines_of_its_own(self, scene: Scene) -> None:
        scene.open_cost_center()
        scene.set_cost_center(5, strategy=0)  # cycle 2, at the same instant
        scene.clock.set("2026-11-05T08:00:00Z")
        scene.set_cost_center(5, strategy=1)  # cycle 3
        scene.record(*ran("0", "07:00", "07:30"))
        scene.record(*ran("2", "11-03 07:00", "11-03 07:30"))
        scene.record(*ran("3", "11-05 08:00", "11-05 08:30"))

        assert [
            ("default", None, 1, 1800, 500),
            ("default", 0, 1, 1800, 500),
            ("default", 2, 1, 1800, 500),
        ] == lines(scene)
        late = {
            each.late_for.cycle_number: each.late_for for each in scene.calls.draft(PAYER).lines[1:]
        }
        assert not late[0].HasField("start")
        assert "2026-11-01T08:00:00Z" == late[0].end.ToJsonString()
        assert ("2026-11-01T08:00:00Z", "2026-11-05T08:00:00Z") == (
            late[2].start.ToJsonString(),
            late[2].end.ToJsonString(),
        )

    def test_usage_that_ends_on_the_boundary_is_the_new_cycles(self, scene: Scene) -> None:
        scene.open_cost_center()
        scene.record(*ran("a", "07:00", "08:00"))

        assert [("default", None, 1, 3600, 1000)] == lines(scene)

    def test_an_instance_that_ran_at_the_boundary_and_ended_before_it_has_a_negative_line(
        self, scene: Scene
    ) -> None:
        scene.record(started("a", "05:00"))
        scene.reconcile("08:00")
        scene.open_cost_center()
        scene.record(stopped("a", "07:00"))

        assert [-1000] == [line[4] for line in lines(scene) if line[4]]
        assert 2000 == scene.cents() == scene.calls.draft(PAYER).total_cents
        assert {0: 3000, 1: -1000} == scene.cycle_lines("a")
