"""Proto3 JSON of flat messages in every legal spelling, and in no other.

protobuf's own reader for Python takes more: a month of one digit, a zone of 25 hours, a field named
in both its spellings, `1_000`. Here a number keeps its digits as text until somebody asks for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import NoReturn

# What a JSON number may look like; quoted ones are legal for integers, with zeros in front too.
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
_NAME_SHOWN = 80  # characters of a wrong name or value that an error repeats
_INT64_DIGITS = 20  # beyond them a whole number fits into no field


class SpellingError(ValueError):
    """The text is no legal spelling; the message says what is wrong with it."""


class _Number(str):
    """A number's digits, told apart from a string."""

    __slots__ = ()


def load(line: bytes) -> object:
    """Read JSON whose objects name nothing twice; SpellingError says what is wrong."""
    try:
        return json.loads(
            line.decode(),
            object_pairs_hook=_once,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_no_number,
        )
    except SpellingError:
        raise
    except RecursionError:
        raise SpellingError("it is nested too deeply") from None
    except ValueError as error:
        raise SpellingError(str(error)) from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = dict(pairs)
    if len(names) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise SpellingError(f"{name[:_NAME_SHOWN]!r} is named twice: name it once")
            seen.add(name)
    return names


def _no_number(name: str) -> NoReturn:
    raise SpellingError(f"{name} is not JSON")


def json_name(name: str) -> str:
    """Give a field's name as JSON usually writes it."""
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


def read_fields(raw: bytes, names: Iterable[str], integers: frozenset[str]) -> dict[str, str | int]:
    """Read the named fields of a message: integers as such, all others as texts.

    Fields that are `null` or not there are left out; unknown ones are ignored.
    """
    message = load(raw)
    if not isinstance(message, dict):
        raise SpellingError("it must be an object")
    fields: dict[str, str | int] = {}
    for name in names:
        other = json_name(name)
        if other != name and name in message and other in message:
            raise SpellingError(f"{name} is also named {other}: name it once")
        value = message.get(other, message.get(name))
        if value is not None:
            read = _integer if name in integers else _string
            fields[name] = read(name, value)
    return fields


def _string(name: str, value: object) -> str:
    if not isinstance(value, str) or isinstance(value, _Number):
        raise SpellingError(f"{name} {_shown(value)}: must be a string")
    return value


def _integer(name: str, value: object) -> int:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        try:
            number = Decimal(value)
            if number.adjusted() < _INT64_DIGITS and number == number.to_integral_value():
                return int(number)
        except ArithmeticError:
            pass  # an exponent that no number has
    raise SpellingError(f"{name} {_shown(value)}: must be a whole number")


def _shown(value: object) -> str:
    match value:
        case _Number():
            text = str(value)
        case str():
            text = json.dumps(value)
        case bool():
            text = str(value).lower()
        case _:
            return "[…]" if isinstance(value, list) else "{…}"
    return text if len(text) <= _NAME_SHOWN else text[:_NAME_SHOWN] + "…"
