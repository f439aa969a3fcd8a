"""Whether tax can be computed for a customer, which follows from the address."""

from __future__ import annotations

from tests.stripe_double.errors import StripeError
from tests.stripe_double.records import Customer, TaxState
from tests.stripe_double.world import Json, World


def tax_state(world: World, customer: Customer) -> TaxState:
    """Follow from the address: none or without a country is unrecognized.

    The United States and Canada need a postal code; `failed` in line 1 is an outage of the tax
    service; a country that we are not registered in is not collecting.
    """
    address = customer.address
    if address is None or not address["country"]:
        return "unrecognized_location"
    if (address["line1"] or "").startswith("failed"):
        return "failed"
    country = address["country"]
    if country in {"US", "CA"} and not address["postal_code"]:
        return "unrecognized_location"
    return "supported" if country in world.settings.tax_countries else "not_collecting"


def tell_tax(world: World, customer: Customer) -> Json:
    """Give `tax`, which is there only where it is expanded."""
    state = tax_state(world, customer)
    country = (customer.address or {}).get("country")
    known = state in {"supported", "not_collecting"}
    location = {"country": country, "source": "billing_address", "state": None} if known else None
    return {"automatic_tax": state, "ip_address": None, "location": location, "provider": "stripe"}


def require_location(world: World, customer: Customer) -> None:
    """Refuse automatic tax for a customer whose place is not known."""
    if tax_state(world, customer) in {"unrecognized_location", "failed"}:
        raise StripeError(
            400,
            "The customer's location isn't recognized. Set a valid customer address in order to"
            " automatically calculate tax.",
            code="customer_tax_location_invalid",
        )
