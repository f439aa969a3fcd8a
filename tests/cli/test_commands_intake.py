"""Publishing, dead letters and imports against a real service."""

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from tests.cli.running import (
    COMMAND_SECONDS_MAX,
    DAY,
    HOUR,
    NOW,
    Service,
    an_hour,
    encoded,
    environment,
    new_payer,
    stamp,
)
from tests.cluster.processes import wait_until


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
        wait_until(lambda: own.ask("status")["total"]["received"] == 1, what="the event")
        own.process.kill()
        own.process.wait()

        _, told = publishing.communicate(timeout=COMMAND_SECONDS_MAX)

        assert 1 == publishing.returncode
        assert "Run it again: nothing counts twice." in told.decode()


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
