"""AddUsageCreditNote, as section 4 of the contract says."""

import json
from pathlib import Path

import grpc
import pytest

from tests.contract.calls.asking import (
    BAD_ATTRIBUTIONS,
    BAD_UUIDS,
    INVALID,
    PAYER,
    RIVAL,
    USER,
    add_note,
    cost_centers,
    head,
    refused,
    text,
    together,
)
from tests.harness import Calls, InProcessService, ManualClock, settings_for
from usage_ledger.v1 import queries_pb2

pytestmark = pytest.mark.sharded

ALREADY_EXISTS = grpc.StatusCode.ALREADY_EXISTS


class TestTheEntry:
    def test_is_minus_the_credits_effective_now(self, calls: Calls, clock: ManualClock) -> None:
        clock.advance(milliseconds=7)
        add_note(calls, 25, description="an outage")
        (entry,) = calls.entries(PAYER)
        assert queries_pb2.ENTRY_KIND_CREDIT_NOTE == entry.kind
        assert -2500 == entry.credit_cents
        assert "2026-11-01T08:00:00.007Z" == text(entry.effective_time)
        assert "an outage" == entry.description
        assert -2500 == calls.balance_cents(PAYER)

    @pytest.mark.parametrize(
        "credits_given", [0, 1, -1, 2**31 - 1, -(2**31)], ids=["0", "1", "-1", "most", "least"]
    )
    def test_takes_every_int32_without_overflow(self, calls: Calls, credits_given: int) -> None:
        add_note(calls, credits_given)
        assert -100 * credits_given == calls.balance_cents(PAYER)
        assert -100 * credits_given == calls.entries(PAYER)[0].credit_cents

    def test_many_of_the_smallest_add_up(self, calls: Calls) -> None:
        for _ in range(5):
            add_note(calls, -(2**31))
        assert 5 * 100 * 2**31 == calls.balance_cents(PAYER)

    def test_has_the_user_in_its_metadata(self, calls: Calls) -> None:
        add_note(calls, 1, user="{" + USER.upper() + "}")
        assert {"userId": USER} == json.loads(calls.entries(PAYER)[0].metadata)

    def test_has_no_metadata_without_a_user(self, calls: Calls) -> None:
        add_note(calls, 1)
        assert "userId" not in calls.entries(PAYER)[0].metadata

    def test_opens_no_cost_center(self, calls: Calls) -> None:
        add_note(calls, 1)
        assert [] == cost_centers(calls)

    def test_the_same_twice_without_a_key_is_two_notes(self, calls: Calls) -> None:
        add_note(calls, 1)
        add_note(calls, 1)
        assert -200 == calls.balance_cents(PAYER)
        assert 2 == len({entry.id for entry in calls.entries(PAYER)})


class TestChecks:
    @pytest.mark.parametrize("attribution", BAD_ATTRIBUTIONS)
    def test_a_malformed_attribution_id_is_invalid_argument(
        self, calls: Calls, attribution: str
    ) -> None:
        with refused(INVALID, "attribution_id", repr(attribution), "team:<uuid>"):
            add_note(calls, 1, payer=attribution)

    @pytest.mark.parametrize(
        "description",
        ["", " ", "\t\r\n\v\f", "\u0085\u00a0", "\u2000\u2028\u2029\u202f\u205f\u3000\u1680"],
    )
    def test_a_description_that_is_blank_after_trimming_is_invalid_argument(
        self, calls: Calls, description: str
    ) -> None:
        with refused(INVALID, "description", "blank"):
            add_note(calls, 1, description=description)

    @pytest.mark.parametrize("letter", ["x", "é", "\U0001d4b3"])
    def test_a_description_over_255_characters_is_invalid_argument(
        self, calls: Calls, letter: str
    ) -> None:
        add_note(calls, 1, description=letter * 255)
        with refused(INVALID, "description", "256", "255"):
            add_note(calls, 1, description=letter * 256)
        assert -100 == calls.balance_cents(PAYER)

    def test_a_description_is_trimmed(self, calls: Calls) -> None:
        add_note(calls, 1, description="\u3000 an outage \n")
        assert "an outage" == calls.entries(PAYER)[0].description

    @pytest.mark.parametrize("user", BAD_UUIDS)
    def test_a_malformed_user_id_is_invalid_argument(self, calls: Calls, user: str) -> None:
        with refused(INVALID, "user_id", repr(user), "UUID"):
            add_note(calls, 1, user=user)

    def test_answer_in_the_order_attribution_description_user_key(self, calls: Calls) -> None:
        before = head(calls)
        with refused(INVALID, "attribution_id"):
            add_note(calls, 1, payer="nobody", description=" ", user="nobody", key="a b")
        with refused(INVALID, "description"):
            add_note(calls, 1, description=" ", user="nobody", key="a b")
        with refused(INVALID, "description"):
            add_note(calls, 1, description="x" * 256, user="nobody", key="a b")
        with refused(INVALID, "user_id"):
            add_note(calls, 1, user="nobody", key="a b")
        with refused(INVALID, "idempotency-key"):
            add_note(calls, 1, key="a b")
        assert before == head(calls)


class TestIdempotencyKey:
    @pytest.mark.parametrize("key", ["k", "x" * 255, "!~:/{}", "call:1"])
    def test_same_key_and_content_is_the_same_note_once(self, calls: Calls, key: str) -> None:
        for _ in range(3):
            add_note(calls, 5, key=key)
        assert -500 == calls.balance_cents(PAYER)
        assert 1 == len(calls.entries(PAYER))

    @pytest.mark.parametrize("key", ["", "x" * 256, "a b", "~ ~"])
    def test_a_key_that_is_not_1_to_255_visible_ascii_characters_is_invalid_argument(
        self, calls: Calls, key: str
    ) -> None:
        with refused(INVALID, "idempotency-key", "1 to 255 visible ASCII"):
            add_note(calls, 5, key=key)
        assert 0 == calls.balance_cents(PAYER)

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param({"credits_given": 6}, id="credits"),
            pytest.param({"description": "another"}, id="description"),
            pytest.param({"user": RIVAL.removeprefix("team:")}, id="user"),
            pytest.param({"user": ""}, id="no-user"),
        ],
    )
    def test_other_content_is_already_exists(self, calls: Calls, other: dict[str, str]) -> None:
        note = {"credits_given": 5, "description": "sorry", "user": USER, "key": "k"}
        add_note(calls, **note)  # type: ignore[arg-type]  # a mixed dictionary
        with refused(ALREADY_EXISTS, "idempotency-key", "'k'", PAYER):
            add_note(calls, **(note | other))  # type: ignore[arg-type]
        assert -500 == calls.balance_cents(PAYER)

    def test_other_content_at_the_same_moment_is_already_exists_for_all_but_one(
        self, calls: Calls
    ) -> None:
        def act(number: int) -> grpc.StatusCode:
            try:
                add_note(calls, number + 1, key="k")
            except grpc.RpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        assert [grpc.StatusCode.OK] + [ALREADY_EXISTS] * 7 == sorted(
            together(8, act), key=lambda code: code.name, reverse=True
        )
        assert 1 == len(calls.entries(PAYER))

    def test_the_same_content_in_other_spellings_is_the_same(self, calls: Calls) -> None:
        add_note(calls, 5, user=USER, key="k")
        spelling = "team:" + PAYER.removeprefix("team:").upper()
        add_note(calls, 5, payer=spelling, user=USER.upper(), description=" sorry ", key="k")
        assert -500 == calls.balance_cents(PAYER)

    def test_its_scope_is_the_attribution_id(self, calls: Calls) -> None:
        add_note(calls, 5, key="k")
        add_note(calls, 6, payer=RIVAL, key="k")
        assert (-500, -600) == (calls.balance_cents(PAYER), calls.balance_cents(RIVAL))

    def test_keys_are_compared_exactly(self, calls: Calls) -> None:
        add_note(calls, 5, key="k")
        add_note(calls, 5, key="K")
        assert -1000 == calls.balance_cents(PAYER)

    def test_holds_for_ever(self, tmp_path: Path, clock: ManualClock) -> None:
        settings = settings_for(tmp_path)
        with InProcessService(settings, clock=clock) as service:
            add_note(service.calls, 5, key="k")
        clock.advance(days=4000)
        with InProcessService(settings, clock=clock) as service:
            add_note(service.calls, 5, key="k")
            assert -500 == service.calls.balance_cents(PAYER)
            with refused(ALREADY_EXISTS, "idempotency-key"):
                add_note(service.calls, 6, key="k")

    def test_a_refused_call_does_not_claim_its_key(self, calls: Calls) -> None:
        with refused(INVALID, "description"):
            add_note(calls, 5, description="", key="k")
        add_note(calls, 6, key="k")
        assert -600 == calls.balance_cents(PAYER)

    def test_concurrent_notes_with_one_key_count_once(self, calls: Calls) -> None:
        together(16, lambda _: add_note(calls, 5, key="k"))
        assert -500 == calls.balance_cents(PAYER)
        assert 1 == len(calls.entries(PAYER))
        assert [] == calls.breaches()

    def test_concurrent_notes_without_a_key_all_count(self, calls: Calls) -> None:
        together(16, lambda _: add_note(calls, 5))
        assert -16 * 500 == calls.balance_cents(PAYER)
        assert 16 == len(calls.entries(PAYER))
