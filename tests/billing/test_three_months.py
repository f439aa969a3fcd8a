"""Three months of a real job log, billed over HTTP: what Stripe invoices is what a sum says.

Sixty-nine payers sign up, use, are invoiced and settled by webhooks that come twice and out of
order, while Stripe fails now and then. One cancels and comes back, one disputes. Time is simulated:
ledger and double have one clock.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import grpc
import pytest

from billing import GatewaySettings, Secret
from billing.gateway import Gateway
from ledger.directory import FileDirectory
from ledger.invoicing.reports import SUMMED_SECONDS
from tests.billing.scene import DoubleTime, Shop, at_stripe
from tests.billing.served import ServedDouble
from tests.harness import InProcessService, settings_for
from tests.oracle import DEFAULT_RATES
from tests.oracle.events import named_uuid, payer_of
from tests.oracle.trace import NASA, Job, class_of, read_jobs, trace_file, trace_lines
from tests.publishing.command import command_line, environment
from tests.servers.ports import free_ports
from usage.v1 import billing_pb2, usage_pb2
from usage_ledger.v1 import billing_pb2 as status_pb2

START = "1993-10-01T00:00:00Z"
START_S, DAY_S = 749_433_600, 86_400
DAYS = 92
WEBHOOK_SECRET = "whsec_three_months"
CANCELS_ON, DISPUTES_ON = 40, 65
# Requests that go wrong once everybody has signed up, each with its probability.
FAULTS = {
    "unreachable": 0.02,
    "answer_lost": 0.02,
    "server_error": 0.01,
    "server_error_after": 0.01,
    "rate_limited": 0.02,
    "conflict": 0.01,
}

pytestmark = [pytest.mark.slow, pytest.mark.trace, pytest.mark.timeout(900)]


def expected_credits(jobs: list[Job]) -> dict[str, int]:
    """What each payer is to be invoiced in all: the sum over its jobs, rounded up once."""
    rates = {name: Fraction(text) for name, text in DEFAULT_RATES.items()}
    cents: dict[str, int] = defaultdict(int)
    for job in jobs:
        rate = rates.get(class_of(job.processors), Fraction(1, 6))
        cents[payer_of(("nasa", job.payer))] += int(
            rate * (job.end_s - job.start_s) * 100 / 60 + Fraction(1, 2)
        )
    return {payer: -(-total // 100) for payer, total in cents.items()}


def by_day(jobs: list[Job]) -> list[list[bytes]]:
    """The events of each day, in their order."""
    days: list[list[bytes]] = [[] for _ in range(DAYS + 3)]
    for line in trace_lines(jobs, name="nasa"):
        data = json.loads(line)["data"]
        time = next(data[name] for name in data if name in {
            "startedTime", "stoppingTime", "stoppedTime"
        })  # fmt: skip
        day = (_seconds(time) - START_S) // DAY_S
        days[min(max(day, 0), len(days) - 1)].append(line)
    return days


def _seconds(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp())


class Run:
    """A service with HTTP before a served double."""

    def __init__(self, folder: Path, payers: list[str]) -> None:
        self.shop = Shop(start=START, webhook_secret=WEBHOOK_SECRET)
        self.double = self.shop.double
        (port,) = free_ports(1)
        hook = f"http://127.0.0.1:{port}/stripe/invoices/webhook"
        self.served = ServedDouble(self.double, webhook_url=hook)
        secret = folder / "webhook-secret"
        secret.write_text(WEBHOOK_SECRET)
        self.directory = folder / "members.json"
        self.directory.write_text(json.dumps([_organization(payer) for payer in payers]))
        settings = settings_for(
            folder / "ledger",
            http={"listen": f"127.0.0.1:{port}"},
            stripe=self.shop.settings(webhook_secret_file=secret),
        )
        reached = GatewaySettings(
            secret_key=Secret(self.double.secret_key), base_url=self.served.url, retries=0
        )
        self.service = InProcessService(
            settings,
            clock=DoubleTime(self.double),
            directory=FileDirectory(self.directory),
            gateway=Gateway(reached),
        )
        self.holds: dict[str, str] = {}
        self.ahead_s = 0  # how much of the day that comes has passed already

    def sign_up(self, payer: str) -> str:
        """Customer, hold, card, subscription."""
        calls = self.service.calls.billing
        calls.CreateStripeCustomer(
            billing_pb2.CreateStripeCustomerRequest(
                attribution_id=payer, name="Owner", email="owner@example.org", currency="USD"
            )
        )
        return self.subscribe(payer)

    def subscribe(self, payer: str) -> str:
        """Hold, card, subscription; what fails for the moment is asked again."""
        calls = self.service.calls.billing
        placed = _again(
            lambda: calls.CreateHoldPaymentIntent(
                billing_pb2.CreateHoldPaymentIntentRequest(attribution_id=payer)
            )
        )
        intent = placed.payment_intent_id
        self.holds[payer] = intent
        self.served.ask("POST", f"payment_intents/{intent}/confirm", card="good")
        request = billing_pb2.CreateStripeSubscriptionRequest(
            attribution_id=payer, payment_intent_id=intent, usage_limit=100_000
        )
        made = _again(lambda: calls.CreateStripeSubscription(request))
        return str(made.subscription.id)

    def cancel(self, payer: str, subscription: str) -> None:
        """End a subscription, and wait until the cost center has left STRIPE."""
        request = billing_pb2.CancelSubscriptionRequest(subscription_id=subscription)
        _again(lambda: self.service.calls.billing.CancelSubscription(request))
        center = usage_pb2.GetCostCenterRequest(attribution_id=payer)
        for tries in range(1, 41):
            strategy = self.service.calls.usage.GetCostCenter(center).cost_center.billing_strategy
            if strategy == usage_pb2.CostCenter.BILLING_STRATEGY_OTHER:
                return
            # Not everything was at Stripe: no usage comes, so none is forgiven meanwhile.
            self.service.calls.billing.ReconcileInvoices(billing_pb2.ReconcileInvoicesRequest())
            if tries % 10 == 0:
                # What was lost yesterday is reported anew, and Stripe takes a while to add it up.
                self.pass_time(SUMMED_SECONDS + 1)
                self.ahead_s += SUMMED_SECONDS + 1
        raise AssertionError("the subscription does not end")

    def day(self, lines: list[bytes]) -> None:
        """Publish, accrue, report, and let a day pass."""
        if lines:
            receipt = self.service.calls.publish(lines)
            assert len(lines) == receipt.recorded
        self.reconcile()
        self.pass_time(DAY_S - self.ahead_s)
        self.ahead_s = 0
        # Webhooks that failed are tried again, as the scheduler does.
        billing = self.service.ledger.billing
        assert billing is not None
        self.service.wait(billing.webhooks.process("test"))

    def pass_time(self, seconds: int) -> None:
        self.served.ask("POST", "clock", seconds=seconds)

    def lose_a_report(self, customer: str) -> None:
        """Let the next report of a customer not reach Stripe."""
        self.served.ask(
            "POST",
            "faults",
            fault="unreachable",
            method="POST",
            path="/v1/billing/meter_events",
            naming=customer,
            times=1,
        )

    def reconcile(self) -> None:
        self.service.calls.usage.ReconcileUsage(usage_pb2.ReconcileUsageRequest())
        self.service.calls.billing.ReconcileInvoices(billing_pb2.ReconcileInvoicesRequest())

    def customers(self) -> dict[str, str]:
        """Each payer's customer."""
        found = {}
        for one in self.shop.client.v1.customers.list().auto_paging_iter():
            assert one.metadata is not None
            found[one.metadata["attributionId"]] = one.id
        return found


def _organization(payer: str) -> dict[str, Any]:
    owner, member = named_uuid(payer, "owner"), named_uuid(payer, "member")
    joined = "1993-01-01T00:00:00Z"
    return {
        "id": payer.removeprefix("team:"),
        "members": [
            {"user_id": owner, "joined": joined, "role": "owner"},
            {"user_id": member, "joined": joined, "role": "member"},
        ],
    }


def _again(ask: Any) -> Any:
    """As a client does when the service says that it cannot be done just now."""
    for _ in range(20):
        try:
            return ask()
        except grpc.RpcError as error:
            if error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                raise
    return ask()


@pytest.fixture(scope="module")
def jobs() -> list[Job]:
    path = trace_file(NASA)
    if path is None:
        pytest.skip(f"{NASA} is missing")
    return read_jobs(path)


@pytest.fixture
def run(tmp_path: Path, jobs: list[Job]) -> Iterator[Run]:
    running = Run(tmp_path, sorted({payer_of(("nasa", job.payer)) for job in jobs}))
    with running.served, running.service:
        yield running


def test_three_months_of_sixty_nine_payers(run: Run, jobs: list[Job]) -> None:
    expected = expected_credits(jobs)
    days = by_day(jobs)
    payers = sorted(expected)
    subscriptions = {payer: run.sign_up(payer) for payer in payers}
    busiest = max(expected, key=lambda payer: expected[payer])
    disputing = payers[0] if payers[0] != busiest else payers[1]
    customers = run.customers()
    run.served.ask("POST", "webhooks", duplicate=1.0, reorder=0.5)
    for fault, probability in FAULTS.items():
        run.served.ask("POST", "faults", fault=fault, path="/v1/*", probability=probability)
    for number, lines in enumerate(days[:DAYS]):
        if number == CANCELS_ON - 1:
            # What is reported before the end is lost, so that it has to be reported anew.
            run.lose_a_report(customers[busiest])
        if number == CANCELS_ON:
            run.cancel(busiest, subscriptions[busiest])
            assert subscriptions[busiest] != run.subscribe(busiest)
        if number == DISPUTES_ON:
            run.served.ask("POST", "disputes", payment_intent=run.holds[disputing])
        run.day(lines)
    run.served.ask("POST", "faults/clear")
    for lines in days[DAYS:]:
        run.day(lines)
    run.day([])
    assert set(payers) == set(customers) == set(run.customers())
    # What came after the last cycle's end is on no invoice yet, but reported.
    told = {payer: at_stripe(run.double, customers[payer]) for payer in payers}
    assert expected == told
    report = run.service.calls.billing_status.CompareBilling(
        status_pb2.CompareBillingRequest(page_size=100)
    )
    assert "" == "\n".join(str(each) for each in report.breaks)
    blocked = [
        json.loads(line)["user_id"]
        for line in run.directory.with_suffix(".blocked.jsonl").read_text().splitlines()
    ]
    assert [named_uuid(disputing, "owner")] == blocked
    printed = subprocess.run(
        command_line("billing", "reconcile", "--report", "--target", run.service.target),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "0 breaks") == (printed.returncode, printed.stdout.split(", ")[-1].strip(" .\n"))
