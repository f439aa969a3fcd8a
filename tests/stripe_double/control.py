"""What tests and scripts do to a served double under `/_double/`, in JSON.

GET   /_double/clock                      {"now": RFC 3339, "now_ms"}
POST  /_double/clock                      {"to": RFC 3339} or {"seconds"}: lets time pass
POST  /_double/payment_intents/ID/confirm {"card": good | declined | no_address | declines_later}
POST  /_double/customers/ID/address       {"address": {…} or null}
POST  /_double/customers/ID/card          {"card": …}: the default card from now on
POST  /_double/customers/ID/delete
POST  /_double/disputes                   {"payment_intent"} or {"charge"}, {"reason"}
GET   /_double/invoices                   ?customer=, the invoices as the API tells them
POST  /_double/invoices/ID/ACT            void, mark_uncollectible, pay, finalize
POST  /_double/invoices/ID/credit_note    {"amount", "memo"}
GET   /_double/faults                     the rules in force
POST  /_double/faults                     {"fault", "method", "path", "nth", "probability", "times"}
POST  /_double/faults/clear
POST  /_double/late_refusals              {"times", "identifier_prefix", "code"}
POST  /_double/webhooks                   {"duplicate", "reorder", "drop", "delay_seconds", "kinds"}
GET   /_double/settings, POST             any field of `Settings`
GET   /_double/journal                    ?after=NUMBER
GET   /_double/money                      ?customer=
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

from tests.stripe_double.clock import milliseconds, rfc3339
from tests.stripe_double.courier import Courier
from tests.stripe_double.double import StripeDouble
from tests.stripe_double.errors import StripeError, malformed
from tests.stripe_double.invoices import tell_invoice
from tests.stripe_double.webhooks import Behaviour
from tests.stripe_double.world import Json

_Act: TypeAlias = Callable[[StripeDouble, str, Json], Any]


def _clock(double: StripeDouble) -> Json:
    return {"now": rfc3339(double.clock.now), "now_ms": double.clock.now_ms}


def _invoices(double: StripeDouble, _: str, given: Json) -> Any:
    customer = given.get("customer")
    found = double.world.invoices.values()
    return [tell_invoice(double.world, one) for one in found if customer in {None, one.customer}]


def _add_fault(double: StripeDouble, _: str, given: Json) -> Any:
    return dataclasses.asdict(double.faults.add(**given))


def _set_behaviour(double: StripeDouble, _: str, given: Json) -> Any:
    kinds = given.get("kinds")
    given = given | {"kinds": None if kinds is None else frozenset(kinds)}
    double.webhooks.behaviour = Behaviour(**given)
    return _settings_of(double.webhooks.behaviour)


def _set_settings(double: StripeDouble, _: str, given: Json) -> Any:
    for name, value in given.items():
        kind = type(getattr(double.settings, name, None))
        if name not in {one.name for one in dataclasses.fields(double.settings)}:
            raise malformed(f"no such setting: {name}", name)
        setattr(double.settings, name, frozenset(value) if kind is frozenset else value)
    return _settings_of(double.settings)


def _settings_of(values: Any) -> Json:
    told = dataclasses.asdict(values)
    return {name: sorted(one) if isinstance(one, frozenset) else one for name, one in told.items()}


def _journal(double: StripeDouble, _: str, given: Json) -> Any:
    after = int(given.get("after", 0))
    return [one.summary() for one in double.journal[after:]]


def _money(double: StripeDouble, _: str, given: Json) -> Any:
    return [dataclasses.asdict(one) for one in double.money(given.get("customer"))]


def _clear_faults(double: StripeDouble, _name: str, _given: Json) -> Any:
    double.faults.clear()
    return []


_ACTS: dict[tuple[str, str], _Act] = {
    ("POST", "payment_intents/{}/confirm"): (
        lambda double, name, given: double.outside.confirm_payment(name, given.get("card", "good"))
    ),
    ("POST", "customers/{}/address"): (
        lambda double, name, given: double.outside.set_address(name, given["address"])
    ),
    ("POST", "customers/{}/card"): (
        lambda double, name, given: double.outside.set_card(name, given["card"])
    ),
    ("POST", "customers/{}/delete"): lambda double, name, _: double.outside.delete_customer(name),
    ("POST", "disputes"): lambda double, _, given: double.outside.open_dispute(**given),
    ("GET", "invoices"): _invoices,
    ("POST", "invoices/{}/void"): lambda double, name, _: double.outside.void_invoice(name),
    ("POST", "invoices/{}/mark_uncollectible"): (
        lambda double, name, _: double.outside.mark_uncollectible(name)
    ),
    ("POST", "invoices/{}/pay"): lambda double, name, _: double.outside.pay_invoice(name),
    ("POST", "invoices/{}/finalize"): lambda double, name, _: double.outside.finalize_invoice(name),
    ("POST", "invoices/{}/credit_note"): (
        lambda double, name, given: double.outside.issue_credit_note(name, **given)
    ),
    ("GET", "faults"): (
        lambda double, _name, _given: [dataclasses.asdict(one) for one in double.faults.rules]
    ),
    ("POST", "faults"): _add_fault,
    ("POST", "faults/clear"): _clear_faults,
    ("POST", "late_refusals"): lambda double, _, given: double.outside.refuse_late(**given),
    ("POST", "webhooks"): _set_behaviour,
    ("GET", "settings"): lambda double, _name, _given: _settings_of(double.settings),
    ("POST", "settings"): _set_settings,
    ("GET", "journal"): _journal,
    ("GET", "money"): _money,
    ("GET", "clock"): lambda double, _name, _given: _clock(double),
}


async def control(
    double: StripeDouble, courier: Courier, method: str, path: str, given: Json
) -> tuple[int, Any]:
    """Act, and give a status and what is told; `path` is what follows `/_double/`."""
    try:
        if (method, path) == ("POST", "clock"):
            await courier.advance_to(_target(double, given))
            return 200, _clock(double)
        parts = path.split("/")
        name = parts[1] if len(parts) == 3 else ""
        pattern = "/".join([parts[0], "{}", parts[2]] if name else parts)
        act = _ACTS.get((method, pattern))
        if act is None:
            return 404, {"error": f"there is no {method} /_double/{path}"}
        told = act(double, name, given)
    except StripeError as refusal:
        return refusal.status, refusal.body()
    except (KeyError, TypeError, ValueError) as mistake:
        return 400, {"error": f"{type(mistake).__name__}: {mistake}"}
    courier.deliver_soon()
    return 200, told


def _target(double: StripeDouble, given: Json) -> int:
    if "to" in given:
        target = milliseconds(given["to"])
    else:
        target = double.clock.now_ms + int(given["seconds"] * 1000)
    if target < double.clock.now_ms:
        raise ValueError("time does not go back")
    return target
