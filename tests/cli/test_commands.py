"""Every command against a real service in a process of its own."""

import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 30
COMMAND_SECONDS_MAX = 60

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)


def stamp(time: dt.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def new_payer() -> str:
    return f"team:{uuid.uuid4()}"


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("USAGE_LEDGER_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def usage_ledger(*arguments: str, text: bytes = b"", code: int = 0) -> str:
    """Runs a command to its end and answers what it printed."""
    ran = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        input=text,
        capture_output=True,
        check=False,
        env=environment(),
        timeout=COMMAND_SECONDS_MAX,
    )
    told = f"{ran.stdout.decode(errors='replace')}\n{ran.stderr.decode(errors='replace')}"
    assert code == ran.returncode, told
    assert "Traceback" not in told
    return told if code else ran.stdout.decode()


class Service:
    """`usage-ledger serve` on a port of its own, and commands that are aimed at it."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.target = f"127.0.0.1:{probe.getsockname()[1]}"
        self.log = data_dir.with_suffix(".log")
        serve = ["serve", "--data-dir", str(data_dir), "--listen", self.target, *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", *serve],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def answers(self) -> bool:
        host, _, port = self.target.rpartition(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def run(self, *arguments: str, text: bytes = b"", code: int = 0) -> str:
        return usage_ledger(*arguments, "--target", self.target, text=text, code=code)

    def ask(self, *arguments: str, text: bytes = b"", code: int = 0) -> Any:
        """The JSON that a command prints."""
        told = self.run(*arguments, "--json", text=text, code=code)
        return json.JSONDecoder().raw_decode(told)[0]

    def publish(self, *events: dict[str, Any], code: int = 0) -> Any:
        lines = "\n".join(json.dumps(event) for event in events)
        return self.ask("publish", "-", text=lines.encode(), code=code)

    def cents(self, payer: str) -> int:
        (balance,) = self.ask("balance", payer)["balances"]
        cents: int = balance["credit_cents"]
        return cents

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS_MAX)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("service") / "ledger", "--no-jobs")
    yield service
    service.stop()


def event(kind: str, payer: str, instance: str, **fields: str) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "/tests",
        "type": f"usage.workspace_instance.{kind}.v1",
        "time": stamp(NOW),
        "data": {"workspaceInstanceId": instance, "attributionId": payer, **fields},
    }


def an_hour(payer: str, instance: str, *, user: str = "") -> list[dict[str, Any]]:
    """An hour of g1-large: 20 credits."""
    start = {"workspaceClass": "g1-large", "userId": user, "startedTime": stamp(NOW - 3 * HOUR)}
    return [
        event("started", payer, instance, **start),
        event("stopped", payer, instance, stoppedTime=stamp(NOW - 2 * HOUR)),
    ]


class TestPublish:
    def test_the_receipt_adds_up_and_a_second_run_counts_nothing_twice(
        self, service: Service, tmp_path: Path
    ) -> None:
        payer = new_payer()
        file = tmp_path / "events.ndjson"
        events = an_hour(payer, str(uuid.uuid4()))
        file.write_text("".join(f"{json.dumps(one)}\n" for one in events))

        first = service.run("publish", str(file))
        again = service.ask("publish", str(file))

        assert first.startswith("received 2 = recorded 2 + repeated 0 + rejected 0")
        assert (2, 0, 2, 0) == tuple(
            again[name] for name in ("received", "recorded", "repeated", "rejected")
        )
        assert (True, f"file:{file.name}") == (again["finished"], again["delivery"])
        assert 2000 == service.cents(payer)

    def test_crlf_blank_lines_and_a_missing_last_line_end_are_fine(self, service: Service) -> None:
        lines = [json.dumps(one).encode() for one in an_hour(new_payer(), str(uuid.uuid4()))]

        receipt = service.ask("publish", "-", text=b"\r\n\r\n".join(lines))

        assert (2, 2) == (receipt["received"], receipt["recorded"])

    def test_rejects_name_their_line_and_end_with_3(self, service: Service, tmp_path: Path) -> None:
        rejects = tmp_path / "rejects.ndjson"
        good, _ = an_hour(new_payer(), str(uuid.uuid4()))
        text = b"not json %s\n%s\n\xff\n" % (uuid.uuid4().bytes.hex().encode(), encoded(good))

        told = service.run("publish", "-", "--rejects", str(rejects), text=text, code=3)

        assert told.startswith("received 3 = recorded 1 + repeated 0 + rejected 2")
        written = [json.loads(line) for line in rejects.read_text().splitlines()]
        assert [1, 3] == [one["line"] for one in written]
        assert all(one["reason"] and one["dead_letter_id"] for one in written)

    def test_a_line_of_ten_megabytes_is_rejected_and_what_follows_is_recorded(
        self, service: Service
    ) -> None:
        good, _ = an_hour(new_payer(), str(uuid.uuid4()))
        long = f'{{"id": "{uuid.uuid4()}"'.encode() + b" " * 10_000_000 + b"}"

        receipt = service.ask("publish", "-", text=long + b"\n" + encoded(good), code=3)

        assert (2, 1, 1) == (receipt["received"], receipt["recorded"], receipt["rejected"])
        assert 1 == receipt["rejects"][0]["line"]

    def test_a_service_that_dies_is_not_finished(self, tmp_path: Path) -> None:
        own = Service(tmp_path / "ledger", "--store", "memory", "--no-jobs")
        publishing = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "publish", "-", "--target", own.target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        assert publishing.stdin is not None
        publishing.stdin.write(encoded(an_hour(new_payer(), str(uuid.uuid4()))[0]) + b"\n")
        publishing.stdin.flush()
        time.sleep(1)
        own.process.kill()
        own.process.wait()

        _, told = publishing.communicate(timeout=COMMAND_SECONDS_MAX)

        assert 1 == publishing.returncode
        assert "Run it again: nothing counts twice." in told.decode()


def encoded(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()


class TestBalance:
    def test_many_payers_in_the_order_asked(self, service: Service) -> None:
        rich, none = new_payer(), new_payer()
        service.publish(*an_hour(rich, str(uuid.uuid4())))

        balances = service.ask("balance", none, rich)["balances"]

        assert [(none, 0, 0), (rich, 2000, 20)] == [
            (one["attribution_id"], one["credit_cents"], one["credits"]) for one in balances
        ]
        assert "20.00" in service.run("balance", rich)

    def test_a_malformed_payer_is_a_usage_error(self, service: Service) -> None:
        assert "INVALID_ARGUMENT" in service.run("balance", "somebody", code=2)


class TestUsageList:
    def test_a_page_with_the_sum_over_the_range(self, service: Service) -> None:
        payer, user = new_payer(), str(uuid.uuid4())
        mine, theirs = str(uuid.uuid4()), str(uuid.uuid4())
        service.publish(*an_hour(payer, mine, user=user), *an_hour(payer, theirs))

        everything = service.ask("usage", "list", payer, "--order", "asc", "--per-page", "1")
        of_user = service.ask("usage", "list", payer, "--user", user)
        before = service.ask("usage", "list", payer, "--to", stamp(NOW - 2 * HOUR))

        assert (2, 40) == (everything["pagination"]["total"], everything["credits_used"])
        assert 1 == len(everything["usage_entries"])
        (entry,) = of_user["usage_entries"]
        assert (mine, 20, False) == (
            entry["workspace_instance_id"],
            entry["credits"],
            entry["draft"],
        )
        assert "g1-large" == entry["metadata"]["workspaceClass"]
        assert 0 == before["pagination"]["total"]
        assert 3600 == before["ledger_interval_seconds"]
        assert "Page 1 of 1: 2 instances, 40.00 credits" in service.run("usage", "list", payer)


class TestEntriesList:
    def test_credit_notes_are_there_too_and_pages_follow(self, service: Service) -> None:
        payer = new_payer()
        service.publish(*an_hour(payer, str(uuid.uuid4())))
        service.run("credit-note", "add", payer, "5", "--description", "[bold]sorry")

        first = service.ask("entries", "list", payer, "--page-size", "1")
        rest = service.ask("entries", "list", payer, "--cursor", first["next_cursor"])
        every = service.ask("entries", "list", payer, "--all", "--ascending")

        assert ["credit_note"] == [one["kind"] for one in first["entries"]]
        assert ["workspace_instance"] == [one["kind"] for one in rest["entries"]]
        assert [2000, -500] == [one["credit_cents"] for one in every["entries"]]
        assert "" == every["next_cursor"]
        assert "[bold]sorry" in service.run("entries", "list", payer)


class TestCostCenter:
    def test_the_first_look_opens_it_and_set_keeps_what_is_not_given(
        self, service: Service
    ) -> None:
        payer = new_payer()

        opened = service.ask("cost-center", "get", payer)["cost_center"]
        limited = service.ask("cost-center", "set", payer, "--spending-limit", "70")["cost_center"]
        stripe = service.ask("cost-center", "set", payer, "--strategy", "stripe")["cost_center"]
        limited_again = service.ask("cost-center", "set", payer, "--spending-limit", "90")

        assert (0, "other") == (opened["spending_limit"], opened["billing_strategy"])
        assert (70, "other") == (limited["spending_limit"], limited["billing_strategy"])
        assert (70, "stripe") == (stripe["spending_limit"], stripe["billing_strategy"])
        assert "stripe" == limited_again["cost_center"]["billing_strategy"]
        assert payer in service.run("cost-center", "get", payer)

    def test_the_list_has_every_one_with_its_balance(self, service: Service) -> None:
        payer = new_payer()
        service.run("cost-center", "get", payer)
        service.run("credit-note", "add", payer, "1", "--description", "x")

        centers = service.ask("cost-center", "list", "--all")["cost_centers"]

        (mine,) = [one for one in centers if one["cost_center"]["attribution_id"] == payer]
        assert -100 == mine["balance_cents"]


class TestCreditNote:
    def test_credits_are_given_back_and_negative_ones_are_a_debit(self, service: Service) -> None:
        payer = new_payer()

        service.run("credit-note", "add", payer, "50", "--description", "an outage")
        service.run("credit-note", "add", payer, "-20", "--description", "too much")

        assert -3000 == service.cents(payer)

    def test_the_same_key_counts_once_and_other_content_is_refused(self, service: Service) -> None:
        payer = new_payer()
        note = ("credit-note", "add", payer, "--description", "x", "--idempotency-key", "k")

        service.run(*note, "50")
        service.run(*note, "50")
        told = service.run(*note, "51", code=1)

        assert "ALREADY_EXISTS" in told
        assert -5000 == service.cents(payer)

    def test_a_blank_description_is_a_usage_error(self, service: Service) -> None:
        note = ("credit-note", "add", new_payer(), "1", "--description", " ")

        assert "INVALID_ARGUMENT" in service.run(*note, code=2)


class TestInvoiceDraft:
    def test_its_total_is_the_balance(self, service: Service) -> None:
        payer = new_payer()
        service.publish(*an_hour(payer, str(uuid.uuid4())))
        service.run("credit-note", "add", payer, "5", "--description", "x")

        draft = service.ask("invoice-draft", "show", payer)["invoice_draft"]

        assert (1500, 2000, -500) == (
            draft["total_cents"],
            draft["lines"][0]["credit_cents"],
            draft["credit_note_cents"],
        )
        assert "total = balance" in service.run("invoice-draft", "show", payer)


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


class TestDeadLetters:
    def test_listed_shown_and_still_rejected(self, service: Service) -> None:
        line = f"nonsense {uuid.uuid4()}".encode()
        service.ask("publish", "-", text=line, code=3)

        letter = service.ask("dead-letters", "list", "--page-size", "1")["dead_letters"][0]
        shown = service.ask("dead-letters", "show", str(letter["id"]))
        raw = service.run("dead-letters", "show", str(letter["id"]), "--raw")
        retried = service.ask("dead-letters", "retry", str(letter["id"]), code=3)

        assert ("stdin", 1, len(line)) == (letter["delivery"], letter["line"], letter["size_bytes"])
        assert line.decode() == shown["original_text"] == raw
        assert (1, 0, 1) == (retried["retried"], retried["recorded"], len(retried["rejects"]))
        assert letter["reason"][:20] in service.run("dead-letters", "list")

    def test_one_that_is_not_there(self, service: Service) -> None:
        assert "NOT_FOUND" in service.run("dead-letters", "show", "999999999", code=1)

    def test_all_are_retried(self, service: Service) -> None:
        service.ask("publish", "-", text=f"rubbish {uuid.uuid4()}".encode(), code=3)

        retried = service.ask("dead-letters", "retry", "--all", code=3)

        assert len(retried["rejects"]) == retried["retried"] > 0


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


def opening_state(payer: str, instance: str) -> list[dict[str, Any]]:
    """A cycle that began five days ago, with an entry before and one in it."""
    organization = payer.removeprefix("team:")
    began = NOW - 5 * DAY
    center = {
        "spending_limit": 500,
        "billing_strategy": "other",
        "created": stamp(began),
        "billing_cycle_start": stamp(began),
        "next_billing_time": stamp(began + 30 * DAY),
    }
    entry = {"kind": "entry", "attribution_id": payer, "draft": False}
    metadata = {"workspaceClass": "default", "startTime": stamp(NOW - 2 * DAY)}
    return [
        {
            **entry,
            "id": str(uuid.uuid4()),
            "entry_kind": "workspace_instance",
            "credit_cents": 1000,
            "effective_time": stamp(NOW - 2 * DAY + HOUR),
            "description": "",
            "workspace_instance_id": instance,
            "metadata": metadata,
        },
        {
            **entry,
            "id": str(uuid.uuid4()),
            "entry_kind": "credit_note",
            "credit_cents": -300,
            "effective_time": stamp(NOW - 20 * DAY),
            "description": "an outage",
            "metadata": {},
        },
        {"kind": "cost_center", "id": payer, "attribution_id": payer, "history": [center]},
        {
            "kind": "member",
            "id": str(uuid.uuid4()),
            "organization_id": organization,
            "user_id": str(uuid.uuid4()),
            "email": "somebody@example.org",
            "joined": stamp(NOW - 60 * DAY),
        },
    ]


class TestImport:
    def file(self, tmp_path: Path, lines: list[dict[str, Any]]) -> Path:
        path = tmp_path / f"{uuid.uuid4()}.ndjson"
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        return path

    def test_the_state_is_taken_over_once(self, service: Service, tmp_path: Path) -> None:
        payer, instance = new_payer(), str(uuid.uuid4())
        path = self.file(tmp_path, opening_state(payer, instance))

        first = service.ask("import", str(path))
        again = service.ask("import", str(path))

        assert (4, 4) == (first["received"], first["recorded"])
        assert (4, 4) == (again["received"], again["repeated"])
        assert 700 == service.cents(payer)
        center = service.ask("cost-center", "get", payer)["cost_center"]
        assert 500 == center["spending_limit"]
        assert center["billing_cycle_start"].startswith(stamp(NOW - 5 * DAY)[:-1])

    def test_what_came_before_the_cycle_is_carried_over(
        self, service: Service, tmp_path: Path
    ) -> None:
        payer = new_payer()
        service.ask("import", str(self.file(tmp_path, opening_state(payer, str(uuid.uuid4())))))

        draft = service.ask("invoice-draft", "show", payer)["invoice_draft"]

        assert (-300, 700) == (draft["carried_balance_cents"], draft["total_cents"])

    def test_a_line_that_is_none_is_rejected_under_its_number(
        self, service: Service, tmp_path: Path
    ) -> None:
        lines = opening_state(new_payer(), str(uuid.uuid4()))
        path = self.file(tmp_path, [*lines, {"kind": "nobody knows"}])

        receipt = service.ask("import", str(path), code=3)

        assert (5, 4, 1) == (receipt["received"], receipt["recorded"], receipt["rejected"])
        assert 5 == receipt["rejects"][0]["line"]

    def test_a_payer_that_lives_already_is_refused(self, service: Service, tmp_path: Path) -> None:
        payer = new_payer()
        service.run("credit-note", "add", payer, "1", "--description", "x")

        receipt = service.ask(
            "import",
            str(self.file(tmp_path, opening_state(payer, str(uuid.uuid4())))),
            code=3,
        )

        assert 4 == receipt["rejected"]
        assert -100 == service.cents(payer)


class TestServe:
    def test_what_was_published_is_there_after_a_restart(self, tmp_path: Path) -> None:
        payer = new_payer()
        first = Service(tmp_path / "ledger")
        first.publish(*an_hour(payer, str(uuid.uuid4())))
        assert 0 == first.stop()

        second = Service(tmp_path / "ledger")
        try:
            assert 2000 == second.cents(payer)
        finally:
            second.stop()

    def test_a_second_service_on_the_same_directory_is_refused(
        self, service: Service, tmp_path: Path
    ) -> None:
        own = Service(tmp_path / "ledger", "--no-jobs")
        try:
            told = usage_ledger(
                *("serve", "--data-dir", str(tmp_path / "ledger"), "--listen", "127.0.0.1:0"),
                code=1,
            )
        finally:
            own.stop()

        assert str(tmp_path / "ledger") in told

    def test_settings_come_from_the_file(self, tmp_path: Path) -> None:
        config = tmp_path / "usage-ledger.toml"
        config.write_text('ledger_interval = "30m"\n')
        own = Service(tmp_path / "ledger", "--config", str(config), "--store", "memory")
        try:
            status = own.ask("status")
        finally:
            own.stop()

        assert 1800 == status["ledger_interval_seconds"]
        assert all(job["enabled"] for job in status["jobs"])

    def test_no_jobs_switches_them_off(self, service: Service) -> None:
        assert not any(job["enabled"] for job in service.ask("status")["jobs"])


class TestConfigShow:
    def test_values_and_where_they_came_from(self, tmp_path: Path) -> None:
        config = tmp_path / "usage-ledger.toml"
        config.write_text('[log]\nlevel = "debug"\n')

        told = usage_ledger("config", "show", "--config", str(config), "--no-jobs", "--json")

        rows = {row["name"]: row for row in json.loads(told)["settings"]}
        assert ("debug", "file", str(config)) == tuple(
            rows["log.level"][key] for key in ("value", "origin", "where")
        )
        assert ("option", False) == (
            rows["jobs.reset_enabled"]["origin"],
            rows["jobs.reset_enabled"]["value"],
        )
        assert "default" in usage_ledger("config", "show")
