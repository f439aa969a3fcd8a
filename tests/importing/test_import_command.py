"""`usage-ledger import`: cycles, free credits, and an import that is cut short."""

import json
from pathlib import Path

import pytest

from tests.contract.data.scene import OTHER_PAYER, PAYER, USER, Scene, at, ran, started, stopped
from tests.harness import ServiceProcess
from tests.importing.lines import Line, cost_center, entry, member, taken, terms, times, written
from tests.oracle.events import named_uuid, payer_of
from tests.publishing.command import Ended, usage_ledger
from usage.v1 import usage_pb2
from usage_ledger.v1 import queries_pb2


def run(target: str, path: Path, *options: str | Path) -> Ended:
    return usage_ledger("import", path, "--json", "--target", target, *options)


class TestCycles:
    def test_the_draft_goes_on_where_the_other_ledger_ended(
        self, scene: Scene, tmp_path: Path
    ) -> None:
        # In the worst order: today's entries first, the cost center in between.
        path = written(
            tmp_path / "opening.ndjson",
            entry(400, name="in the cycle", time="10-20 12:00"),
            entry(-100, name="n", kind="credit_note", time="10-15 00:00"),
            cost_center(terms(start="2026-09-15T00:00:00Z", due="2026-10-15T00:00:00Z"), terms()),
            entry(3000, name="before", time="10-14 12:00"),
            entry(-1000, name="i", kind="invoice", time="10-14 23:59:59.999"),
            member(),
        )
        ended = run(scene.service.target, path)
        assert (0, (6, 6, 0, 0)) == (ended.code, ended.counts)

        draft = scene.calls.draft(PAYER)
        assert (2, 2000, 1, -100, 0, 2300) == (
            draft.cycle_number,
            draft.carried_balance_cents,
            draft.credit_note_count,
            draft.credit_note_cents,
            draft.invoice_count,
            draft.total_cents,
        )
        assert [400] == [line.credit_cents for line in draft.lines]
        assert ("2026-10-15T00:00:00Z", "2026-11-15T00:00:00Z") == (
            draft.cycle_start.ToJsonString(),
            draft.next_billing_time.ToJsonString(),
        )
        assert 2300 == scene.cents()

    def test_the_cycle_ends_when_the_other_ledger_said_and_then_goes_on_monthly(
        self, scene: Scene
    ) -> None:
        # It had drifted: from the 15th to the 17th.
        drifted = terms(0, due="2026-11-17T03:00:00Z")
        taken(scene, entry(3000, time="10-14 12:00"), cost_center(drifted))

        scene.reconcile("11-16 00:00")
        scene.reset("11-17 02:59:59.999")
        assert 3000 == scene.cents()
        scene.reset("11-17 03:00")
        assert 0 == scene.cents()
        center = scene.open_cost_center()
        assert ("2026-11-17T03:00:00Z", "2026-12-17T03:00:00Z") == (
            center.billing_cycle_start.ToJsonString(),
            center.next_billing_time.ToJsonString(),
        )

    @pytest.mark.parametrize("due", [None, "2026-10-15T00:00:00Z"])
    def test_without_an_end_it_is_a_month(self, scene: Scene, due: str | None) -> None:
        taken(scene, cost_center(terms(due=due)))

        assert at("11-15 00:00") == scene.open_cost_center().next_billing_time.ToJsonString()

    def test_strategy_and_limit_are_the_last_ones_and_going_back_restores_the_limit_under_other(
        self, scene: Scene
    ) -> None:
        taken(scene, cost_center(terms(50), terms(70), terms(900, "stripe")))

        center = scene.open_cost_center()
        assert (900, usage_pb2.CostCenter.BILLING_STRATEGY_STRIPE) == (
            center.spending_limit,
            center.billing_strategy,
        )
        scene.set_cost_center(5, strategy=1)
        assert 70 == scene.open_cost_center().spending_limit

    def test_an_instance_that_runs_over_the_import_has_its_line_in_the_open_cycle(
        self, scene: Scene
    ) -> None:
        taken(scene, entry(500, name="done", time="10-14 12:00"), cost_center())
        taken(scene, entry(9, draft=True, time="10-31 08:00", metadata=times("10-31 08:00")))
        scene.reconcile("08:00")
        scene.clock.advance(hours=1)
        scene.record(stopped("a", "09:00"))

        draft = scene.calls.draft(PAYER)
        assert (500, [25_000]) == (
            draft.carried_balance_cents,
            [line.credit_cents for line in draft.lines],
        )
        assert 25_500 == scene.cents()


class TestFreeCredits:
    def directory(self, tmp_path: Path, email: str = "") -> dict[str, str]:
        """Both organisations have the same first member."""
        members = [{"user_id": USER, "joined": "2026-01-01T00:00:00Z", "email": email}]
        path = tmp_path / "directory.json"
        organizations = [{"id": payer[5:], "members": members} for payer in (PAYER, OTHER_PAYER)]
        path.write_text(json.dumps(organizations))
        return {"kind": "file", "path": str(path)}

    @pytest.mark.parametrize(("first_limit", "granted"), [(500, 0), (499, 500), (9999, 0)])
    def test_the_first_member_of_a_granted_cost_center_has_used_their_free_credits(
        self, tmp_path: Path, first_limit: int, granted: int
    ) -> None:
        with Scene(directory=self.directory(tmp_path)) as scene:
            taken(scene, member(), cost_center(terms(first_limit), terms(3)))

            assert granted == scene.open_cost_center(OTHER_PAYER).spending_limit

    def test_by_e_mail_address_too(self, tmp_path: Path) -> None:
        with Scene(directory=self.directory(tmp_path, email="ada@example.org")) as scene:
            other_user = member(named_uuid("another account"), email="Ada@Example.org")
            taken(scene, other_user, cost_center(terms(500)))

            assert 0 == scene.open_cost_center(OTHER_PAYER).spending_limit
            request = queries_pb2.TailLogRequest(from_position=1)
            told = [e.json for page in scene.calls.queries.TailLog(request) for e in page.events]
            assert not any("xample" in each for each in told)

    def test_only_the_member_who_joined_first(self, tmp_path: Path) -> None:
        with Scene(directory=self.directory(tmp_path)) as scene:
            earlier = member(named_uuid("founder"), joined="2025-01-01T00:00:00Z")
            taken(scene, member(), earlier, cost_center(terms(500)))

            assert 500 == scene.open_cost_center(OTHER_PAYER).spending_limit

    def test_the_members_of_the_file_come_before_its_cost_centers(self, tmp_path: Path) -> None:
        path = written(tmp_path / "opening.ndjson", cost_center(terms(500)), member())
        with Scene(directory=self.directory(tmp_path)) as scene:
            assert 0 == run(scene.service.target, path).code
            assert 0 == scene.open_cost_center(OTHER_PAYER).spending_limit


class TestCommand:
    def test_3_with_the_number_of_the_line_in_the_file(self, scene: Scene, tmp_path: Path) -> None:
        path = written(
            tmp_path / "opening.ndjson",
            entry(1),
            b"",
            b"garbage",
            cost_center(),
            entry(-1, name="b"),
        )
        ended = run(scene.service.target, path, "--rejects", tmp_path / "rejects")

        assert (3, (4, 3, 0, 1)) == (ended.code, ended.counts)
        assert [3] == [reject["line"] for reject in ended.answer["rejects"]]
        assert 3 == json.loads((tmp_path / "rejects").read_text())["line"]

    def test_the_source_is_the_files_name_unless_given(self, scene: Scene, tmp_path: Path) -> None:
        path = written(tmp_path / "opening.ndjson", entry(1))
        run(scene.service.target, path)
        run(scene.service.target, path, "--source", "eu01")

        assert (1, 1, 0, 0) == scene.counts("import:opening.ndjson")
        assert (1, 0, 0, 1) == scene.counts("import:eu01")  # known from another source

    def test_1_nobody_there_and_2_no_such_file(self, tmp_path: Path) -> None:
        path = written(tmp_path / "opening.ndjson", entry(1))

        assert 1 == run("127.0.0.1:1", path).code
        assert 2 == run("127.0.0.1:1", tmp_path / "nothing").code

    def test_what_is_imported_and_what_follows_is_one_ledger(
        self, scene: Scene, tmp_path: Path
    ) -> None:
        path = written(tmp_path / "opening.ndjson", cost_center(), entry(400))
        assert 0 == run(scene.service.target, path).code
        scene.record(*ran("new", "06:00", "07:00"), started("runs", "07:00"))
        scene.reconcile("08:00")

        assert 2400 == scene.cents() == scene.calls.draft(PAYER).total_cents
        assert (0, (2, 0, 2, 0)) == (
            (again := run(scene.service.target, path)).code,
            again.counts,
        )


def opening(payers: int, entries: int) -> list[Line]:
    lines: list[Line] = []
    for number in range(payers):
        payer = payer_of(number)
        lines += [
            cost_center(terms(500), name=str(number), payer=payer),
            member(named_uuid(number), payer=payer),
        ]
        lines += [
            entry(each, name=f"{number} {each}", payer=payer, time=f"10-{10 + each % 10} 12:00")
            for each in range(1, entries + 1)
        ]
    return lines


class TestCutShort:
    PAYERS, ENTRIES = 60, 100

    def balances(self, service: ServiceProcess) -> dict[str, int]:
        return {
            payer: service.calls.balance_cents(payer) for payer in map(payer_of, range(self.PAYERS))
        }

    @pytest.mark.parametrize("failpoint", ["after-append:2", "before-commit:2", "after-commit:2"])
    def test_killed_in_the_middle_and_run_again_it_is_as_if_nothing_had_happened(
        self, tmp_path: Path, failpoint: str
    ) -> None:
        lines = opening(self.PAYERS, self.ENTRIES)
        path = written(tmp_path / "opening.ndjson", *lines)
        with ServiceProcess(tmp_path / "ledger", failpoint=failpoint) as service:
            ended = run(service.target, path)
            service.wait_dead()
        assert (1, False) == (ended.code, ended.answer["finished"])

        with ServiceProcess(tmp_path / "ledger") as service:
            again = run(service.target, path)
            received, recorded, repeated, rejected = again.counts
            assert (0, len(lines), 0) == (again.code, received, rejected)
            assert recorded + repeated == len(lines)
            total = self.ENTRIES * (self.ENTRIES + 1) // 2
            assert {total} == set(self.balances(service).values())
            draft = service.calls.draft(payer_of(7))
            early = sum(each for each in range(1, self.ENTRIES + 1) if each % 10 < 5)
            assert (early, total) == (draft.carried_balance_cents, draft.total_cents)
            assert [] == service.calls.breaches()
