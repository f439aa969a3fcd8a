"""GetBalances and ListCostCenters: many payers in one call."""

import base64

import grpc
import pytest

from tests.contract.data.scene import Scene, note, ran
from tests.oracle.events import payer_of
from usage.v1 import usage_pb2
from usage_ledger.v1 import queries_pb2


def balances(scene: Scene, *payers: str) -> list[tuple[str, int]]:
    request = queries_pb2.GetBalancesRequest(attribution_ids=payers)
    answer = scene.calls.queries.GetBalances(request)
    return [(each.attribution_id, each.credit_cents) for each in answer.balances]


def page(scene: Scene, size: int, cursor: str) -> queries_pb2.ListCostCentersResponse:
    request = queries_pb2.ListCostCentersRequest(page_size=size, cursor=cursor)
    return scene.calls.queries.ListCostCenters(request)


def cost_centers(scene: Scene, size: int = 0) -> list[queries_pb2.CostCenterDetails]:
    found: list[queries_pb2.CostCenterDetails] = []
    cursor = ""
    while True:
        answer = page(scene, size, cursor)
        assert len(answer.cost_centers) <= (size or 50)
        found += answer.cost_centers
        cursor = answer.next_cursor
        if not cursor:
            return found


class TestGetBalances:
    def test_one_for_each_in_the_order_asked_with_its_spelling(self, scene: Scene) -> None:
        one, two, three = map(payer_of, "abc")
        scene.record(note(3, payer=one, event_id="1"), note(-4, payer=two, event_id="2"))
        spelled = "team:" + two.removeprefix("team:").upper().replace("-", "")

        assert [(spelled, 400), (three, 0), (one, -300), (two, 400), (one, -300)] == balances(
            scene, spelled, three, one, two, one
        )

    def test_it_answers_what_get_balance_answers(self, scene: Scene) -> None:
        payers = [payer_of(number) for number in range(30)]
        for number, payer in enumerate(payers):
            scene.record(note(number, payer=payer, event_id=str(number)))
        scene.record(*ran("a", "06:00", "07:00", payer=payers[3]))

        assert [(payer, scene.cents(payer)) for payer in payers] == balances(scene, *payers)

    def test_none_is_asked_and_none_answered(self, scene: Scene) -> None:
        assert [] == balances(scene)

    def test_10000_payers_are_answered_and_one_more_is_refused(self, scene: Scene) -> None:
        payers = [payer_of(number) for number in range(10_001)]
        scene.record(note(3, payer=payers[9_999]))

        answered = balances(scene, *payers[:10_000])
        assert (payers[9_999], -300) == answered[-1]
        assert (10_000, 1) == (len(answered), sum(cents != 0 for _, cents in answered))
        with pytest.raises(grpc.RpcError) as refused:
            balances(scene, *payers)
        assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()

    def test_one_malformed_id_refuses_the_call_and_is_named(self, scene: Scene) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            balances(scene, payer_of("a"), "team:x")

        assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()
        assert "team:x" in (refused.value.details() or "")


class TestListCostCenters:
    def test_every_one_by_attribution_id_with_cycle_and_balance(self, scene: Scene) -> None:
        payers = [payer_of(number) for number in range(5)]
        for payer in payers:
            scene.open_cost_center(payer)
        scene.record(*ran("a", "06:00", "07:00", payer=payers[2]))
        scene.set_cost_center(7, strategy=0, payer=payers[2])
        scene.record(note(-3, payer=payers[2]))

        found = cost_centers(scene)
        assert sorted(payers) == [each.cost_center.attribution_id for each in found]
        by_payer = {each.cost_center.attribution_id: each for each in found}
        changed = by_payer[payers[2]]
        assert (2, 300, 7, usage_pb2.CostCenter.BILLING_STRATEGY_STRIPE) == (
            changed.cycle_number,
            changed.balance_cents,
            changed.cost_center.spending_limit,
            changed.cost_center.billing_strategy,
        )
        assert scene.open_cost_center(payers[0]) == by_payer[payers[0]].cost_center

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
    def test_pages_of_any_size_tile_the_list(self, scene: Scene, size: int) -> None:
        payers = [payer_of(number) for number in range(7)]
        for payer in payers:
            scene.open_cost_center(payer)

        assert sorted(payers) == [
            each.cost_center.attribution_id for each in cost_centers(scene, size)
        ]

    def test_the_last_page_has_no_cursor_even_when_it_is_full(self, scene: Scene) -> None:
        for number in range(4):
            scene.open_cost_center(payer_of(number))

        first = page(scene, 2, "")
        assert first.next_cursor
        assert "" == page(scene, 2, first.next_cursor).next_cursor

    def test_50_a_page_unless_asked(self, scene: Scene) -> None:
        for number in range(51):
            scene.open_cost_center(payer_of(number))

        assert 50 == len(page(scene, 0, "").cost_centers)

    def test_one_opened_meanwhile_is_not_missed_and_none_comes_twice(self, scene: Scene) -> None:
        payers = sorted(payer_of(number) for number in range(10))
        for payer in payers[::2]:
            scene.open_cost_center(payer)
        first = page(scene, 2, "")
        for payer in payers[1::2]:
            scene.open_cost_center(payer)
        rest = page(scene, 100, first.next_cursor)

        seen = [
            each.cost_center.attribution_id for each in [*first.cost_centers, *rest.cost_centers]
        ]
        assert [payers[0], payers[2], *payers[3:]] == seen

    def test_reading_opens_and_resets_nothing(self, scene: Scene) -> None:
        scene.open_cost_center(payer_of(1))
        scene.reconcile("11-20 00:00")
        scene.clock.set("2026-12-05T00:00:00Z")
        head = scene.status().head

        (center,) = cost_centers(scene)
        assert "2026-12-01T08:00:00Z" == center.cost_center.next_billing_time.ToJsonString()
        assert head == scene.status().head

    @pytest.mark.parametrize("size", [-1, 1001, -(2**31), 2**31 - 1])
    def test_a_page_size_out_of_range_is_refused(self, scene: Scene, size: int) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            page(scene, size, "")
        assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()

    @pytest.mark.parametrize(
        "cursor", ["x", "ü", "!" * 24, base64.urlsafe_b64encode(b"x" * 15).decode(), "x" * 100_000]
    )
    def test_a_cursor_that_is_none_of_ours_is_refused(self, scene: Scene, cursor: str) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            page(scene, 2, cursor)
        assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()
