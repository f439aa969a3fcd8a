"""How a setting's value is read: every reader takes what a file, a variable or an option gave, and
raises ValueError with what is allowed, as a clause that follows "name is value, but".
"""

import contextlib
import datetime as dt
import ipaddress
import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator

# A period longer than this is a slip of the pen, and far below where milliseconds leave 64 bits.
DURATION_MS_MAX = 36_500 * 86_400_000
# With these the price of the longest instance still fits the log's integers; see the contract.
RATE_PLACES_MAX = 10
RATE_MAX = 1000
RATE_CLASSES_MAX = 1000
# Of a wrong value this much is repeated in the message.
QUOTED_CHARACTERS_MAX = 80

_UNIT_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_DURATION = re.compile(
    r"(?:(\d{1,16})d)?(?:(\d{1,16})h)?(?:(\d{1,16})m)?(?:(\d{1,16})s)?(?:(\d{1,16})ms)?", re.ASCII
)
_KAFKA_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", re.ASCII)


def parse_duration(text: object) -> int:
    """`90s`, `15m`, `1h30m`, `10d` as milliseconds; ValueError says what is allowed."""
    match = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    counts = [int(count or 0) for count in match.groups()] if match else []
    milliseconds = sum(n * unit for n, unit in zip(counts, _UNIT_MS.values(), strict=False))
    if not 0 < milliseconds <= DURATION_MS_MAX:
        raise ValueError(
            'it must be a duration in days, hours, minutes, seconds and ms, such as "90s", "15m", '
            '"1h30m" or "10d", longer than nothing and at most 36500d'
        )
    return milliseconds


def format_duration(milliseconds: int) -> str:
    """The shortest text that `parse_duration` reads back: 5400000 is `1h30m`."""
    parts = []
    for unit, size in _UNIT_MS.items():
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def address(value: object) -> str:
    text = value if isinstance(value, str) else ""
    host, _, port = text.rpartition(":")
    if re.fullmatch(r"\d{1,5}", port, re.ASCII) and int(port) <= 65_535:
        if host.startswith("[") and host.endswith("]"):
            try:
                ipaddress.IPv6Address(host[1:-1])
            except ValueError:
                pass
            else:
                return text
        elif _HOST_NAME.fullmatch(host):
            return text
    raise ValueError(
        "it must be HOST:PORT, such as 127.0.0.1:9001 or, for IPv6, [::1]:9001, "
        "with a port from 0 (any that is free) to 65535"
    )


def addresses(value: object) -> str:
    """Several HOST:PORT, without blanks between them."""
    texts = value.split(",") if isinstance(value, str) else []
    with contextlib.suppress(ValueError):
        checked = [address(text.strip()) for text in texts]
        if checked and not any(one.endswith(":0") for one in checked):
            return ",".join(checked)
    raise ValueError(
        "it must be HOST:PORT, or several with commas between them, such as "
        "kafka-1:9092,kafka-2:9092"
    )


def kafka_name(value: object) -> str:
    """A name that Kafka allows for a topic, and that suits a group, too."""
    if isinstance(value, str) and _KAFKA_NAME.fullmatch(value) and value not in {".", ".."}:
        return value
    raise ValueError("it must be 1 to 249 letters, digits, dots, hyphens and underscores")


def one_of(*allowed: str) -> BeforeValidator:
    def check(value: object) -> str:
        if isinstance(value, str) and value.strip().lower() in allowed:
            return value.strip().lower()
        choices = " or ".join(quoted(name) for name in allowed)
        raise ValueError(f"it must be {choices}")

    return BeforeValidator(check)


def whole_number(low: int, high: int) -> BeforeValidator:
    def check(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,20}", value.strip(), re.ASCII):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise ValueError(f"it must be a whole number from {low} to {high}")

    return BeforeValidator(check)


def texts(value: object) -> tuple[str, ...]:
    """A list of texts, or one with commas between them."""
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, list | tuple) and all(isinstance(part, str) for part in parts):
        return tuple(part.strip() for part in parts if part.strip())
    raise ValueError("it must be a list of texts, or one text with commas between them")


def database_urls(value: object) -> tuple[str, ...]:
    """URLs of PostgreSQL databases, each once; a comma inside one is written %2C."""
    urls = texts(value)
    for url in urls:
        if not url.startswith(("postgresql://", "postgres://")):
            raise ValueError("each must be a URL such as postgresql://user@host:5432/database")
    if len(set(urls)) != len(urls):
        raise ValueError("one database stands there twice: each shard has one of its own")
    return urls


def without_password(url: str) -> str:
    """The URL with stars in the place of its password."""
    hidden = re.sub(r"(//[^:@/?]*):[^@/]*@", r"\1:***@", url)
    return re.sub(r"([?&](?:ssl)?password=)[^&]*", r"\1***", hidden)


def whole_numbers(value: object) -> tuple[int, ...]:
    """`0,2` or a list of numbers, each once and in order."""
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, list | tuple):
        texts = [str(part).strip() for part in parts if str(part).strip()]
        if all(re.fullmatch(r"\d{1,9}", text, re.ASCII) for text in texts):
            return tuple(sorted({int(text) for text in texts}))
    raise ValueError('it must be a list of whole numbers from 0, such as [0, 1] or "0,1"')


def some_of(*names: str) -> BeforeValidator:
    """Any of these names, each once, in this order; `none` is none of them."""

    def check(value: object) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if isinstance(parts, list | tuple):
            given = {str(part).strip() for part in parts} - {"", "none"}
            if given <= set(names):
                return tuple(name for name in names if name in given)
        listed = ", ".join(names)
        raise ValueError(f'it must be a list of some of {listed}, or "none"')

    return BeforeValidator(check)


def switch(value: object) -> bool:
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().lower())
    if isinstance(value, bool):
        return value
    raise ValueError("it must be true or false")


def file_path(value: object) -> Path:
    if isinstance(value, str | Path) and str(value).strip() and "\0" not in str(value):
        try:
            return Path(value).expanduser()
        except RuntimeError:
            raise ValueError("its ~ names nobody whose home is known; write the path out") from None
    raise ValueError("it must be a path")


def base_url(value: object) -> str:
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        plain = not (parts.username or parts.password or parts.query or parts.fragment)
        port_is_known = parts.port is None or parts.port > 0
    except ValueError:
        plain = port_is_known = False
    if plain and port_is_known and parts.scheme in ("http", "https") and parts.hostname:
        return parts.geturl()
    raise ValueError(
        "it must be http://HOST or https://HOST, if need be with port and path, without user name, "
        "password or query; put the token into the file that directory.token_file names"
    )


def host_url(value: object) -> str:
    """Where an API lies whose library adds the paths; a slash at the end is let go."""
    try:
        given = base_url(value)
    except ValueError:
        given = ""
    parts = urlsplit(given)
    if given and parts.path in ("", "/"):
        return f"{parts.scheme}://{parts.netloc}"
    raise ValueError(
        "it must be http://HOST or https://HOST, if need be with a port, and nothing behind it: "
        "the paths are the API's own"
    )


def collector(value: object) -> str:
    """Where traces go; unlike a base URL it may carry nothing but host and port."""
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        is_address = bool(parts.hostname) and parts.port is not None and parts.port > 0
    except ValueError:
        is_address = False
    bare = f"{parts.scheme}://{parts.netloc}" if is_address else ""
    if bare and parts.geturl() == bare and "@" not in bare and parts.scheme in ("http", "https"):
        return bare
    raise ValueError(
        "it must be http://HOST:PORT or https://HOST:PORT of a collector of OTLP over gRPC, "
        "such as http://127.0.0.1:4317"
    )


def ratio(value: object) -> Decimal:
    number = Decimal("NaN")
    if isinstance(value, int | str | Decimal) and not isinstance(value, bool):
        with contextlib.suppress(InvalidOperation, ValueError):
            number = Decimal(value)
    if number.is_finite() and 0 <= number <= 1:
        return number
    raise ValueError("it must be a decimal from 0 (none) to 1 (all), such as 0.01")


def instant(value: object) -> dt.datetime:
    try:
        if isinstance(value, str) and len(value) > len("YYYY-MM-DD"):
            value = dt.datetime.fromisoformat(value)
        if isinstance(value, dt.datetime) and value.tzinfo is not None:
            utc = value.astimezone(dt.UTC)
            return utc.replace(microsecond=utc.microsecond // 1000 * 1000)
    except (ValueError, OverflowError):
        pass
    raise ValueError("it must be a time with its zone, such as 2026-11-01T00:00:00Z")


def _rate(workspace_class: str, value: object) -> Decimal:
    rate = Decimal("NaN")
    if isinstance(value, int | str | Decimal) and not isinstance(value, bool):
        with contextlib.suppress(InvalidOperation, ValueError):
            rate = Decimal(value)
    if rate.is_finite() and 0 <= rate <= RATE_MAX:
        _, digits, exponent = rate.as_tuple()
        zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
        if rate == 0 or -int(exponent) - zeros <= RATE_PLACES_MAX:
            return rate
    raise ValueError(
        f"the rate of {quoted(workspace_class)} must be an exact decimal from 0 to {RATE_MAX} "
        f"with at most {RATE_PLACES_MAX} places, such as 0.1666666667"
    )


def rates(value: object) -> dict[str, Decimal]:
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_float=Decimal)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, Mapping) or not all(isinstance(key, str) and key for key in value):
        raise ValueError(
            "it must be a table of workspace classes and their rates, in a variable as JSON: "
            '{"default": 0.1666666667, "g1-large": 0.3333333333}'
        )
    if len(value) > RATE_CLASSES_MAX:
        raise ValueError(f"it must have at most {RATE_CLASSES_MAX} workspace classes")
    return {name: _rate(name, rate) for name, rate in value.items()}


def quoted(value: object) -> str:
    """A wrong value as the message repeats it, in one short line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) > QUOTED_CHARACTERS_MAX:
        return f"{text[:QUOTED_CHARACTERS_MAX]}…"
    return text


def readable(value: Any) -> str | int | bool | dict[str, str] | None:
    """A value as people read it: lists with commas, rates and times as text."""
    match value:
        case tuple():
            return ", ".join(map(str, value)) or None
        case dict():
            return {key: format(rate, "f") for key, rate in value.items()}
        case Decimal():
            return format(value, "f")
        case dt.datetime():
            return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case Path():
            return str(value)
    shown: str | int | bool | None = value
    return shown
