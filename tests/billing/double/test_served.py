"""The double as a process: over HTTP, with webhooks that are POSTed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from tests.billing.double.scenes import METER, metered_price

ROOT = Path(__file__).parents[3]
SECRET = "whsec_served"
KEY = "sk_test_served"
# A fault that never answers is found out after so long.
IMPATIENT_SECONDS = 2.0
PATIENCE_SECONDS = 60.0


class Receiver(ThreadingHTTPServer):
    """Takes webhooks on loopback, and answers with the statuses it was given first."""

    def __init__(self) -> None:
        self.bodies: list[tuple[bytes, str]] = []
        self.statuses: list[int] = []
        self.came = threading.Condition()
        super().__init__(("127.0.0.1", 0), Handler)

    def kinds(self, client: stripe.StripeClient, count: int) -> list[str]:
        """Wait for so many, verify them, and give their kinds."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.bodies) >= count, 20)
            return [
                client.construct_event(body, signature, SECRET).type
                for body, signature in self.bodies
            ]


class Handler(BaseHTTPRequestHandler):
    """Notes what was POSTed."""

    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.came:
            status = self.server.statuses.pop(0) if self.server.statuses else 200
            self.server.bodies.append((body, self.headers["Stripe-Signature"]))
            self.server.came.notify_all()
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Served:
    """A double that runs, with clients to both of its faces."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._clients: list[stripe.HTTPXClient] = []
        self.client = self.client_with(PATIENCE_SECONDS)
        self._control = httpx.Client(base_url=f"{address}/_double/", trust_env=False, timeout=30)

    def client_with(self, seconds: float) -> stripe.StripeClient:
        """Give a client that waits so long for an answer."""
        addresses: Any = {"api": self._address, "meter_events": self._address}
        self._clients.append(stripe.HTTPXClient(timeout=seconds, allow_sync_methods=True))
        return stripe.StripeClient(KEY, base_addresses=addresses, http_client=self._clients[-1])

    def get(self, path: str, /, **query: str) -> Any:
        """Ask the double about itself."""
        return self._control.get(path, params=query).raise_for_status().json()

    def post(self, path: str, /, **body: Any) -> Any:
        """Act on the double."""
        return self._control.post(path, json=body).raise_for_status().json()

    def refused(self, path: str, /, **body: Any) -> int:
        """Give the status of an act that is not possible."""
        return self._control.post(path, json=body).status_code

    def close(self) -> None:
        """End the connections."""
        for http in self._clients:
            http.close()  # type: ignore[no-untyped-call]  # as the SDK has it
        self._control.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Something that takes webhooks."""
    with Receiver() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def double(*arguments: str) -> list[str]:
    """The command that people run, from the root of the repository."""
    return [sys.executable, "-m", "tests.stripe_double", *arguments]


def bare() -> dict[str, str]:
    """An environment in which Python finds what lies in the folder that it is run from.

    The tests of the wheel forbid that. The double needs nothing of the product.
    """
    return {k: v for k, v in os.environ.items() if k not in {"PYTHONSAFEPATH", "PYTHONPATH"}}


@pytest.fixture
def served(receiver: Receiver) -> Iterator[Served]:
    """A double in a process of its own."""
    stripe.enable_telemetry = False
    command = [
        *double("--listen", "127.0.0.1:0"),
        *("--webhook", f"http://127.0.0.1:{receiver.server_port}/hooks"),
        *("--webhook-secret", SECRET, "--secret-key", KEY, "--start", "2026-11-01T00:00:00Z"),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, env=bare(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        made = Served(line.split()[-1])
        yield made
        made.close()
        process.terminate()


def subscribed(served: Served) -> str:
    """Sign a customer up over HTTP."""
    v1 = served.client.v1
    meter = v1.billing.meters.create(
        {
            "display_name": "x",
            "event_name": METER,
            "default_aggregation": {"formula": "sum"},
        }
    ).id
    price = metered_price(served.client, meter)
    customer = v1.customers.create({"name": "Müller & Söhne"}).id
    intent = v1.payment_intents.create(
        {
            "amount": 100,
            "currency": "usd",
            "customer": customer,
            "capture_method": "manual",
            "setup_future_usage": "off_session",
        }
    ).id
    served.post(f"payment_intents/{intent}/confirm", card="good")
    card = str(v1.payment_intents.retrieve(intent).payment_method)
    change: Any = {"invoice_settings": {"default_payment_method": card}}
    v1.customers.update(customer, change)
    v1.subscriptions.create({"customer": customer, "items": [{"price": price}]})
    return customer


def test_a_month_over_http(served: Served, receiver: Receiver) -> None:
    customer = subscribed(served)
    served.client.v1.billing.meter_events.create(
        {
            "event_name": METER,
            "payload": {"stripe_customer_id": customer, "value": "1031"},
            "identifier": "one",
        }
    )
    assert "2026-12-01T01:00:00.000Z" == served.post("clock", to="2026-12-01T01:00:00Z")["now"]
    (invoice,) = served.get("invoices", customer=customer)
    assert ("paid", 1012) == (invoice["status"], invoice["total"])
    first, second = served.get("money", customer=customer)
    assert (1031, 1031, 0) == (first["reported"], first["invoiced"], second["invoiced"])
    # Moving the clock waits for the webhooks of the way.
    kinds = receiver.kinds(served.client, 1)
    assert "invoice.paid" in kinds
    assert kinds.index("invoice.created") < kinds.index("invoice.finalized")
    assert "Müller & Söhne" == served.client.v1.customers.retrieve(customer).name
    assert "POST" == served.get("journal")[0]["method"]
    assert KEY not in json.dumps(served.get("journal"))


def test_webhooks_are_posted_again_under_the_clock(served: Served, receiver: Receiver) -> None:
    receiver.statuses = [500]
    served.client.v1.customers.create({})
    assert ["customer.created"] == receiver.kinds(served.client, 1)
    served.post("clock", seconds=59)
    assert 1 == len(receiver.bodies)
    served.post("clock", seconds=1)
    assert ["customer.created"] * 2 == receiver.kinds(served.client, 2)


def test_webhooks_can_be_doubled(served: Served, receiver: Receiver) -> None:
    served.post("webhooks", duplicate=1.0, kinds=["customer.created"])
    served.client.v1.customers.create({})
    served.post("clock", seconds=3600)
    assert ["customer.created"] * 2 == receiver.kinds(served.client, 2)


@pytest.mark.parametrize(
    ("fault", "made"),
    [("unreachable", 0), ("answer_lost", 1), ("timeout", 0), ("timeout_after", 1)],
)
def test_no_answer_over_http(served: Served, fault: str, made: int) -> None:
    served.post("faults", fault=fault, method="POST", path="/v1/customers", nth=1)
    impatient = served.client_with(IMPATIENT_SECONDS)
    with pytest.raises(stripe.APIConnectionError):
        impatient.v1.customers.create({})
    assert made == len(served.client.v1.customers.list().data)


def test_faults_are_switched_off(served: Served) -> None:
    served.post("faults", fault="server_error")
    assert ["server_error"] == [one["fault"] for one in served.get("faults")]
    with pytest.raises(stripe.APIError):
        served.client.v1.customers.create({})
    served.post("faults/clear")
    assert served.client.v1.customers.create({}).id


def test_everything_that_happens_outside(served: Served) -> None:
    customer = subscribed(served)
    served.post("settings", collects_payments=False, grace_seconds=60, search_lag_seconds=0)
    assert 60 == served.get("settings")["grace_seconds"]
    event: Any = {"event_name": METER, "payload": {"stripe_customer_id": customer, "value": "9"}}
    for month in ("one", "two", "three"):
        served.client.v1.billing.meter_events.create(event | {"identifier": month})
        served.post("clock", seconds=32 * 86400)
    first, second, third = (one["id"] for one in served.get("invoices"))
    assert "void" == served.post(f"invoices/{first}/void")["status"]
    assert 100 == served.post(f"invoices/{second}/credit_note", amount=100)["amount"]
    assert "uncollectible" == served.post(f"invoices/{second}/mark_uncollectible")["status"]
    assert "paid" == served.post(f"invoices/{third}/pay")["status"]
    assert 400 == served.refused(f"invoices/{third}/void")
    address = {"country": "DE"}
    changed = served.post(f"customers/{customer}/address", address=address)
    assert "DE" == changed["address"]["country"]
    intent = served.client.v1.payment_intents.list({"customer": customer}).data[0].id
    assert intent == served.post("disputes", payment_intent=intent)["payment_intent"]
    served.post("late_refusals", times=1)
    assert served.post(f"customers/{customer}/delete")["deleted"]
    assert 404 == served.refused(f"customers/{customer}/delete")
    assert [404, 400, 400] == [
        served.refused("nothing"),
        served.refused("clock", to="2020-01-01T00:00:00Z"),
        served.refused("settings", colour="red"),
    ]


async def test_asynchronous_calls_over_http(served: Served) -> None:
    http = stripe.HTTPXClient(timeout=PATIENCE_SECONDS)
    clock = served.get("clock")
    address = str(served._control.base_url).removesuffix("/_double/")
    client = stripe.StripeClient(KEY, base_addresses={"api": address}, http_client=http)
    customer = await client.v1.customers.create_async({"name": "A"})
    assert clock["now_ms"] // 1000 == customer.created
    await http.close_async()  # type: ignore[no-untyped-call]  # as the SDK has it


def test_it_listens_on_loopback_only() -> None:
    done = subprocess.run(
        double("--listen", "0.0.0.0:0"),
        cwd=ROOT,
        env=bare(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert 2 == done.returncode
    assert "not on loopback" in done.stderr
