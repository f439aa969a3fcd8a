"""A ledger whose Stripe is the double, both under one clock."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import grpc

from billing import GatewaySettings, Secret
from billing.gateway import Gateway
from ledger.clock import Clock
from ledger.directory import Directory
from ledger.identifiers import parse_payer
from ledger.invoicing.service import Billing
from tests.contract.calls.asking import log_of
from tests.contract.data.scene import Line, bytes_of, ran
from tests.harness import Calls, InProcessService, settings_for
from tests.oracle import text_of
from tests.oracle.events import named_uuid
from tests.stripe_double import StripeDouble
from usage.v1 import billing_pb2, usage_pb2
from usage_ledger.v1 import billing_pb2 as status_pb2

PAYER = f"team:{named_uuid('payer')}"
METER_EVENT = "credits"
# 1000 credits inside a flat 9.00, then 0.036 each.
TIERS: list[dict[str, Any]] = [
    {"up_to": 1000, "unit_amount": 0, "flat_amount": 900},
    {"up_to": "inf", "unit_amount_decimal": "3.6", "flat_amount": 0},
]
CENT_PRICES = {"credits_per_minute": {"cent": "0.01", "default": "0.1666666667"}}


class DoubleTime:
    """Implements `ledger.clock.Clock` by the double's clock."""

    def __init__(self, double: StripeDouble) -> None:
        self._double = double

    def now_ns(self) -> int:
        """Give nanoseconds since 1970."""
        return self._double.clock.now_ms * 1_000_000


class Shop:
    """A double with a meter and a metered price in each currency."""

    def __init__(self, **settings: Any) -> None:
        self.double = StripeDouble(**settings)
        self.client = self.double.client()
        meter = self.client.v1.billing.meters.create(
            {
                "display_name": "Credits",
                "event_name": METER_EVENT,
                "default_aggregation": {"formula": "sum"},
            }
        )
        self.meter = meter.id
        self.prices = {currency: self.new_price(currency) for currency in ("eur", "usd")}

    def new_price(self, currency: str) -> str:
        """Make another metered price."""
        params: Any = {
            "currency": currency,
            "billing_scheme": "tiered",
            "tiers_mode": "graduated",
            "tiers": TIERS,
            "recurring": {"interval": "month", "usage_type": "metered", "meter": self.meter},
            "product_data": {"name": "Credits"},
            "metadata": {"human_readable_description": f"1,000 credits for 9 {currency}"},
        }
        return self.client.v1.prices.create(params).id

    def gateway(self) -> Gateway:
        """Give a gateway to it."""
        settings = GatewaySettings(secret_key=Secret(self.double.secret_key))
        return Gateway(settings, http_client=self.double.http_client())

    def settings(self, **more: Any) -> dict[str, Any]:
        """Give the ledger's settings for it."""
        return {
            "meter_id": self.meter,
            "meter_event_name": METER_EVENT,
            "price_eur": self.prices["eur"],
            "price_usd": self.prices["usd"],
            **more,
        }


class BillingScene:
    """A service in this process before a shop."""

    def __init__(
        self,
        shop: Shop | None = None,
        data_dir: Path | None = None,
        *,
        directory: Directory | None = None,
        directory_settings: dict[str, Any] | None = None,
        failpoint: Callable[[str], None] = lambda _name: None,
        **settings: Any,
    ) -> None:
        self.shop = shop or Shop()
        self.double = self.shop.double
        given = {"prices": CENT_PRICES, "stripe": self.shop.settings()} | settings
        if directory_settings is not None:
            given["directory"] = directory_settings
        self.service = InProcessService(
            settings_for(data_dir, **given),
            clock=self.clock(self.double),
            directory=directory,
            gateway=self.shop.gateway(),
            failpoint=failpoint,
        )

    @classmethod
    def at(cls, start: str, **settings: Any) -> Self:
        """Begin at another time."""
        return cls(Shop(start=start), **settings)

    def clock(self, double: StripeDouble) -> Clock:
        """Give the ledger's clock: Stripe's."""
        return DoubleTime(double)

    def __enter__(self) -> Self:
        self.service.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.service.__exit__(None, None, None)

    @property
    def calls(self) -> Calls:
        return self.service.calls

    # Signing up --------------------------------------------------------------------------------

    def customer(self, payer: str = PAYER, **more: Any) -> billing_pb2.StripeCustomer:
        """Make the payer's customer."""
        request = billing_pb2.CreateStripeCustomerRequest(
            **{
                "attribution_id": payer,
                "name": "Owner",
                "email": "owner@example.org",
                "currency": "EUR",
                **more,
            }
        )
        return self.calls.billing.CreateStripeCustomer(request).customer

    def customer_once_possible(self, payer: str = PAYER) -> billing_pb2.StripeCustomer:
        """Make the payer's customer after trouble; Stripe may repeat a failure it has stored."""
        with contextlib.suppress(grpc.RpcError):
            return self.customer(payer)
        return self.customer(payer)

    def known_customer(self, payer: str = PAYER) -> billing_pb2.StripeCustomer:
        """Give the payer's customer as GetStripeCustomer tells it."""
        request = billing_pb2.GetStripeCustomerRequest(attribution_id=payer)
        return self.calls.billing.GetStripeCustomer(request).customer

    def placed_hold(self, payer: str = PAYER) -> str:
        """Place a hold that nobody confirms."""
        request = billing_pb2.CreateHoldPaymentIntentRequest(attribution_id=payer)
        placed = self.calls.billing.CreateHoldPaymentIntent(request)
        assert placed.payment_intent_client_secret
        return placed.payment_intent_id

    def hold(self, payer: str = PAYER, *, card: Any = "good") -> str:
        """Place a hold and confirm it as the browser does."""
        placed = self.placed_hold(payer)
        self.double.outside.confirm_payment(placed, card)
        return placed

    def intent(self, intent_id: str) -> Any:
        """Give a payment intent as it is at Stripe."""
        return self.shop.client.v1.payment_intents.retrieve(intent_id)

    def subscribe(self, payer: str = PAYER, *, hold: str = "", limit: int = 1000) -> str:
        """Subscribe the payer."""
        request = billing_pb2.CreateStripeSubscriptionRequest(
            attribution_id=payer, payment_intent_id=hold, usage_limit=limit
        )
        return self.calls.billing.CreateStripeSubscription(request).subscription.id

    def sign_up(self, payer: str = PAYER, *, limit: int = 1000) -> str:
        """Make customer, hold and subscription; give the subscription."""
        self.customer(payer)
        return self.subscribe(payer, hold=self.hold(payer), limit=limit)

    def subscription(self, payer: str = PAYER) -> str:
        """Give the living subscription of the payer's customer."""
        listed = self.shop.client.v1.subscriptions.list({"customer": self.known_customer(payer).id})
        (found,) = listed.auto_paging_iter()
        return str(found.id)

    # What happens then -------------------------------------------------------------------------

    def record(self, *lines: Line) -> None:
        """Publish events, every one of which has to be recorded."""
        receipt = self.calls.publish(bytes_of(lines))
        assert len(lines) == receipt.recorded, receipt.rejects

    def minutes(self, name: str, count: int, payer: str = PAYER) -> None:
        """Publish an instance that ran for minutes until now; each costs a cent."""
        end = self.double.clock.now_ms
        start, end_text = (text_of(ms * 1_000_000) for ms in (end - count * 60_000, end))
        self.record(*ran(name, start, end_text, payer=payer, workspaceClass="cent"))

    def cancel(self, subscription_id: str) -> None:
        """End a subscription, or tell that it has ended."""
        request = billing_pb2.CancelSubscriptionRequest(subscription_id=subscription_id)
        self.calls.billing.CancelSubscription(request)

    def use(self, credits: int, payer: str = PAYER) -> None:
        """Let the payer owe whole credits more; it is billable as usage is."""
        request = usage_pb2.AddUsageCreditNoteRequest(
            attribution_id=payer, credits=-credits, description="used"
        )
        self.calls.usage.AddUsageCreditNote(request)

    def live_a_cycle(self, credits: int, payer: str = PAYER) -> str:
        """Sign up, use credits, let the cycle end; give its invoice, which is final."""
        self.sign_up(payer)
        return self.end_a_cycle(credits, payer)

    def end_a_cycle(self, credits: int, payer: str = PAYER) -> str:
        """Use and report credits, and let the cycle end; give its invoice, which is final."""
        before = {invoice.id for invoice in self.invoices()}
        self.double.advance(days=1)
        self.use(credits, payer)
        self.reconcile()
        end = self.cost_center(payer).next_billing_time.seconds
        self.double.advance_to((end + 2 * 3_600) * 1_000)
        (invoice,) = [one for one in self.invoices() if one.id not in before]
        return str(invoice.id)

    def reconcile(self) -> None:
        """Accrue what runs, and report."""
        self.calls.usage.ReconcileUsage(usage_pb2.ReconcileUsageRequest())
        self.calls.billing.ReconcileInvoices(billing_pb2.ReconcileInvoicesRequest())

    def report(self, payer: str = PAYER) -> None:
        """Report usage, and do nothing else that belongs to a run."""
        self.service.wait(self.billing.reports.report(payer_key(payer), "test"))

    @property
    def billing(self) -> Billing:
        """What the service does with Stripe."""
        billing = self.service.ledger.billing
        assert billing is not None
        return billing

    def cents(self, payer: str = PAYER) -> int:
        """Give the balance in cents."""
        request = usage_pb2.GetBalanceRequest(attribution_id=payer)
        return round(self.calls.usage.GetBalance(request).credits * 100)

    def cost_center(self, payer: str = PAYER) -> usage_pb2.CostCenter:
        """Give the cost center."""
        request = usage_pb2.GetCostCenterRequest(attribution_id=payer)
        return self.calls.usage.GetCostCenter(request).cost_center

    def invoices(self) -> list[Any]:
        """Give all invoices at Stripe, oldest first."""
        return list(self.shop.client.v1.invoices.list().auto_paging_iter())[::-1]

    def finalize(self, invoice_id: str) -> None:
        """Settle an invoice."""
        request = billing_pb2.FinalizeInvoiceRequest(invoice_id=invoice_id)
        self.calls.billing.FinalizeInvoice(request)

    # What is told of it ------------------------------------------------------------------------

    def logged(self, topic: str) -> list[dict[str, Any]]:
        """Give what the log says of events of a topic, oldest first."""
        return [json.loads(one.json) for one in log_of(self.calls, topic)]

    def books(self) -> list[tuple[int, int, int]]:
        """Give credits sent, invoiced and put back of each closed cycle."""
        return [
            (one["sent_credits"], one["invoiced_credits"], one["shortfall_credits"])
            for one in self.logged("reported-cycle-closed")
        ]

    def compared(self) -> status_pb2.CompareBillingResponse:
        """Compare ledger, rows and Stripe."""
        return self.calls.billing_status.CompareBilling(status_pb2.CompareBillingRequest())

    def breaks(self) -> list[str]:
        """Name what does not agree."""
        return [one.kind for one in self.compared().breaks]

    def standing(self, payer: str = PAYER) -> status_pb2.BilledPayer:
        """Give what `billing status` says of a payer."""
        request = status_pb2.GetBillingStatusRequest(attribution_id=payer)
        (found,) = self.calls.billing_status.GetBillingStatus(request).payers
        return found

    def invoiced(self) -> int:
        """Give the credits on invoices of the payer's customer."""
        return self.double.invoiced_credits(self.known_customer().id)

    def reported(self, payer: str = PAYER) -> int:
        """Give the credits that Stripe has of a payer's customer, counted by the meter or not."""
        return sum(one.reported for one in self.double.money(self.known_customer(payer).id))


def at_stripe(double: StripeDouble, customer: str) -> int:
    """Give the credits on a customer's final invoices, and those that Stripe has of open cycles."""
    open_cycles = [one for one in double.money(customer) if one.invoice is None]
    return double.invoiced_credits(customer) + sum(one.reported for one in open_cycles)


def payer_key(payer: str = PAYER) -> bytes:
    """Give a payer as the ledger keeps it."""
    key = parse_payer(payer)
    assert key is not None
    return key
