"""What parameters a call takes: unknown ones and wrong kinds are refused, as at Stripe.

A check takes a value and its name and gives the value in its own kind, or raises a 400 that is not
stored under the idempotency key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, TypeAlias

from tests.stripe_double.errors import malformed

Check: TypeAlias = Callable[[Any, str], Any]

# Stripe's limits of metadata.
METADATA_KEYS_MAX = 50
METADATA_KEY_CHARACTERS_MAX = 40
METADATA_VALUE_CHARACTERS_MAX = 500
TEXT_CHARACTERS_MAX = 5000

_WHOLE = re.compile(r"-?[0-9]+")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]{1,12})?")


def text(value: Any, name: str) -> str:
    """Take a text that may be empty, which unsets a field."""
    if not isinstance(value, str):
        raise malformed(f"Invalid string: {name}", name)
    if len(value) > TEXT_CHARACTERS_MAX:
        raise malformed(f"Invalid string: {name} is too long", name)
    return value


def filled(value: Any, name: str) -> str:
    """Take a text that says something."""
    if not text(value, name):
        raise malformed(
            f"You passed an empty string for '{name}'.", name, "parameter_invalid_empty"
        )
    return str(value)


def whole(value: Any, name: str) -> int:
    """Take an integer."""
    if isinstance(value, bool) or not _WHOLE.fullmatch(str(value)):
        raise malformed(f"Invalid integer: {value}", name, "parameter_invalid_integer")
    return int(value)


def decimal(value: Any, name: str) -> str:
    """Take a decimal with up to 12 places, as the text it is."""
    if not _DECIMAL.fullmatch(str(value)):
        raise malformed(f"Invalid decimal: {value}", name)
    return str(value)


def flag(value: Any, name: str) -> bool:
    """Take true or false."""
    if value in {"true", True}:
        return True
    if value in {"false", False}:
        return False
    raise malformed(f"Invalid boolean: {value}", name)


def one_of(*choices: str) -> Check:
    """Take one of the given texts."""

    def check(value: Any, name: str) -> str:
        if value not in choices:
            raise malformed(f"Invalid {name}: must be one of {', '.join(choices)}", name)
        return str(value)

    return check


def many(each: Check, *, most: int = 100) -> Check:
    """Take a list."""

    def check(value: Any, name: str) -> list[Any]:
        if not isinstance(value, list) or len(value) > most:
            raise malformed(f"Invalid array: {name}", name)
        return [each(one, f"{name}[{number}]") for number, one in enumerate(value)]

    return check


def table(each: Check) -> Check:
    """Take an object with any names; given as an empty text it is empty."""

    def check(value: Any, name: str) -> dict[str, Any]:
        if value in ("", []):
            return {}
        # Names that count up from 0 look like a list in a form.
        named = {str(n): one for n, one in enumerate(value)} if isinstance(value, list) else value
        if not isinstance(named, dict):
            raise malformed(f"Invalid object: {name}", name)
        return {key: each(one, f"{name}[{key}]") for key, one in named.items()}

    return check


def metadata(value: Any, name: str) -> dict[str, str]:
    """Take metadata within its limits; an empty value takes the key away."""
    pairs: dict[str, str] = table(text)(value, name)
    if len(pairs) > METADATA_KEYS_MAX:
        raise malformed(f"Metadata has more than {METADATA_KEYS_MAX} keys.", name)
    for key, one in pairs.items():
        if len(key) > METADATA_KEY_CHARACTERS_MAX or len(one) > METADATA_VALUE_CHARACTERS_MAX:
            raise malformed(f"Metadata is too long: {key}", name)
    return pairs


def record(needs: Collection[str] = (), /, **checks: Check) -> Check:
    """Take an object with these fields, of which `needs` must be given."""

    def check(value: Any, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise malformed(f"Invalid object: {name}", name)
        below = f"{name}[{{}}]" if name else "{}"
        taken: dict[str, Any] = {}
        for key, one in value.items():
            full = below.format(key)
            if key not in checks:
                raise malformed(f"Received unknown parameter: {full}", full, "parameter_unknown")
            taken[key] = checks[key](one, full)
        for key in needs:
            if key not in taken:
                full = below.format(key)
                raise malformed(f"Missing required param: {full}.", full, "parameter_missing")
        return taken

    return check


def unset_or(check: Check) -> Check:
    """Take an empty text, which unsets a field, or what the check takes."""

    def either(value: Any, name: str) -> Any:
        return "" if value == "" else check(value, name)

    return either


def span(value: Any, name: str) -> dict[str, int]:
    """Take a second, or bounds `gt`, `gte`, `lt`, `lte` of one; give bounds `gte` and `lt`."""
    if not isinstance(value, dict):
        second = whole(value, name)
        return {"gte": second, "lt": second + 1}
    given = record(gt=whole, gte=whole, lt=whole, lte=whole)(value, name)
    bounds = {}
    if "gt" in given or "gte" in given:
        bounds["gte"] = max(given.get("gt", -2) + 1, given.get("gte", -1))
    if "lt" in given or "lte" in given:
        ends = [given[key] + more for key, more in (("lt", 0), ("lte", 1)) if key in given]
        bounds["lt"] = min(ends)
    return bounds


ADDRESS = record(city=text, country=text, line1=text, line2=text, postal_code=text, state=text)
"""The address of a customer or of a card; a field that is not given is unset."""
