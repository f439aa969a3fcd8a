"""Billing over Stripe: each step is recorded, then asked of Stripe, then recorded as done.

So a process may die anywhere: whoever goes on asks again under the same name, and Stripe does it
once. The rest is in `ledger.commands`, which decides, and in `billing`, which speaks to Stripe.
"""

from ledger.invoicing.service import Billing, open_gateway

__all__ = ["Billing", "open_gateway"]
