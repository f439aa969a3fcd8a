"""A payer's life with Stripe, for a service that is a process and may be killed at any time.

The double is served over HTTP in the test's process. Both go by the machine's clock: the double's
is set before each step.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from facade.http_webhooks import PATH
from tests.billing.scene import CENT_PRICES, PAYER, Shop
from tests.billing.served import ServedDouble
from tests.cluster.processes import toml_of
from tests.contract.calls.asking import log_of
from tests.harness import Calls, ServiceProcess
from tests.stripe_double import Settings
from usage.v1 import billing_pb2, usage_pb2

LIMIT, USED = 1_000, 7
OTHER = usage_pb2.CostCenter.BILLING_STRATEGY_OTHER
# What Stripe has taken counts at once, and a last invoice is final at once.
AT_ONCE: dict[str, Any] = {"aggregation_delay_seconds": 0, "final_grace_seconds": 0}


class Life:
    """A payer's life with Stripe, which can be told again from the beginning at any time."""

    def __init__(
        self,
        folder: Path,
        *,
        more: dict[str, Any] | None = None,
        stripe: dict[str, Any] | None = None,
        **shop: Any,
    ) -> None:
        """Begin with an empty account and an empty ledger; `more` are settings of the service."""
        self.data_dir = folder / "data"
        self.shop = Shop(start=time.time_ns() // 1_000_000, settings=Settings(**AT_ONCE), **shop)
        self.double = self.shop.double
        self.double.webhooks.signs_by = "wall"
        self.served = ServedDouble(self.double)
        self.hold = ""
        key, secret = folder / "stripe.key", folder / "webhook.secret"
        key.write_text(self.double.secret_key)
        secret.write_text(self.double.webhooks._secret)
        of_stripe = {
            "secret_key_file": str(key),
            "webhook_secret_file": str(secret),
            "url": self.served.url,
            "timeout": "20s",
            **(stripe or {}),
        }
        self.settings = {
            "prices": CENT_PRICES,
            "stripe": self.shop.settings(**of_stripe),
            **(more or {}),
        }
        self._config = folder / "usage-ledger.toml"
        self._config.write_text(toml_of(self.settings))

    def service(self, failpoint: str = "", *options: str) -> ServiceProcess:
        """Give the service, to be started; it dies at the failpoint."""
        given = ("--config", str(self._config), *(options or ("--no-jobs",)))
        return ServiceProcess(self.data_dir, options=given, failpoint=failpoint)

    def _sync(self, *, ahead_seconds: int = 0) -> None:
        now_ms = time.time_ns() // 1_000_000 + 1_000 * ahead_seconds
        seconds = max(0, now_ms - self.double.clock.now_ms) / 1_000
        self.served.ask("POST", "clock", seconds=seconds)

    def tell(self, calls: Calls) -> None:
        """From the first customer to the settled last invoice."""
        self.tell_until_the_invoice(calls)
        for invoice in self.served.ask("GET", "invoices"):
            calls.billing.FinalizeInvoice(
                billing_pb2.FinalizeInvoiceRequest(invoice_id=invoice["id"])
            )

    def tell_until_the_invoice(self, calls: Calls) -> None:
        """From the first customer to the last invoice, of which nobody has told."""
        self.subscribe(calls)
        self.use(calls)
        reconcile(calls)
        # What was used up to now lies before the end.
        self._sync(ahead_seconds=2)
        (subscription,) = self.double.world.subscriptions
        calls.billing.CancelSubscription(
            billing_pb2.CancelSubscriptionRequest(subscription_id=subscription)
        )

    def subscribe(self, calls: Calls) -> None:
        """Make customer, hold and subscription, unless there is one."""
        self._sync()
        calls.billing.CreateStripeCustomer(
            billing_pb2.CreateStripeCustomerRequest(
                attribution_id=PAYER, name="Owner", email="owner@example.org", currency="EUR"
            )
        )
        if self.double.world.subscriptions:
            return
        if not self.hold:
            placed = calls.billing.CreateHoldPaymentIntent(
                billing_pb2.CreateHoldPaymentIntentRequest(attribution_id=PAYER)
            )
            self.hold = placed.payment_intent_id
            self.served.ask("POST", f"payment_intents/{self.hold}/confirm", card="good")
        calls.billing.CreateStripeSubscription(
            billing_pb2.CreateStripeSubscriptionRequest(
                attribution_id=PAYER, payment_intent_id=self.hold, usage_limit=LIMIT
            )
        )

    def use(self, calls: Calls) -> None:
        """Owe credits, once."""
        request = usage_pb2.AddUsageCreditNoteRequest(
            attribution_id=PAYER, credits=-USED, description="used"
        )
        calls.usage.AddUsageCreditNote(request, metadata=(("idempotency-key", "used"),))

    def check(self, calls: Calls) -> None:
        """One of everything, and every credit on one invoice and in one settlement."""
        world = self.double.world
        assert 1 == len(world.customers)
        assert 1 == len(world.subscriptions)
        assert 1 == len(world.invoices)
        (customer,) = world.customers
        assert USED == self.double.invoiced_credits(customer)
        assert USED == sum(one.reported for one in self.double.money())
        assert 1 == len(log_of(calls, "subscription-activated"))
        assert 1 == len(log_of(calls, "subscription-ended"))
        assert 1 == len(log_of(calls, "invoice-settled"))
        assert [] == log_of(calls, "usage-report-rejected")
        assert 0 == calls.balance_cents(PAYER)
        request = usage_pb2.GetCostCenterRequest(attribution_id=PAYER)
        assert OTHER == calls.usage.GetCostCenter(request).cost_center.billing_strategy
        assert [] == calls.breaches()


def reconcile(calls: Calls) -> None:
    calls.usage.ReconcileUsage(usage_pb2.ReconcileUsageRequest())
    calls.billing.ReconcileInvoices(billing_pb2.ReconcileInvoicesRequest())


def hook_of(service: ServiceProcess) -> str:
    """Give the address at which a service takes webhooks."""
    port = service.log.rsplit("answers HTTP at 127.0.0.1:", 1)[1].split()[0]
    return f"http://127.0.0.1:{port}{PATH}"
