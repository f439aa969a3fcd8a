"""A stateful double of Stripe for tests: as the SDK's HTTP client, or served as an ASGI app."""

from tests.stripe_double.asgi import asgi_app
from tests.stripe_double.double import SECRET_KEY, WEBHOOK_SECRET, StripeDouble
from tests.stripe_double.faults import Fault, FaultPlan, FaultRule
from tests.stripe_double.journal import Journal, JournalEntry
from tests.stripe_double.money import CycleMoney
from tests.stripe_double.webhooks import Behaviour, Delivery
from tests.stripe_double.world import Settings

__all__ = [
    "SECRET_KEY",
    "WEBHOOK_SECRET",
    "Behaviour",
    "CycleMoney",
    "Delivery",
    "Fault",
    "FaultPlan",
    "FaultRule",
    "Journal",
    "JournalEntry",
    "Settings",
    "StripeDouble",
    "asgi_app",
]
