"""Half a year of a real cluster's jobs, and an auditor who believes nothing of it.

Jobs that are heard of forty days late, another price list, corrections, an instance that is
voided, a payer whom Stripe invoices. Then: a quarter handed over and proved elsewhere, one number
opened to its events, one row changed and found, another price list tried. `docs/auditing.md` shows
what this prints; run it with `-s` to see it again.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from persistence.sqlite import FILE_NAME
from tests.billing.scene import DoubleTime, Shop
from tests.billing.simulation.checks import invoiced
from tests.harness import InProcessService, settings_for
from tests.oracle import text_of
from tests.oracle.events import named_uuid, payer_of
from tests.oracle.trace import ATLAS, Job, class_of, read_jobs, trace_file, trace_lines
from tests.packs.scene import verified
from tests.proofs.scene import Signing
from tests.proofs.test_commands import usage_ledger
from usage.v1 import billing_pb2, usage_pb2

pytestmark = [pytest.mark.slow, pytest.mark.trace, pytest.mark.timeout(900)]

DAY_S, HOUR_S = 86_400, 3_600
START, NEW_PRICES_FROM = "2006-12-18T00:00:00Z", "2007-03-01T00:00:00Z"
QUARTER = ("2007-01-01", "2007-04-01")
OLD = {"default": "0.1666666667", "g1-large": "0.5", "cluster-xxl": "1.5"}
NEW = OLD | {"cluster-xxl": "1.35"}
TRIED = OLD | {"cluster-xxl": "1.2", "g1-large": "0.6"}
LATE_S = 40 * DAY_S
LATE_EVERY = 97  # every so-many-th job is heard of late
AUDITED = payer_of(("atlas", "18"))
VOIDED_FOR = "Reported by two clusters"
ENDED_FOR = "Its node was lost an hour before"


def seconds_of(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp())


def lines_by_day(jobs: list[Job]) -> dict[int, list[bytes]]:
    """What is heard of each day; of some jobs nothing is heard for long."""
    late = {named_uuid("atlas", job.number) for job in jobs if job.number % LATE_EVERY == 0}
    days: dict[int, list[bytes]] = {}
    for line in trace_lines(jobs, name="atlas"):
        data = json.loads(line)["data"]
        name = next(n for n in ("startedTime", "stoppingTime", "stoppedTime") if n in data)
        at = seconds_of(data[name])
        if data["workspaceInstanceId"] in late:
            at += LATE_S
        days.setdefault(at // DAY_S, []).append(line)
    return days


class Books:
    """The ledger of a cluster, lived day by day under the clock of a Stripe."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "ledger"
        self.signing = Signing(folder / "keys")
        self.shop = Shop(start=START)
        self.place = ("--data-dir", str(self.data_dir))
        self.service: InProcessService

    @contextlib.contextmanager
    def open(self, revision: int, prices: dict[str, str]) -> Iterator[None]:
        """Serve with a price list."""
        settings = settings_for(
            self.data_dir,
            prices={"revision": revision, "credits_per_minute": prices},
            stripe=self.shop.settings(),
            **self.signing.settings,
        )
        self.service = InProcessService(
            settings, clock=DoubleTime(self.shop.double), gateway=self.shop.gateway(), tree=True
        )
        with self.service:
            yield

    def sign_up(self, payer: str) -> None:
        """Let Stripe invoice a payer."""
        calls = self.service.calls.billing
        calls.CreateStripeCustomer(
            billing_pb2.CreateStripeCustomerRequest(
                attribution_id=payer, name="Owner", email="owner@example.org", currency="USD"
            )
        )
        placed = calls.CreateHoldPaymentIntent(
            billing_pb2.CreateHoldPaymentIntentRequest(attribution_id=payer)
        )
        self.shop.double.outside.confirm_payment(placed.payment_intent_id, "good")
        calls.CreateStripeSubscription(
            billing_pb2.CreateStripeSubscriptionRequest(
                attribution_id=payer,
                payment_intent_id=placed.payment_intent_id,
                usage_limit=1_000_000,
            )
        )

    def live(self, days: dict[int, list[bytes]], until: str) -> None:
        """Live day after day, until one."""
        double, end = self.shop.double, seconds_of(until)
        while double.clock.now < end:
            lines = days.pop(double.clock.now // DAY_S, [])
            double.advance(days=1)
            if lines:
                receipt = self.service.calls.publish(lines)
                assert len(lines) == receipt.recorded, receipt.rejects
            self.service.calls.usage.ReconcileUsage(usage_pb2.ReconcileUsageRequest())
            self.service.calls.billing.ReconcileInvoices(billing_pb2.ReconcileInvoicesRequest())

    def ask(self, *arguments: str) -> str:
        """Run a command against the service, and show it."""
        return self._run(arguments, ("--target", self.service.target))

    def do(self, *arguments: str, code: int = 0) -> str:
        """Run a command on the store, and show it."""
        return self._run(arguments, self.place, code)

    def _run(self, arguments: tuple[str, ...], where: tuple[str, str], code: int = 0) -> str:
        told = usage_ledger(*arguments, *where, code=code)
        sys.stdout.write(f"\n$ usage-ledger {' '.join(arguments)}\n{told}")
        return told

    def cents(self, payer: str) -> int:
        request = usage_pb2.GetBalanceRequest(attribution_id=payer)
        return round(self.service.calls.usage.GetBalance(request).credits * 100)


def charged(job: Job, end_s: int | None = None) -> int:
    """Cents of a job, by the list in force at its start, rounded half up."""
    rates = OLD if job.start_s < seconds_of(NEW_PRICES_FROM) else NEW
    seconds = (job.end_s if end_s is None else end_s) - job.start_s
    cents = Fraction(rates[class_of(job.processors)]) * seconds * 100 / 60
    return int(cents + Fraction(1, 2))


@pytest.fixture(scope="module")
def jobs() -> list[Job]:
    path = trace_file(ATLAS)
    if path is None:
        pytest.skip(f"{ATLAS} is missing")
    return read_jobs(path)


def chosen(jobs: list[Job]) -> tuple[Job, Job]:
    """Two long jobs of the audited payer in January: one to void, one to end earlier."""
    begin, end = seconds_of("2007-01-05T00:00:00Z"), seconds_of("2007-01-30T00:00:00Z")
    mine = [
        job
        for job in jobs
        if payer_of(("atlas", job.payer)) == AUDITED
        and begin < job.start_s < end
        and job.number % LATE_EVERY
        and job.end_s - job.start_s > 2 * HOUR_S
    ]
    return mine[0], mine[1]


def test_an_auditors_run(tmp_path: Path, jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    days = lines_by_day(jobs)
    twice, lost = chosen(jobs)
    ended_s = lost.end_s - HOUR_S
    books = Books(tmp_path)
    monkeypatch.setenv("USAGE_LEDGER_AUDIT__KEYS_FILE", str(books.signing.keys_file))
    with books.open(1, OLD):
        books.sign_up(AUDITED)
        books.live(days, NEW_PRICES_FROM)
        books.ask("heads", "sign")
        head = json.loads(books.ask("heads", "show", "--json"))
    with books.open(2, NEW):
        books.live(days, "2007-04-20T00:00:00Z")
        ids = {job: named_uuid("atlas", job.number) for job in (twice, lost)}
        before = books.cents(AUDITED)
        books.ask("instance", "void", ids[twice], "--reason", VOIDED_FOR)
        at = text_of(ended_s * 1_000_000_000)
        books.ask("instance", "end", ids[lost], "--at", at, "--reason", ENDED_FOR)
        assert before - charged(twice) - (charged(lost) - charged(lost, ended_s)) == books.cents(
            AUDITED
        )
        last = max(days)
        end = dt.datetime.fromtimestamp((last + 2) * DAY_S, dt.UTC).strftime("%Y-%m-%dT00:00:00Z")
        books.live(days, end)
        assert not days
        check_the_sum(books, jobs, twice, lost, ended_s)
        books.ask("heads", "sign")
        explain(books, ids[twice], ids[lost], charged(lost, ended_s))
    hand_over(books, tmp_path, head["note"])
    tamper(books, tmp_path)
    try_prices(books, tmp_path)


def check_the_sum(books: Books, jobs: list[Job], twice: Job, lost: Job, ended_s: int) -> None:
    """Usage is what a sum over the jobs says; what Stripe has invoiced is off the balance."""
    mine = [job for job in jobs if payer_of(("atlas", job.payer)) == AUDITED]
    usage = sum(charged(job) for job in mine if job not in (twice, lost)) + charged(lost, ended_s)
    entries = books.service.calls.entries(AUDITED)
    settled = -sum(entry.credit_cents for entry in entries if not entry.workspace_instance_id)
    assert 0 < settled
    assert settled == 100 * books.shop.double.invoiced_credits(
        next(iter(books.shop.double.world.customers))
    )
    assert usage - settled == books.cents(AUDITED)


def explain(books: Books, twice: str, lost: str, cents: int) -> None:
    """The disputed number, and what was known of it before."""
    told = books.ask("why", "instance", lost)
    assert told.startswith(f"{cents / 100:,.2f} ")
    assert ENDED_FOR in told
    assert "price list 1" in told
    double = books.shop.double
    invoice = next(iter(double.world.invoices.values()))
    told = books.ask("why", "invoice", invoice.id, "--page-size", "3")
    assert told.startswith(f"{invoiced(double, invoice):,}.00 ")
    told = books.ask("why", "instance", twice)
    assert told.startswith("0.00")
    assert VOIDED_FOR in told
    first = books.ask("balance", AUDITED, "--as-of", "2007-02-01", "--known-at", "2007-03-01")
    second = books.ask("balance", AUDITED, "--as-of", "2007-02-01")
    assert first != second
    moments = ("--first-as-of", "2007-02-01", "--first-known-at", "2007-03-01")
    told = books.ask("compare", AUDITED, *moments, "--as-of", "2007-02-01")
    assert lost in told
    assert twice in told


def hand_over(books: Books, folder: Path, kept: str) -> None:
    """A quarter, proved where nothing of the product is; a head that was kept is its beginning."""
    pack = folder / "quarter"
    begin, end = QUARTER
    told = books.do("export", str(pack), "--payer", AUDITED, "--from", begin, "--to", end,
                    "--with-head", "1")  # fmt: skip
    assert "1 payer" in told
    (folder / "kept.txt").write_text(kept)
    said = verified(pack, books.signing.keys_file, "--kept", folder / "kept.txt")
    command = "python usage_ledger_verify.py pack quarter --keys keys.json --kept kept.txt"
    sys.stdout.write(f"\n$ {command}\n{said}")
    totals = json.loads((pack / "manifest.json").read_text())["totals"]
    parts = totals["carried_cents"] + totals["period_cents"] + totals["later_cents"]
    assert parts == totals["balance_cents"]
    assert f"balance {parts / 100:.2f} credits" in said


def tamper(books: Books, folder: Path) -> None:
    """Somebody with the database makes a job shorter."""
    stolen = folder / "tampered"
    shutil.copytree(books.data_dir, stolen)
    assert "✓" in books.do("verify", "--local")
    with contextlib.closing(sqlite3.connect(stolen / FILE_NAME)) as database, database:
        position, state = database.execute(
            "SELECT position, state FROM stored_events WHERE topic = 'instance-stopped'"
            " ORDER BY position LIMIT 1 OFFSET 5000"
        ).fetchone()
        changed = bytearray(state)
        changed[-3] ^= 1
        database.execute(
            "UPDATE stored_events SET state = ? WHERE position = ?", (bytes(changed), position)
        )
    books.place = ("--data-dir", str(stolen))
    told = books.do("verify", "--local", code=3)
    assert f"{position:,}" in told
    books.place = ("--data-dir", str(books.data_dir))


def try_prices(books: Books, folder: Path) -> None:
    """Other prices over the same history, which is not touched."""
    prices: Any = "\n".join(f'"{name}" = "{rate}"' for name, rate in TRIED.items())
    (folder / "tried.toml").write_text(f"[prices.credits_per_minute]\n{prices}\n")
    told = books.do("what-if", "--prices", str(folder / "tried.toml"), "--top", "5")
    assert "add up to the" in told
