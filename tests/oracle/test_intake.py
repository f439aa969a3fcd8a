"""Examples of section 6: what is recorded, what repeats, what is rejected."""

import pytest

from . import Outcome
from .build import PAYER, USER, Bench, at, instance
from .events import credit_note_event, instance_event, line_of, payer_of
from .respelling import respelled


def counts(bench: Bench) -> tuple[int, int, int, int]:
    receipt = bench.oracle.receipts[""]
    return receipt.received, receipt.recorded, receipt.repeated, receipt.rejected


def stopped(**more: object) -> dict[str, object]:
    return instance_event("stopped", at("09:00"), instance_id=instance("a"), payer=PAYER, more=more)


class TestRepeats:
    def test_the_same_event_counts_once(self) -> None:
        bench = Bench()
        outcomes = [bench.tell("a", "started", "08:00") for _ in range(2)]
        assert (["recorded", "repeated"], (2, 1, 1, 0)) == (outcomes, counts(bench))

    @pytest.mark.parametrize("seed", range(60))
    def test_the_same_in_other_words_repeats(self, seed: int) -> None:
        bench = Bench()
        event = instance_event(
            "started",
            at("08:00:00.0005"),
            instance_id=instance("a"),
            payer=PAYER,
            more={"workspaceClass": "default", "workspaceId": "w", "userId": USER, "userName": "u"},
        )
        line = line_of(event)
        assert "recorded" == bench.oracle.publish(line, at("09:00"))
        assert "repeated" == bench.oracle.publish(respelled(line, seed), at("09:00"))

    @pytest.mark.parametrize("seed", range(20))
    def test_a_note_in_other_words_repeats(self, seed: int) -> None:
        bench = Bench()
        line = line_of(
            credit_note_event(at("07:00:00.0005"), payer=PAYER, credits_given=3, event_id="note")
        )
        assert "recorded" == bench.oracle.publish(line, at("09:00"))
        assert "repeated" == bench.oracle.publish(respelled(line, seed), at("09:00"))

    def test_a_note_under_another_id_is_another_note(self) -> None:
        bench = Bench()
        assert ("recorded", "recorded") == (bench.note(3), bench.note(3, event_id="again"))
        assert -600 == bench.balance

    def test_another_workspace_is_only_seen_under_the_same_id(self) -> None:
        bench = Bench()
        bench.tell("a", "started", "08:00", event_id="1", workspaceId="w")
        outcomes = [
            bench.tell("a", "started", "08:00", event_id=event_id, workspaceId="v")
            for event_id in ("1", "2")
        ]
        assert ["rejected", "repeated"] == outcomes


class TestContradictions:
    @pytest.mark.parametrize(
        "change",
        [
            {"payer": payer_of("other")},
            {"workspace_class": "default"},
            {"user_id": ""},
            {"time": "08:00:00.001"},
            {"workspaceType": "prebuild"},
        ],
    )
    @pytest.mark.parametrize("event_id", ["", "another"])
    def test_of_a_start(self, change: dict[str, str], event_id: str) -> None:
        bench = Bench()
        bench.tell("a", "started", "08:00")
        said: dict[str, str] = {"time": "08:00", "event_id": event_id, **change}
        assert "rejected" == bench.tell("a", "started", **said)

    def test_of_the_payer_between_different_events(self) -> None:
        bench = Bench()
        bench.tell("a", "stopped", "09:00")
        assert "rejected" == bench.tell("a", "started", "08:00", payer=payer_of("other"))
        assert "recorded" == bench.tell("a", "started", "08:00")

    def test_of_a_stop(self) -> None:
        bench = Bench()
        bench.tell("a", "stopped", "09:00")
        assert "rejected" == bench.tell("a", "stopped", "09:01", event_id="another")

    @pytest.mark.parametrize(("time", "expected"), [("09:00", "repeated"), ("09:01", "rejected")])
    def test_of_an_operators_end(self, time: str, expected: Outcome) -> None:
        bench = Bench()
        bench.tell("a", "started", "08:00")
        bench.oracle.end_instance(instance("a"), at("09:00"), at("10:00"))
        assert expected == bench.tell("a", "stopped", time)


class TestDeadLetters:
    def test_the_same_bytes_rejected_again_repeat(self) -> None:
        bench = Bench()
        outcomes = [bench.oracle.publish(text, at("09:00")) for text in ("{", "{\n", "[")]
        assert ["rejected", "repeated", "rejected"] == outcomes
        assert ((3, 0, 1, 2), 2) == (counts(bench), bench.oracle.dead_letters[b"{"].times)

    def test_a_reject_does_not_claim_its_id(self) -> None:
        bench = Bench()
        assert "rejected" == bench.tell("a", "started", "08:00", payer="team:x")
        assert "recorded" == bench.tell("a", "started", "08:00")

    def test_a_retry_that_still_contradicts_moves_nothing(self) -> None:
        bench = Bench()
        bench.tell("a", "stopped", "09:00")
        bench.tell("a", "stopped", "09:01", event_id="another")
        (line,) = bench.oracle.dead_letters
        assert "rejected" == bench.oracle.retry(line, at("10:00"))
        assert (2, 1, 0, 1) == counts(bench)

    def test_a_retry_that_now_repeats_moves_there_and_received_stays(self) -> None:
        bench = Bench()
        bench.tell("a", "started", "08:00")
        bench.oracle.end_instance(instance("a"), at("09:00"), at("10:00"))
        bench.tell("a", "stopped", "09:01")
        bench.oracle.end_instance(instance("a"), at("09:01"), at("10:00"))
        (line,) = bench.oracle.dead_letters
        assert "repeated" == bench.oracle.retry(line, at("10:00"))
        assert ((2, 1, 1, 0), {}) == (counts(bench), bench.oracle.dead_letters)


class TestValidation:
    @pytest.mark.parametrize(
        "event",
        [
            stopped(workspaceInstanceId="7"),
            stopped(workspaceInstanceId=instance("a") + "\n"),
            stopped(attributionId=None),
            stopped(attributionId=PAYER.upper()),
            stopped(attributionId=f"{PAYER}:"),
            stopped(attributionId=f" {PAYER}"),
            stopped(stoppedTime=None),
            stopped(stoppedTime=5),
            stopped(stoppedTime="2026-02-28T09:00:00"),
            stopped(stoppedTime="2026-02-29T09:00:00Z"),
            stopped(stoppedTime="0001-01-01T00:00:00+00:01"),
            stopped(stoppedTime="10000-01-01T00:00:00Z"),
            stopped(stoppedTime="2026-02-28T09:00:00.1234567890Z"),
            stopped(stopped_time="2026-02-28T09:00:00Z"),
            {**stopped(), "type": "usage.workspace_instance.paused.v1"},
            {**stopped(), "specversion": "0.3"},
            {**stopped(), "id": ""},
            {**stopped(), "source": None},
            {**stopped(), "source": "s" * 4097},
            {**stopped(), "time": "yesterday"},
            {**stopped(), "data": []},
            {**stopped(), "datacontenttype": "text/plain"},
            {**stopped(), "more": "x" * 2**18},
        ],
    )
    def test_refuses(self, event: dict[str, object]) -> None:
        assert "rejected" == Bench().oracle.publish(line_of(event), at("10:00"))

    @pytest.mark.parametrize(
        "event",
        [
            stopped(),
            stopped(stoppedTime=None, stopped_time="2026-02-28T11:00:00.5+02:00", stoppedTimes=1)
            | {"time": None},
            stopped(attributionId=f"team:{{{PAYER.removeprefix('team:').upper()}}}"),
            stopped(stoppedTime="0001-01-01T00:00:00Z"),
            stopped(stoppedTime="9999-12-31T23:59:59.999999999Z"),
            {**stopped(), "datacontenttype": "application/json; charset=utf-8"},
            {**stopped(), "anything": {"else": []}},
        ],
    )
    def test_accepts(self, event: dict[str, object]) -> None:
        fields = event["data"]
        assert isinstance(fields, dict)
        if fields.get("stoppedTime", "") is None:
            del fields["stoppedTime"]
        assert "recorded" == Bench().oracle.publish(line_of(event), at("10:00"))

    @pytest.mark.parametrize("credits_given", [5, "5", 5.0, "-2147483648", 2147483647, None])
    def test_accepts_legal_numbers(self, credits_given: object) -> None:
        assert "recorded" == Bench().oracle.publish(self.note(credits_given), at("10:00"))

    @pytest.mark.parametrize("credits_given", [True, "five", 5.5, 2**31, "2147483648", [5], "5.0 "])
    def test_refuses_other_numbers(self, credits_given: object) -> None:
        assert "rejected" == Bench().oracle.publish(self.note(credits_given), at("10:00"))

    @staticmethod
    def note(credits_given: object) -> bytes:
        event = {**stopped(), "type": "usage.credit_note.issued.v1"}
        return line_of({**event, "data": {"attributionId": PAYER, "credits": credits_given}})

    @pytest.mark.parametrize(
        "line", [b"", b"null", b"\xff", b'{"a":1,"a":2}', b'{"a":NaN}', b"[" * 100_000]
    )
    def test_refuses_what_is_no_json_object(self, line: bytes) -> None:
        assert "rejected" == Bench().oracle.publish(line, at("10:00"))
