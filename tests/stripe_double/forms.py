"""Form encoding with nesting: `items[0][price]=p` is a list of objects."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl

from tests.stripe_double.errors import malformed

# The API knows no deeper parameter; more is an attack or a mistake.
DEPTH_MAX = 8
PARAMETERS_MAX = 1000

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")


def decode_form(encoded: str) -> dict[str, Any]:
    """Give the parameters of a query or of a body; every leaf is a text."""
    if not encoded:
        return {}
    tree: dict[str, Any] = {}
    pairs = parse_qsl(encoded, keep_blank_values=True)
    if len(pairs) > PARAMETERS_MAX:
        raise malformed(f"More than {PARAMETERS_MAX} parameters.")
    for name, value in pairs:
        match = _NAME.fullmatch(name)
        if match is None:
            raise malformed(f"Invalid parameter name: {name}", name)
        _put(tree, [match[1], *_PART.findall(match[2])], value, name)
    return {name: _with_lists(value) for name, value in tree.items()}


def _put(tree: dict[str, Any], parts: list[str], value: str, name: str) -> None:
    if len(parts) > DEPTH_MAX:
        raise malformed(f"Parameter nested too deep: {name}", name)
    place = tree
    for part in parts[:-1]:
        below = place.setdefault(part or str(len(place)), {})
        if not isinstance(below, dict):
            raise malformed(f"Parameter is a value and an object at once: {name}", name)
        place = below
    last = parts[-1] or str(len(place))
    if last in place:
        raise malformed(f"Parameter given twice: {name}", name)
    place[last] = value


def _with_lists(value: Any) -> Any:
    """Turn objects whose keys count up from 0 into lists."""
    if not isinstance(value, dict):
        return value
    below = {name: _with_lists(one) for name, one in value.items()}
    if list(below) == [str(number) for number in range(len(below))]:
        return list(below.values())
    return below


def decode_json(encoded: bytes) -> dict[str, Any]:
    """Give the parameters of a body of API v2."""
    if not encoded:
        return {}
    try:
        parameters = json.loads(encoded)
    except ValueError:
        raise malformed("The body is not JSON.") from None
    if not isinstance(parameters, dict):
        raise malformed("The body is not a JSON object.")
    return parameters
