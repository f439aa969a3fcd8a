"""Products and prices: per unit or by tiers, in several currencies, bound to a meter."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from tests.stripe_double.errors import malformed
from tests.stripe_double.fields import (
    Check,
    decimal,
    filled,
    flag,
    many,
    metadata,
    one_of,
    record,
    table,
    text,
    whole,
)
from tests.stripe_double.paging import PAGING, page_of
from tests.stripe_double.records import Amounts, Price, Product, Tier
from tests.stripe_double.world import Call, Json, Route, World


class Portion(NamedTuple):
    """What one tier of a price costs; a flat fee is a portion of its own, of quantity 0."""

    tier: int
    quantity: int
    amount: int
    is_flat: bool


def portions(price: Price, currency: str, quantity: int) -> Iterator[Portion]:
    """Split a quantity over the tiers it reaches; amounts are whole cents, halves up."""
    amounts = price.amounts[currency]
    if not amounts.tiers:
        yield Portion(0, quantity, _cents(quantity, amounts.unit_amount), is_flat=False)
        return
    if price.tiers_mode == "volume":
        number, tier = next(
            (number, tier)
            for number, tier in enumerate(amounts.tiers)
            if tier.up_to is None or quantity <= tier.up_to
        )
        yield from _of_tier(number, tier, quantity)
        return
    below = 0
    for number, tier in enumerate(amounts.tiers):
        upper = quantity if tier.up_to is None else min(quantity, tier.up_to)
        if number > 0 and upper <= below:
            return
        yield from _of_tier(number, tier, upper - below)
        below = upper


def _of_tier(number: int, tier: Tier, quantity: int) -> Iterator[Portion]:
    if quantity > 0:
        yield Portion(number, quantity, _cents(quantity, tier.unit_amount), is_flat=False)
    if tier.flat_amount is not None:
        yield Portion(number, 0, _cents(1, tier.flat_amount), is_flat=True)


def _cents(quantity: int, unit: Decimal | None) -> int:
    return int((quantity * (unit or Decimal(0))).quantize(Decimal(1), ROUND_HALF_UP))


def tell_product(product: Product) -> Json:
    """Give what the API tells of a product."""
    return {
        "id": product.id,
        "object": "product",
        "active": True,
        "created": product.created,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": dict(product.metadata),
        "name": product.name,
        "type": "service",
        "updated": product.created,
    }


def tell_price(price: Price) -> Json:
    """Give what the API tells of a price, without what must be asked for."""
    recurring = None
    if price.interval is not None:
        recurring = {
            "interval": price.interval,
            "interval_count": price.interval_count,
            "meter": price.meter,
            "trial_period_days": None,
            "usage_type": price.usage_type,
        }
    return {
        "id": price.id,
        "object": "price",
        "active": price.active,
        "billing_scheme": price.billing_scheme,
        "created": price.created,
        "currency": price.currency,
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": price.lookup_key,
        "metadata": dict(price.metadata),
        "nickname": price.nickname,
        "product": price.product,
        "recurring": recurring,
        "tax_behavior": "unspecified",
        "tiers_mode": price.tiers_mode,
        "transform_quantity": None,
        "type": "one_time" if recurring is None else "recurring",
        **_tell_unit(price.amounts[price.currency].unit_amount, "unit_amount"),
    }


def _tell_unit(amount: Decimal | None, name: str) -> Json:
    if amount is None:
        return {name: None, f"{name}_decimal": None}
    is_whole = amount == amount.to_integral_value()
    return {name: int(amount) if is_whole else None, f"{name}_decimal": f"{amount.normalize():f}"}


def tell_tiers(amounts: Amounts) -> list[Json]:
    """Give `tiers`, which are there only where they are expanded."""
    return [
        {
            "up_to": tier.up_to,
            **_tell_unit(tier.unit_amount, "unit_amount"),
            **_tell_unit(tier.flat_amount, "flat_amount"),
        }
        for tier in amounts.tiers
    ]


def tell_currencies(price: Price) -> Json:
    """Give `currency_options`, which are there only where they are expanded."""
    return {
        currency: {
            "custom_unit_amount": None,
            "tax_behavior": "unspecified",
            **_tell_unit(amounts.unit_amount, "unit_amount"),
        }
        for currency, amounts in price.amounts.items()
    }


def _amounts(given: Json, name: str, scheme: str) -> Amounts:
    if scheme == "per_unit":
        unit = given.get("unit_amount_decimal", given.get("unit_amount"))
        if unit is None or given.get("tiers"):
            raise malformed(
                "A price per unit has a unit amount and no tiers.", f"{name}unit_amount"
            )
        return Amounts(Decimal(unit))
    tiers = [
        Tier(
            None if one["up_to"] == "inf" else int(one["up_to"]),
            _decimal_of(one, "unit_amount"),
            _decimal_of(one, "flat_amount"),
        )
        for one in given.get("tiers", [])
    ]
    bounds = [tier.up_to for tier in tiers]
    if not bounds or bounds[-1] is not None:
        raise malformed("The last tier's `up_to` is `inf`.", f"{name}tiers")
    finite = [bound for bound in bounds[:-1] if bound is not None]
    if len(finite) != len(bounds) - 1 or finite != sorted(set(finite)):
        raise malformed("Tiers' `up_to` grow.", f"{name}tiers")
    return Amounts(None, tuple(tiers))


def _decimal_of(given: Json, name: str) -> Decimal | None:
    one = given.get(f"{name}_decimal", given.get(name))
    return None if one is None else Decimal(one)


def create_product(world: World, call: Call) -> Json:
    """POST /v1/products."""
    product = _new_product(world, call.parameters)
    return tell_product(product)


def _new_product(world: World, given: Json) -> Product:
    name = world.new_id("prod")
    product = Product(name, world.now, given["name"], given.get("metadata", {}))
    world.products[product.id] = product
    world.emit("product.created", tell_product(product))
    return product


def create(world: World, call: Call) -> Json:
    """POST /v1/prices."""
    given = call.parameters
    recurring = given.get("recurring", {})
    scheme = given.get("billing_scheme", "per_unit")
    metered = recurring.get("usage_type") == "metered"
    if metered != ("meter" in recurring):
        raise malformed("A metered price names its meter, others do not.", "recurring[meter]")
    if metered:
        world.meter(recurring["meter"], param="recurring[meter]")
    if (scheme == "tiered") != ("tiers_mode" in given):
        raise malformed("`tiers_mode` goes with billing scheme `tiered`.", "tiers_mode")
    currency = given["currency"].lower()
    amounts = {currency: _amounts(given, "", scheme)}
    for other, option in given.get("currency_options", {}).items():
        amounts[other.lower()] = _amounts(option, f"currency_options[{other}]", scheme)
    if ("product" in given) == ("product_data" in given):
        raise malformed("Give one of product and product_data.", "product")
    if "product" in given and given["product"] not in world.products:
        raise malformed(f"No such product: '{given['product']}'", "product", "resource_missing")
    product = given.get("product") or _new_product(world, given["product_data"]).id
    price = Price(
        world.new_id("price"),
        world.now,
        product,
        currency,
        amounts,
        recurring.get("interval"),
        recurring.get("interval_count", 1),
        recurring.get("usage_type", "licensed"),
        recurring.get("meter"),
        scheme,
        given.get("tiers_mode"),
        given.get("nickname"),
        given.get("lookup_key"),
        given.get("metadata", {}),
    )
    world.prices[price.id] = price
    world.emit("price.created", tell_price(price))
    return tell_price(price)


def retrieve(world: World, call: Call) -> Json:
    """GET /v1/prices/{}."""
    return tell_price(world.price(call.names[0]))


def list_all(world: World, call: Call) -> Json:
    """GET /v1/prices."""
    given = call.parameters
    found = [
        one
        for one in reversed(world.prices.values())
        if given.get("product") in {None, one.product}
        and given.get("active") in {None, one.active}
        and ("lookup_keys" not in given or one.lookup_key in given["lookup_keys"])
    ]
    size = world.settings.page_size
    return page_of(found, given, page_size=size, url=call.path, tell=tell_price)


def _bound(value: object, name: str) -> str:
    return "inf" if value == "inf" else str(whole(value, name))


_AMOUNTS: dict[str, Check] = {
    "unit_amount": whole,
    "unit_amount_decimal": decimal,
    "tiers": many(
        record(
            ["up_to"],
            up_to=_bound,
            unit_amount=whole,
            unit_amount_decimal=decimal,
            flat_amount=whole,
            flat_amount_decimal=decimal,
        )
    ),
}
_PRODUCT = record(["name"], name=filled, metadata=metadata)
_CREATE = record(
    ["currency"],
    active=flag,
    billing_scheme=one_of("per_unit", "tiered"),
    currency=filled,
    currency_options=table(record(**_AMOUNTS)),
    lookup_key=filled,
    metadata=metadata,
    nickname=text,
    product=filled,
    product_data=_PRODUCT,
    recurring=record(
        ["interval"],
        interval=one_of("month", "year"),
        interval_count=whole,
        meter=filled,
        usage_type=one_of("licensed", "metered"),
    ),
    tiers_mode=one_of("graduated", "volume"),
    **_AMOUNTS,
)
ROUTES = (
    Route("POST", "/v1/products", create_product, _PRODUCT),
    Route("POST", "/v1/prices", create, _CREATE),
    Route(
        "GET",
        "/v1/prices",
        list_all,
        record(active=flag, lookup_keys=many(filled), product=filled, **PAGING),
    ),
    Route("GET", "/v1/prices/{}", retrieve, record()),
)
