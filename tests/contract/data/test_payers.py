"""Section 1: attribution IDs and UUIDs, credits, entries and the balance."""

import uuid

import grpc
import pytest

from tests.contract.data.scene import (
    PAYER,
    USER,
    Scene,
    instance,
    note,
    ran,
    started,
    stopped,
)
from tests.harness import Calls
from usage.v1 import usage_pb2
from usage_ledger.v1 import queries_pb2

DIGITS = PAYER.removeprefix("team:")
SPELLINGS = [
    DIGITS,
    DIGITS.upper(),
    DIGITS.replace("-", ""),
    DIGITS.replace("-", "").upper(),
    f"{{{DIGITS}}}",
    f"{{{DIGITS.upper()}}}",
]
NO_UUIDS = [
    "",
    DIGITS[:-1],
    DIGITS + "0",
    DIGITS[:-1] + "g",
    f"{{{DIGITS.replace('-', '')}}}",
    f"{{{DIGITS}",
    f"{DIGITS}}}",
    f"({DIGITS})",
    f"urn:uuid:{DIGITS}",
    f"{DIGITS[:4]}-{DIGITS[4:8]}{DIGITS[8:]}",
    DIGITS.replace("-", "")[:16] + "-" + DIGITS.replace("-", "")[16:],
    DIGITS.replace("-", "_"),
    f" {DIGITS}",
    f"{DIGITS} ",
    f"{DIGITS}\n",
    f"{DIGITS[:-1]}\N{ARABIC-INDIC DIGIT ONE}",
    f"{DIGITS[:-1]}\N{FULLWIDTH DIGIT ONE}",
]
NO_ATTRIBUTION_IDS = [
    "",
    DIGITS,
    "team:",
    ":" + DIGITS,
    "user:" + DIGITS,
    "Team:" + DIGITS,
    "TEAM:" + DIGITS,
    " " + PAYER,
    PAYER + " ",
    "team :" + DIGITS,
    "team: " + DIGITS,
    PAYER + ":x",
    "team:team:" + DIGITS,
    "team/" + DIGITS,
    *[f"team:{text}" for text in NO_UUIDS if text],
]


def code_of_balance(calls: Calls, attribution_id: str) -> grpc.StatusCode:
    try:
        calls.usage.GetBalance(usage_pb2.GetBalanceRequest(attribution_id=attribution_id))
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


class TestAttributionId:
    @pytest.mark.parametrize("attribution_id", NO_ATTRIBUTION_IDS)
    def test_anything_but_team_and_a_uuid_is_invalid_in_an_event(
        self, scene: Scene, attribution_id: str
    ) -> None:
        reason = scene.reject(started("a", "07:00", payer=attribution_id))

        assert "attribution_id" in reason

    @pytest.mark.parametrize("attribution_id", NO_ATTRIBUTION_IDS)
    def test_anything_but_team_and_a_uuid_is_invalid_in_a_call(
        self, scene: Scene, attribution_id: str
    ) -> None:
        assert grpc.StatusCode.INVALID_ARGUMENT == code_of_balance(scene.calls, attribution_id)

    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_two_spellings_are_one_account(self, scene: Scene, spelling: str) -> None:
        scene.record(*ran("a", "06:00", "07:00", payer=f"team:{spelling}"))

        assert 1000 == scene.cents(PAYER) == scene.cents(f"team:{spelling}")
        assert [PAYER] == [entry.attribution_id for entry in scene.usage(f"team:{spelling}")]

    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_get_cost_center_answers_with_the_spelling_asked(
        self, scene: Scene, spelling: str
    ) -> None:
        asked = f"team:{spelling}"

        assert asked == scene.open_cost_center(asked).attribution_id
        assert asked == scene.open_cost_center(asked).attribution_id  # there already

    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_set_cost_center_answers_with_the_spelling_asked(
        self, scene: Scene, spelling: str
    ) -> None:
        asked = f"team:{spelling}"
        request = usage_pb2.SetCostCenterRequest(
            cost_center=usage_pb2.CostCenter(attribution_id=asked)
        )

        assert asked == scene.calls.usage.SetCostCenter(request).cost_center.attribution_id

    def test_spellings_of_one_payer_open_one_cost_center(self, scene: Scene) -> None:
        for spelling in SPELLINGS:
            scene.open_cost_center(f"team:{spelling}")

        request = queries_pb2.ListCostCentersRequest()
        centers = scene.calls.queries.ListCostCenters(request).cost_centers
        assert [PAYER] == [center.cost_center.attribution_id for center in centers]


class TestUuid:
    @pytest.mark.parametrize("text", NO_UUIDS)
    def test_anything_else_is_no_instance(self, scene: Scene, text: str) -> None:
        reason = scene.reject(started("a", "07:00", workspaceInstanceId=text))

        assert "workspace_instance_id" in reason

    @pytest.mark.parametrize("text", [text for text in NO_UUIDS if text])
    def test_anything_else_is_no_user(self, scene: Scene, text: str) -> None:
        assert "user_id" in scene.reject(started("a", "07:00", userId=text))

    @pytest.mark.parametrize("turn", range(len(SPELLINGS)))
    def test_ids_are_stored_in_lower_case_with_hyphens(self, scene: Scene, turn: int) -> None:
        def spelled(text: str) -> str:
            digits = text.replace("-", "")
            spellings = [text, text.upper(), digits, digits.upper(), f"{{{text}}}"]
            return [*spellings, f"{{{text.upper()}}}"][turn]

        told = ran("a", "06:00", "07:00", userId=spelled(USER))
        for event in told:
            event["data"]["workspaceInstanceId"] = spelled(instance("a"))
        scene.record(*told)

        entry = scene.only()
        assert instance("a") == entry.workspace_instance_id
        assert f'"userId":"{USER}"' in entry.metadata.replace(" ", "")
        assert [entry] == scene.usage(user_id=spelled(USER))

    def test_two_spellings_are_one_instance(self, scene: Scene) -> None:
        scene.record(started("a", "06:00"))
        scene.record(
            stopped("a", "07:00", workspaceInstanceId=f"{{{instance('a').upper()}}}"),
        )

        assert 1000 == scene.cents()


class TestCredits:
    def test_credits_are_whole_cents_summed_without_floats(self, cent_scene: Scene) -> None:
        # Three times 0.1 is no 0.3 in binary.
        for name in "abc":
            cent_scene.record(*ran(name, "07:00", "07:10", workspaceClass="cent"))

        answer = cent_scene.calls.usage.GetBalance(
            usage_pb2.GetBalanceRequest(attribution_id=PAYER)
        )
        assert 0.3 == answer.credits

    def test_an_entry_is_an_instance_an_invoice_or_a_note(self, scene: Scene) -> None:
        scene.open_cost_center()
        scene.record(*ran("a", "06:00", "07:00"), note(3))
        scene.set_cost_center(0, strategy=0)

        kinds = {entry.kind: entry.credit_cents for entry in scene.calls.entries(PAYER)}
        assert {
            queries_pb2.ENTRY_KIND_WORKSPACE_INSTANCE: 1000,
            queries_pb2.ENTRY_KIND_CREDIT_NOTE: -300,
            queries_pb2.ENTRY_KIND_INVOICE: -700,
        } == kinds

    def test_positive_is_consumed_and_negative_is_given_back(self, scene: Scene) -> None:
        scene.record(note(5, event_id="given"), note(-2, event_id="debited"))

        assert [-500, 200] == sorted(entry.credit_cents for entry in scene.calls.entries(PAYER))

    def test_the_balance_is_the_sum_of_all_entries_drafts_included(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00"), started("b", "07:00"), note(3))
        scene.reconcile()

        entries = scene.calls.entries(PAYER)
        assert [True, False, False] == sorted((entry.draft for entry in entries), reverse=True)
        assert 1000 + 1000 - 300 == scene.cents() == sum(each.credit_cents for each in entries)

    def test_a_positive_balance_is_owed_and_a_payer_without_entries_owes_nothing(
        self, scene: Scene
    ) -> None:
        scene.record(*ran("a", "06:00", "07:00"))

        assert 1000 == scene.cents()
        assert 0 == scene.cents(f"team:{uuid.uuid4()}")

    def test_the_ledger_interval_is_reported_by_list_usage(self) -> None:
        with Scene(ledger_interval="30m") as scene:
            answer = scene.calls.usage.ListUsage(usage_pb2.ListUsageRequest(attribution_id=PAYER))

        assert 1800 == answer.ledger_interval.seconds
