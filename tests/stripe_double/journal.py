"""What was asked of the double, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class JournalEntry:
    """One request. `status` is None if no answer left the double; keys to the API are not kept."""

    number: int
    at_ms: int
    method: str
    path: str
    # As decoded, before the call checked them.
    parameters: dict[str, Any]
    # Query or form as it came, for requests of API v1.
    encoded: str
    stripe_version: str | None
    idempotency_key: str | None
    request_id: str
    fault: str | None = None
    replayed: bool = False
    executed: bool = False
    status: int | None = None
    code: str | None = None
    told: str = field(default="", repr=False)  # the answer's body

    def summary(self) -> dict[str, Any]:
        """Give it without the answer's body."""
        return {name: value for name, value in asdict(self).items() if name != "told"}


class Journal(list[JournalEntry]):
    """All requests in the order in which they came."""

    def of(self, method: str, path: str) -> list[JournalEntry]:
        """Give the requests of one method and path."""
        return [one for one in self if (one.method, one.path) == (method.upper(), path)]
