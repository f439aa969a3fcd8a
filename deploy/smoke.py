"""Publish to a running ledger on every way in; later ask it, and compare with a fold of our own.

    smoke.py begin RUN           what the ledger has counted so far, as JSON
    smoke.py publish RUN PART    one of PARTS parts, from 0
    smoke.py check RUN BEGIN     wait until everything is visible, then compare; BEGIN as printed

RUN is `SECONDS-WORD`: what is sent follows from it alone, so the parts need nothing of each other,
and each run has payers of its own. It runs in a container of the ledger's image, beside the roles;
see smoke.sh. The only thing it takes from the product is its command line.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, NamedTuple

PARTS = 2
PAYERS = 4
INSTANCES = 400  # a few thousand deliveries: seconds on a laptop, and more than one batch
RUNNING = 7
NOTES_PER_PAYER = 2
HTTP_BATCH = 100
# A killed role comes back, its group is balanced anew, and the views catch up.
WAIT_SECONDS_MAX = 180
COMMAND_SECONDS_MAX = 120
# The price list that holds where no other is set, in credits a minute.
RATES = {
    "default": Decimal("0.1666666667"),
    "g1-standard": Decimal("0.1666666667"),
    "g1-large": Decimal("0.3333333333"),
}
WAYS = ("kafka", "kafka", "grpc", "http")
NAMESPACE = uuid.UUID("6f1d6a52-6f3c-4a0e-9d0c-3d1f0b6f8e11")


class Failed(Exception):
    """The ledger did not do or say what it must."""


class Event(NamedTuple):
    """A CloudEvent and who pays."""

    payer: str
    line: str


class Delivery(NamedTuple):
    """One time that an event is sent."""

    part: int
    way: str
    event: Event


class Plan:
    """Everything of a run, worked out from its name."""

    def __init__(self, run: str) -> None:
        """Take `SECONDS-WORD`."""
        self.run = run
        self.chance = random.Random(run)  # noqa: S311  # no secret: the same plan in every part
        self.origin = dt.datetime.fromtimestamp(int(run.partition("-")[0]), dt.UTC)
        self.payers = [f"team:{self._id(f'payer-{number}')}" for number in range(PAYERS)]
        self.runner = f"team:{self._id('runner')}"
        self.cents: Counter[str] = Counter()
        self.instances: dict[str, dict[str, int]] = {payer: {} for payer in self.payers}
        events = [*self._stopped_instances(), *self._notes(), *self._running_instances()]
        self.events = len(events)
        self.deliveries = self._shuffled(events)

    @property
    def limit(self) -> int:
        """A spending limit in credits of which the first payer has used 90 %."""
        used = sum(self.instances[self.payers[0]].values())
        return used // 90

    def _id(self, name: str) -> uuid.UUID:
        return uuid.uuid5(NAMESPACE, f"{self.run}/{name}")

    def _event(self, kind: str, name: str, payer: str, at: dt.datetime, **fields: Any) -> Event:
        line = {
            "specversion": "1.0",
            "id": f"{name}-{kind}",
            "source": f"/smoke/{self.run}",
            "type": f"usage.{kind}.v1",
            "time": at.isoformat(),
            "datacontenttype": "application/json",
            "data": {"attributionId": payer, **fields},
        }
        return Event(payer, json.dumps(line, separators=(",", ":")))

    def _stopped_instances(self) -> Iterator[Event]:
        for number in range(INSTANCES):
            name, payer = f"instance-{number}", self.chance.choice(self.payers)
            instance, of_class = str(self._id(name)), self.chance.choice(sorted(RATES))
            start = self.origin - dt.timedelta(seconds=self.chance.randrange(3_600, 86_400))
            seconds = self.chance.randrange(1, 3_600)
            end = start + dt.timedelta(seconds=seconds)
            yield self._event(
                "workspace_instance.started", name, payer, start, workspaceInstanceId=instance,
                workspaceId=f"workspace-{number}", workspaceClass=of_class,
                userId=str(self._id("user")), userName="Ada", startedTime=start.isoformat(),
            )  # fmt: skip
            stopped = end
            if number % 2:
                yield self._event(
                    "workspace_instance.stopping", name, payer, end,
                    workspaceInstanceId=instance, stoppingTime=end.isoformat(),
                )  # fmt: skip
                # What it takes to stop costs nothing.
                stopped += dt.timedelta(seconds=30)
            yield self._event(
                "workspace_instance.stopped", name, payer, stopped,
                workspaceInstanceId=instance, stoppedTime=stopped.isoformat(),
            )  # fmt: skip
            cents = RATES[of_class] * seconds / 60 * 100
            self.instances[payer][instance] = int(cents.quantize(Decimal(1), ROUND_HALF_UP))

    def _notes(self) -> Iterator[Event]:
        for payer in self.payers:
            self.cents[payer] += sum(self.instances[payer].values())
            for number in range(NOTES_PER_PAYER):
                name = f"note-{payer}-{number}"
                yield self._event(
                    "credit_note.issued", name, payer, self.origin, credits=number + 1,
                    description="Smoke test",
                )  # fmt: skip
                self.cents[payer] -= (number + 1) * 100

    def _running_instances(self) -> Iterator[Event]:
        for number in range(RUNNING):
            name = f"running-{number}"
            yield self._event(
                "workspace_instance.started", name, self.runner, self.origin,
                workspaceInstanceId=str(self._id(name)), workspaceClass="g1-large",
                startedTime=self.origin.isoformat(),
            )  # fmt: skip

    def _shuffled(self, events: list[Event]) -> list[Delivery]:
        """Every event twice, in any part, on any way, in any order."""
        deliveries = [
            Delivery(self.chance.randrange(PARTS), self.chance.choice(WAYS), event)
            for event in events
            for _ in range(2)
        ]
        self.chance.shuffle(deliveries)
        return deliveries

    def rejects(self, part: int) -> dict[str, str]:
        """What nobody can read, one a way, other bytes in each part."""
        return {way: f"not an event: {self.run} {part} {way}" for way in sorted(set(WAYS))}


def ledger(*words: str, expect: tuple[int, ...] = (0,)) -> Any:
    """What a command prints as JSON."""
    command = ("usage-ledger", *words, "--json")
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, check=False
    )
    if done.returncode not in expect:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def total() -> dict[str, int]:
    """The sums of the equation over all deliveries so far."""
    counts = ledger("status")["total"]
    return {name: int(counts[name]) for name in ("received", "recorded", "repeated", "rejected")}


def publish(plan: Plan, part: int) -> None:
    """Send one part on all ways."""
    if part == 0:
        ledger("cost-center", "set", plan.payers[0], "--spending-limit", str(plan.limit))
    bad = plan.rejects(part)
    for way, send in (("kafka", send_to_kafka), ("grpc", send_by_grpc), ("http", send_by_http)):
        lines = [
            delivery.event
            for delivery in plan.deliveries
            if (delivery.part, delivery.way) == (part, way)
        ]
        send(f"{plan.run}-{part}", lines, bad[way])
        say(f"part {part}: {len(lines)} events and one that is none by {way}")


def send_to_kafka(name: str, events: list[Event], bad: str) -> None:
    """By the command line; the bad one by a bare producer, as from another program."""
    from kafka import KafkaProducer  # noqa: PLC0415  # only here, and only in the image

    servers = os.environ["SMOKE_KAFKA"]
    half = len(events) // 2
    for number, lines in enumerate((events[:half], events[half:])):
        with written(f"{name}-kafka-{number}", lines) as file:
            ledger("publish", "--kafka", servers, str(file))
        if number == 0:
            producer = KafkaProducer(bootstrap_servers=servers)
            producer.send(os.environ["SMOKE_TOPIC"], key=b"nobody", value=bad.encode()).get(30)
            producer.close()


def send_by_grpc(name: str, events: list[Event], bad: str) -> None:
    """By the service; exit code 3 says that something was rejected, as it must."""
    with written(f"{name}-grpc", [*events, Event("", bad)]) as file:
        token = os.environ["SMOKE_PUBLISHER_TOKEN_FILE"]
        receipt = ledger("publish", "--token-file", token, str(file), expect=(3,))
    expect(f"rejects of {name} by gRPC", 1, receipt["rejected"])


def send_by_http(name: str, events: list[Event], bad: str) -> None:
    """In batches; the bad one is JSON, for else the whole batch could not be read."""
    lines = [event.line for event in events]
    lines.append(json.dumps({"specversion": "1.0", "id": bad, "source": "/smoke", "type": "no"}))
    rejected = 0
    for start in range(0, len(lines), HTTP_BATCH):
        body = "[" + ",".join(lines[start : start + HTTP_BATCH]) + "]"
        request = urllib.request.Request(  # noqa: S310  # the address is the operator's
            os.environ["SMOKE_HTTP"] + "/events",
            data=body.encode(),
            headers={
                "content-type": "application/cloudevents-batch+json",
                "authorization": "Bearer "
                + Path(os.environ["SMOKE_PUBLISHER_TOKEN_FILE"]).read_text(),
            },
        )
        context = ssl.create_default_context(cafile=os.environ["USAGE_LEDGER_TLS_CA"])
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:  # noqa: S310
            rejected += int(json.load(answer)["rejected"])
    expect(f"rejects of {name} by HTTP", 1, rejected)


class written:  # noqa: N801  # used as a function
    """A file of lines, for as long as the block lasts."""

    def __init__(self, name: str, events: list[Event]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name) / f"{name}.ndjson"
        self._file.write_text("".join(f"{event.line}\n" for event in events))

    def __enter__(self) -> Path:
        return self._file

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def check(plan: Plan, begin: dict[str, int]) -> None:
    """Compare the counts, every balance, every instance, the meters and the alerts."""
    bad = PARTS * len(set(WAYS))
    counts = {
        "received": len(plan.deliveries) + bad,
        "recorded": plan.events,
        "repeated": len(plan.deliveries) - plan.events,
        "rejected": bad,
    }
    settles(
        "received = recorded + repeated + rejected",
        counts,
        lambda: {name: value - begin[name] for name, value in total().items()},
    )
    answer = ledger("balance", *plan.payers)["balances"]
    cents = {each["attribution_id"]: int(each["credit_cents"]) for each in answer}
    expect("balances in cents", {payer: plan.cents[payer] for payer in plan.payers}, cents)
    for payer in plan.payers:
        listed = ledger("usage", "list", payer, "--per-page", "1000")["usage_entries"]
        found = {
            entry["workspace_instance_id"]: int(Decimal(str(entry["credits"])) * 100)
            for entry in listed
        }
        expect(
            f"usage of {payer}: {len(listed)} instances, each to the cent",
            plan.instances[payer],
            found,
        )
    laws = ledger("check")["laws"]
    expect(f"breaches of {len(laws)} laws", 0, sum(len(law["breaches"]) for law in laws))
    check_views(plan)


def check_views(plan: Plan) -> None:
    """The views follow the log and may be a moment late."""

    def running() -> dict[str, int]:
        meters = ledger("meters", plan.runner)["meters"]
        classes = [each for meter in meters for each in meter["classes"]]
        return {each["workspace_class"]: int(each["running_instances"]) for each in classes}

    def thresholds() -> list[int]:
        alerts = ledger("alerts", plan.payers[0])["alerts"]
        return sorted(int(alert["threshold_percent"]) for alert in alerts)

    settles("running instances", {"g1-large": RUNNING}, running)
    settles("alerts of who has used 90 % of its limit", [50, 80], thresholds)


def settles(what: str, wanted: Any, ask: Callable[[], Any]) -> None:
    """Ask until the answer is the wanted one; Failed when it takes too long."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while (found := ask()) != wanted and time.monotonic() < deadline:
        time.sleep(1)
    expect(what, wanted, found)


def expect(what: str, wanted: Any, found: Any) -> None:
    if wanted != found:
        raise Failed(f"{what}: must be {wanted}, but is {found}")
    say(f"ok: {what}" + (f": {found}" if len(str(found)) < 300 else ""))


def say(text: str) -> None:
    sys.stderr.write(f"smoke: {text}\n")


def main() -> int:
    """Exit code; 1 says loudly what was wrong."""
    action, run, *rest = sys.argv[1:]
    try:
        if action == "begin":
            sys.stdout.write(json.dumps(total()))
        elif action == "publish":
            publish(Plan(run), int(rest[0]))
        else:
            check(Plan(run), json.loads(rest[0]))
    except (Failed, OSError) as error:
        say(f"FAILED: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
