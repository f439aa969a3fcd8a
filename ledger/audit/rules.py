"""The rules of an alternative history: other prices, another rounding, other resets."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from aggregates import FALLBACK_RATE, PriceBook, write_off_of_reset
from events import PriceListPublished
from events.money import AS_RECORDED, Mode, RateError, Rounding, cents_per_second
from ledger.commands.ledger import rate_text
from ledger.errors import InvalidArgumentError

# How far a reset writes off what is owed: as its limit covers it, all of it, or nothing.
Resets = Literal["limit", "everything", "nothing"]

_UNITS = {"second": 1, "minute": 60, "hour": 3_600}
_MODES = "|".join(get_args(Mode))
_ROUNDING = re.compile(
    rf"(?:([1-9][0-9]{{0,5}})-)?({'|'.join(_UNITS)})-({_MODES})(?:/({_MODES}))?", re.ASCII
)
_OF_A_LIST = ("credits_per_minute", "effective_from", "fallback", "revision")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Rules(NamedTuple):
    """What would be otherwise; whatever is left out is as it was recorded."""

    prices: PriceBook | None = None
    rounding: Rounding = AS_RECORDED
    spending_limit: int | None = None  # credits that every reset covers; 0 covers everything
    resets: Resets = "limit"

    def rate(self, workspace_class: str, started: int, recorded: str) -> str:
        """Give the rate of an instance: of the list in force at its start, else the recorded."""
        if self.prices is None:
            return recorded
        try:
            return self.prices.price(workspace_class, started)[1]
        except LookupError:  # none of these lists was in force then
            return recorded

    def write_off(self, balance_cents: int, spending_limit: int) -> int:
        """Give the entry of a reset; `spending_limit` is the cost center's, in credits."""
        if self.resets == "nothing":
            return 0
        limit = spending_limit if self.spending_limit is None else self.spending_limit
        return write_off_of_reset(balance_cents, 0 if self.resets == "everything" else limit)


def parse_rounding(text: str) -> Rounding:
    """Read `[N-]UNIT-MODE[/MODE]`: of the runtime, and of the cents if they differ from half-up."""
    found = _ROUNDING.fullmatch(text)
    if found is None:
        raise InvalidArgumentError(
            f"rounding {text[:80]!r}: write UNIT-MODE or N-UNIT-MODE, and /MODE for the cents, such"
            f" as minute-up or second-down/half-even; units are {', '.join(_UNITS)}, modes"
            f" {', '.join(get_args(Mode))}"
        )
    count, unit, runtime, cents = found.groups()
    seconds = _UNITS[unit] * int(count or 1)
    return Rounding(seconds, _mode(runtime), _mode(cents or AS_RECORDED.cents))


def _mode(text: str) -> Mode:
    return next(mode for mode in get_args(Mode) if mode == text)


def read_prices(path: Path) -> PriceBook:
    """Read price lists: `[prices]` as the service's own file has it, or several `[[prices]]`.

    Of lists whose time had come when an instance started the last one in the file counts.
    """
    try:
        with path.open("rb") as file:
            content = tomllib.load(file, parse_float=Decimal)
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{path} is not TOML: {error}") from error
    given = content.get("prices")
    lists = given if isinstance(given, list) else [given]
    if not lists or not all(isinstance(each, dict) for each in lists):
        raise InvalidArgumentError(f"{path} has no table [prices], nor any [[prices]]")
    try:
        return PriceBook([_price_list(number, each) for number, each in enumerate(lists, start=1)])
    except ValueError as error:
        raise InvalidArgumentError(f"{path}: {error}") from error


def _price_list(number: int, given: Mapping[str, Any]) -> PriceListPublished:
    unknown = sorted(given.keys() - set(_OF_A_LIST))
    if unknown:
        raise ValueError(
            f"{unknown[0]!r} is nothing that a price list has: there are {', '.join(_OF_A_LIST)};"
            " rates of classes belong below credits_per_minute"
        )
    rates = given.get("credits_per_minute")
    if not isinstance(rates, dict) or not rates:
        raise ValueError("a price list has no credits_per_minute: write class = rate")
    since = given.get("effective_from")
    if since is not None and (not isinstance(since, dt.datetime) or since.tzinfo is None):
        raise ValueError(f"effective_from {since}: must be a time with its zone")
    return PriceListPublished(
        0,
        "",
        number,
        None if since is None else (since - _EPOCH) // dt.timedelta(milliseconds=1),
        {str(name): _rate(rate) for name, rate in rates.items()},
        _rate(given.get("fallback", FALLBACK_RATE)),
    )


def _rate(given: object) -> str:
    if isinstance(given, str):
        text = given
    elif isinstance(given, Decimal | int) and not isinstance(given, bool):
        text = rate_text(Decimal(given))
    else:
        raise RateError(f"rate {given!r}: write a decimal")
    cents_per_second(text)
    return text
