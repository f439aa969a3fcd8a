"""Lists: newest first, in pages that are found by the last object of the page before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

from tests.stripe_double.errors import malformed, missing
from tests.stripe_double.fields import Check, filled, whole

PAGE_MAX = 100

PAGING: dict[str, Check] = {"limit": whole, "starting_after": filled, "ending_before": filled}
"""The parameters of every list."""


class Named(Protocol):
    """What can be listed."""

    @property
    def id(self) -> str:
        """Give its ID."""


One = TypeVar("One", bound=Named)


def page_of(
    newest_first: Iterable[One],
    parameters: dict[str, Any],
    *,
    page_size: int,
    url: str,
    tell: Callable[[One], dict[str, Any]],
) -> dict[str, Any]:
    """Give one page in the form of Stripe's lists."""
    everything = list(newest_first)
    limit = page_limit(parameters, page_size)
    after, before = parameters.get("starting_after"), parameters.get("ending_before")
    if after is not None and before is not None:
        raise malformed("Give one of starting_after and ending_before.", "ending_before")
    if before is not None:
        end = _place(everything, before, "ending_before")
        start = max(0, end - limit)
        page, more = everything[start:end], start > 0
    else:
        start = 0 if after is None else _place(everything, after, "starting_after") + 1
        page, more = everything[start : start + limit], start + limit < len(everything)
    return {
        "object": "list",
        "data": [tell(one) for one in page],
        "has_more": more,
        "url": url,
    }


def page_limit(parameters: dict[str, Any], page_size: int) -> int:
    """Give how many objects a page holds."""
    limit: int = parameters.get("limit", page_size)
    if not 1 <= limit <= PAGE_MAX:
        raise malformed(f"limit lies between 1 and {PAGE_MAX}", "limit")
    return limit


def _place(everything: list[One], name: str, param: str) -> int:
    for place, one in enumerate(everything):
        if one.id == name:
            return place
    raise missing("object", name, param=param)


def within(second: int, bounds: dict[str, int] | None) -> bool:
    """Tell whether a time lies within what `fields.span` read."""
    if bounds is None:
        return True
    return bounds.get("gte", second) <= second < bounds.get("lt", second + 1)
