"""What the gateway is told: the key, the address, how long to wait, how often to try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

# A gRPC call of ours waits 5 s when nobody says otherwise, a scheduled one as long as it takes.
TIMEOUT_SECONDS: Final = 10.0
TIMEOUT_SECONDS_MAX: Final = 80.0  # Stripe's own default; nothing it does takes longer
# Two more tries bridge a restart of a proxy; a longer outage is for the outbox to wait out.
RETRIES: Final = 2
RETRIES_MAX: Final = 5


class Secret:
    """A text that no log, error or traceback shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Give the text itself, to whoever sends or checks it."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text.strip())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """How Stripe is reached. Values that cannot work are refused with a ValueError."""

    secret_key: Secret
    base_url: str | None = None  # of the API and of meter events; None: Stripe's own addresses
    timeout_seconds: float = TIMEOUT_SECONDS  # of one attempt, from connecting to the last byte
    retries: int = RETRIES  # attempts after the first one, inside one call

    def __post_init__(self) -> None:
        if not self.secret_key:
            raise ValueError("Stripe's secret key is empty")
        if not 0 < self.timeout_seconds <= TIMEOUT_SECONDS_MAX:
            raise ValueError(
                f"Stripe's timeout {self.timeout_seconds} s: more than 0 and at most"
                f" {TIMEOUT_SECONDS_MAX:g} s"
            )
        if not 0 <= self.retries <= RETRIES_MAX:
            raise ValueError(f"Stripe's retries {self.retries}: from 0 to {RETRIES_MAX}")
        if self.base_url is not None:
            self._check(self.base_url)

    def _check(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"Stripe's address {base_url!r}: write https://host or http://host")
        # The library joins address and path as they stand: more than a host would send the key
        # to a place that nobody named.
        if base_url != f"{parts.scheme}://{parts.netloc}" or "@" in parts.netloc:
            raise ValueError(
                f"Stripe's address {parts.scheme}://{parts.hostname}…: only scheme, host and port"
            )
        if parts.scheme == "http" and "_live_" in self.secret_key.reveal():
            raise ValueError("a live key of Stripe is not sent over http: write https")
