"""What operators look at and do, on a real service."""

import json
import signal
import subprocess
import sys
import uuid

from tests.cli.running import (
    COMMAND_SECONDS_MAX,
    DAY,
    HOUR,
    NOW,
    Service,
    an_hour,
    environment,
    event,
    new_payer,
    stamp,
)


class TestInstance:
    def test_all_that_is_known_of_one(self, service: Service) -> None:
        payer, instance = new_payer(), str(uuid.uuid4())
        service.publish(*an_hour(payer, instance))

        known = service.ask("instance", "show", instance)

        assert (payer, "g1-large") == (known["attribution_id"], known["workspace_class"])
        assert 2000 == known["entry"]["credit_cents"]
        assert [2000] == [line["credit_cents"] for line in known["lines"]]
        assert 2 == len(known["events"])
        assert instance in service.run("instance", "show", instance)

    def test_one_that_nobody_knows(self, service: Service) -> None:
        assert "NOT_FOUND" in service.run("instance", "show", str(uuid.uuid4()), code=1)

    def test_one_that_runs_for_days_is_suspect_until_it_is_ended(self, service: Service) -> None:
        payer, instance = new_payer(), str(uuid.uuid4())
        start = {"workspaceClass": "g1-large", "startedTime": stamp(NOW - 11 * DAY)}
        service.publish(event("started", payer, instance, **start))

        suspects = service.ask("instance", "suspects", "--all")["instances"]
        end = ("instance", "end", instance, "--reason", "its node was lost")
        service.run(*end, "--at", stamp(NOW - 11 * DAY + HOUR))
        left = service.ask("instance", "suspects", "--all")["instances"]

        (suspect,) = [one for one in suspects if one["workspace_instance_id"] == instance]
        assert ("runs_long", payer) == (suspect["reason"], suspect["attribution_id"])
        assert instance not in [one["workspace_instance_id"] for one in left]
        assert 2000 == service.cents(payer)


class TestReconcileAndReset:
    def test_a_running_instance_is_accrued(self, service: Service) -> None:
        payer, instance = new_payer(), str(uuid.uuid4())
        start = {"workspaceClass": "g1-large", "startedTime": stamp(NOW - HOUR)}
        service.publish(event("started", payer, instance, **start))
        before = service.cents(payer)

        service.run("reconcile")

        assert 0 == before
        assert 2000 <= service.cents(payer)
        (entry,) = service.ask("usage", "list", payer)["usage_entries"]
        assert entry["draft"]

    def test_reset_with_and_without_confirmation(self, service: Service) -> None:
        assert "are reset" in service.run("reset")
        assert "The clock is confirmed" in service.run("reset", "--confirm")


class TestLogTail:
    def test_json_lines_in_the_order_of_the_log(self, service: Service) -> None:
        instance = str(uuid.uuid4())
        service.publish(*an_hour(new_payer(), instance))

        lines = service.run("log", "tail", "--last", "2", "--json").splitlines()

        events = [json.loads(line) for line in lines]
        assert [f"instance:{instance}"] * 2 == [one["stream"] for one in events]
        positions = [one["position"]["number"] for one in events]
        assert sorted(positions) == positions

    def test_from_a_position_on(self, service: Service) -> None:
        service.publish(*an_hour(new_payer(), str(uuid.uuid4())))

        lines = service.run("log", "tail", "--from-position", "1", "--limit", "2", "--json")

        assert 1 == json.loads(lines.splitlines()[0])["position"]["number"]
        assert 2 == len(lines.splitlines())

    def test_follow_shows_what_comes_until_it_is_interrupted(self, service: Service) -> None:
        payer, instance = new_payer(), str(uuid.uuid4())
        tail = subprocess.Popen(
            [
                *(sys.executable, "-m", "cli.main", "log", "tail", "--last", "1", "--follow"),
                *("--json", "--target", service.target),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        assert tail.stdout is not None
        tail.stdout.readline()
        service.publish(*an_hour(payer, instance))

        streams = [json.loads(tail.stdout.readline())["stream"] for _ in range(2)]
        tail.send_signal(signal.SIGINT)
        _, told = tail.communicate(timeout=COMMAND_SECONDS_MAX)

        assert [f"instance:{instance}"] * 2 == streams
        assert (0, b"") == (tail.returncode, told)


class TestStatusAndCheck:
    def test_what_was_received_adds_up(self, service: Service) -> None:
        service.publish(*an_hour(new_payer(), str(uuid.uuid4())))

        status = service.ask("status")

        for counts in (status["total"], *status["deliveries"]):
            accounted = counts["recorded"] + counts["repeated"] + counts["rejected"]
            assert counts["received"] == accounted
        assert all(not one["paused"] for one in status["projections"])
        assert {"ledger", "reset"} <= {job["name"] for job in status["jobs"]}
        assert "received" in service.run("status")

    def test_every_law_holds(self, service: Service) -> None:
        service.publish(*an_hour(new_payer(), str(uuid.uuid4())))

        laws = service.ask("check")["laws"]

        assert laws
        assert [] == [one for one in laws if one["breaches"]]
        assert "✓" in service.run("check")
