"""`expand`: what an answer holds beyond IDs, only where it was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.stripe_double.credit_notes import tell_note
from tests.stripe_double.customers import tell_customer
from tests.stripe_double.errors import malformed
from tests.stripe_double.intents import tell_charge, tell_intent, tell_method
from tests.stripe_double.invoices import tell_invoice, tell_payments
from tests.stripe_double.prices import tell_currencies, tell_price, tell_product, tell_tiers
from tests.stripe_double.subscription_calls import tell_current
from tests.stripe_double.subscriptions import tell_subscription
from tests.stripe_double.tax import tell_tax
from tests.stripe_double.world import Json, World

# Stripe expands no deeper.
LEVELS_MAX = 4

# Names to what is below them.
Tree = dict[str, "Tree"]

# IDs that can be replaced by their object: the object's kind and the path of the field in it.
_REFERENCES = {
    "charge": {"customer", "payment_intent"},
    "credit_note": {"customer", "invoice"},
    "customer": {"invoice_settings.default_payment_method"},
    "dispute": {"charge", "payment_intent"},
    "invoice": {"customer", "parent.subscription_details.subscription"},
    "invoice_payment": {"invoice", "payment.payment_intent"},
    "invoiceitem": {"customer", "invoice"},
    "line_item": {"pricing.price_details.price", "subscription"},
    "payment_intent": {"customer", "latest_charge", "payment_method"},
    "payment_method": {"customer"},
    "price": {"product"},
    "subscription": {"customer", "default_payment_method", "latest_invoice"},
}


def _currencies(world: World, name: str) -> Json:
    return tell_currencies(world.prices[name])


def _tiers(world: World, name: str) -> list[Json] | None:
    price = world.prices[name]
    return tell_tiers(price.amounts[price.currency]) or None


_TELL: dict[str, Callable[[World, str], Json]] = {
    "ch": lambda world, name: tell_charge(world.charges[name]),
    "cn": lambda world, name: tell_note(world, world.credit_notes[name]),
    "cus": lambda world, name: tell_customer(world.customers[name]),
    "in": lambda world, name: tell_invoice(world, world.invoices[name]),
    "pi": lambda world, name: tell_intent(world.payment_intents[name]),
    "pm": lambda world, name: tell_method(world.payment_methods[name]),
    "price": lambda world, name: tell_price(world.prices[name]),
    "prod": lambda world, name: tell_product(world.products[name]),
    "sub": lambda world, name: tell_subscription(world, world.subscriptions[name]),
}
# Fields that are absent unless they are asked for.
_ABSENT: dict[tuple[str, str], Callable[[World, str], Any]] = {
    ("customer", "subscriptions"): lambda world, name: tell_current(world, world.customers[name]),
    ("customer", "tax"): lambda world, name: tell_tax(world, world.customers[name]),
    ("invoice", "payments"): lambda world, name: tell_payments(world, world.invoices[name]),
    ("price", "currency_options"): _currencies,
    ("price", "tiers"): _tiers,
}


def tree_of(paths: list[str]) -> Tree:
    """Read `expand`."""
    tree: Tree = {}
    for path in paths:
        names = path.split(".")
        if len(names) > LEVELS_MAX:
            raise malformed(f"You cannot expand more than {LEVELS_MAX} levels: {path}", "expand")
        place = tree
        for name in names:
            place = place.setdefault(name, {})
    return tree


def expand(world: World, told: Json, tree: Tree) -> None:
    """Put into an answer what was asked for; a field that cannot be expanded is refused."""
    for name, below in tree.items():
        _expand_field(world, told, str(told.get("object", "")), told, name, name, below)


def _expand_field(
    world: World, owner: Json, kind: str, place: Json, name: str, path: str, below: Tree
) -> None:
    if owner.get("deleted"):
        return  # nothing is known of it any more
    absent = _ABSENT.get((kind, path))
    if absent is not None:
        place[name] = absent(world, owner["id"])
        value = place[name]
        if path == "currency_options" and below:
            _expand_options(world, owner["id"], value, below)
            return
    elif name not in place:
        raise malformed(f"This property cannot be expanded ({path}).", "expand")
    elif path in _REFERENCES.get(kind, ()):
        value = place[name]
        if isinstance(value, str):
            value = place[name] = _TELL[value.split("_", 1)[0]](world, value)
    else:
        value = place[name]
        if not below:
            raise malformed(f"This property cannot be expanded ({path}).", "expand")
    _go_on(world, owner, kind, value, path, below)


def _go_on(world: World, owner: Json, kind: str, value: Any, path: str, below: Tree) -> None:
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, dict):
            continue
        for name, deeper in below.items():
            if "object" in one:
                _expand_field(world, one, one["object"], one, name, name, deeper)
            else:
                _expand_field(world, owner, kind, one, name, f"{path}.{name}", deeper)


def _expand_options(world: World, name: str, options: Json, below: Tree) -> None:
    for currency, deeper in below.items():
        if currency not in options or set(deeper) - {"tiers"}:
            raise malformed(f"currency_options.{currency} cannot be expanded.", "expand")
        if deeper:
            options[currency]["tiers"] = tell_tiers(world.prices[name].amounts[currency])
