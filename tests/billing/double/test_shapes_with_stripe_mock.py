"""What the ledger asks of Stripe is well-formed by Stripe's own description of its API.

stripe-mock knows the calls and parameters of API v1 as of a version before the SDK's. It has no
state, so any ID does, and what is compared is only whether it refuses a request for its shape.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.billing.double.scenario import every_call
from tests.servers import stripe_mock as server
from tests.stripe_double import JournalEntry, StripeDouble

pytestmark = pytest.mark.stripe_mock

stripe_mock = server.stripe_mock

# Calls that the ledger needs, of which the scenario must have made each.
NEEDED = {
    ("DELETE", "/v1/subscriptions/*"),
    ("GET", "/v1/billing/meters/*/event_summaries"),
    ("GET", "/v1/credit_notes"),
    ("GET", "/v1/customers"),
    ("GET", "/v1/customers/*"),
    ("GET", "/v1/customers/search"),
    ("GET", "/v1/disputes/*"),
    ("GET", "/v1/events"),
    ("GET", "/v1/events/*"),
    ("GET", "/v1/invoice_payments"),
    ("GET", "/v1/invoices"),
    ("GET", "/v1/invoices/*"),
    ("GET", "/v1/invoices/*/lines"),
    ("GET", "/v1/payment_intents/*"),
    ("GET", "/v1/prices/*"),
    ("GET", "/v1/subscriptions"),
    ("GET", "/v1/subscriptions/*"),
    ("POST", "/v1/billing/meter_event_adjustments"),
    ("POST", "/v1/billing/meter_events"),
    ("POST", "/v1/billing/meters"),
    ("POST", "/v1/credit_notes"),
    ("POST", "/v1/customers"),
    ("POST", "/v1/customers/*"),
    ("POST", "/v1/invoices/*/finalize"),
    ("POST", "/v1/invoices/*/void"),
    ("POST", "/v1/invoices/create_preview"),
    ("POST", "/v1/payment_intents"),
    ("POST", "/v1/payment_intents/*/cancel"),
    ("POST", "/v1/payment_methods/*/attach"),
    ("POST", "/v1/subscriptions"),
    ("POST", "/v1/subscriptions/*"),
}


@pytest.fixture(scope="module")
def lived() -> StripeDouble:
    """A double that every call was made to."""
    return every_call()


def pattern(entry: JournalEntry) -> tuple[str, str]:
    """Put `*` for IDs."""
    parts = ["*" if "_Double" in part else part for part in entry.path.split("/")]
    return entry.method, "/".join(parts)


def replay(client: httpx.Client, method: str, path: str, encoded: str) -> httpx.Response:
    """Ask stripe-mock the same."""
    if method == "POST":
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return client.post(path, content=encoded, headers=headers)
    return client.request(method, f"{path}?{encoded}" if encoded else path)


@pytest.fixture
def client(stripe_mock: str) -> Any:
    """Give an HTTP client to stripe-mock."""
    headers = {"Authorization": "Bearer sk_test_double"}
    with httpx.Client(base_url=stripe_mock, headers=headers, trust_env=False) as made:
        yield made


def test_the_scenario_makes_every_call_that_the_ledger_needs(lived: StripeDouble) -> None:
    assert set() == NEEDED - {pattern(entry) for entry in lived.journal}


def test_no_request_is_refused_for_its_shape(lived: StripeDouble, client: httpx.Client) -> None:
    refused = []
    asked = [entry for entry in lived.journal if entry.path.startswith("/v1/")]
    assert len(asked) > 60
    for entry in asked:
        answer = replay(client, entry.method, entry.path, entry.encoded)
        if answer.status_code != 200:
            refused.append((entry.method, entry.path, answer.text))
    assert [] == refused


def test_a_request_of_a_wrong_shape_is_refused(client: httpx.Client) -> None:
    wrong = [
        ("POST", "/v1/customers", "colour=red"),
        ("POST", "/v1/payment_intents", "amount=100"),
        ("GET", "/v1/usage_records", ""),
        ("POST", "/v1/billing/meter_events", "event_name=credits"),
    ]
    assert [400, 400, 404, 400] == [replay(client, *one).status_code for one in wrong]
