"""Which rate an instance is charged: price lists, and the rule that chooses one."""

from __future__ import annotations

from collections.abc import Iterable

from events import PriceListPublished
from events.money import FALLBACK_RATE

__all__ = ["FALLBACK_RATE", "PriceBook"]


class PriceBook:
    """All price lists of the log so far."""

    def __init__(self, lists: Iterable[PriceListPublished] = ()) -> None:
        """Take the lists in the order they were recorded."""
        self._lists: list[PriceListPublished] = list(lists)

    @property
    def newest(self) -> PriceListPublished | None:
        """The list with the highest revision."""
        return self._lists[-1] if self._lists else None

    def add(self, published: PriceListPublished) -> None:
        """Take the next list in."""
        self._lists.append(published)

    def in_force(self, instant: int) -> PriceListPublished:
        """Give the list in force at `instant`: the newest one whose time had come."""
        for published in reversed(self._lists):
            if published.in_force_from is None or published.in_force_from <= instant:
                return published
        raise LookupError("no price list was published")

    def price(self, workspace_class: str, started_time: int) -> tuple[int, str, bool]:
        """Decide an instance's revision and rate, and whether its class is in the list."""
        published = self.in_force(started_time)
        rate = published.credits_per_minute.get(workspace_class)
        if rate is None:
            return published.revision, published.fallback, False
        return published.revision, rate, True
