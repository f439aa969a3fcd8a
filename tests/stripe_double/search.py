"""Search over customers, as Stripe's query language has it; an index that lags behind.

A query is clauses joined by AND or by OR, never both: `email:'a@b'`, `name~'part'`,
`metadata['key']:'value'`, `-field:'value'`, `created>123`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.stripe_double.errors import malformed
from tests.stripe_double.records import Customer

CLAUSES_MAX = 10

_CLAUSE = re.compile(
    r"\s*(?P<not>-)?(?:metadata\[(?P<q>['\"])(?P<key>.*?)(?P=q)\]|(?P<field>[a-z_]+))"
    r"\s*(?P<how>:|~|>=|<=|>|<)\s*(?:null(?P<null>)|(?P<v>['\"])(?P<text>(?:\\.|(?!(?P=v)).)*)(?P=v)"
    r"|(?P<number>[0-9]+))\s*"
)
_JOIN = re.compile(r"(AND|OR|and|or)\b|(?=\S)")
_FIELDS = {"email", "name", "phone", "created"}


@dataclass(frozen=True, slots=True)
class _Known:
    """A customer as the index will know it from a second on; deleted ones are not found."""

    visible_from: int
    texts: dict[str, str | None]
    metadata: dict[str, str]
    created: int
    deleted: bool


Matches = Callable[[_Known], bool]


@dataclass(slots=True)
class SearchIndex:
    """What was written of each customer, the last entry being the newest."""

    _entries: dict[str, list[_Known]] = field(default_factory=dict)

    def write(self, customer: Customer, visible_from: int) -> None:
        """Let searches find a customer's state from a second on."""
        texts = {"email": customer.email, "name": customer.name, "phone": customer.phone}
        known = _Known(
            visible_from, texts, dict(customer.metadata), customer.created, customer.deleted
        )
        self._entries.setdefault(customer.id, []).append(known)

    def find(self, query: str, now: int) -> list[str]:
        """Give the IDs that match by what the index knows now, newest first."""
        matches = _parse(query)
        found = []
        for name, entries in self._entries.items():
            visible = [one for one in entries if one.visible_from <= now]
            if visible and not visible[-1].deleted and matches(visible[-1]):
                found.append(name)
        return found[::-1]


def _parse(query: str) -> Matches:
    clauses: list[Matches] = []
    joins: set[str] = set()
    place = 0
    while True:
        match = _CLAUSE.match(query, place)
        if match is None:
            raise malformed(f"Invalid search query: {query!r} at {place}", "query")
        clauses.append(_clause(match))
        place = match.end()
        if place == len(query):
            break
        join = _JOIN.match(query, place)
        assert join is not None  # it may be empty, which means AND
        joins.add((join[1] or "AND").upper())
        place = join.end()
    if len(joins) > 1 or len(clauses) > CLAUSES_MAX:
        raise malformed(
            f"A query joins at most {CLAUSES_MAX} clauses, by AND or by OR but not by both.",
            "query",
        )
    some = any if joins == {"OR"} else all
    return lambda known: some(matches(known) for matches in clauses)


def _clause(match: re.Match[str]) -> Matches:
    name, key, how = match["field"], match["key"], match["how"]
    if name is not None and name not in _FIELDS:
        raise malformed(f"Customers cannot be searched by {name!r}", "query")
    if (how in {":", "~"}) == (name == "created" and how != ":"):
        raise malformed(f"{name or 'metadata'} does not know the operator {how}", "query")
    wanted = None if match["null"] is not None else match["text"] or match["number"] or ""
    if wanted is not None:
        wanted = re.sub(r"\\(.)", r"\1", wanted)
    if name == "created":
        matches = _compares(how, wanted)
    else:

        def matches(known: _Known) -> bool:
            given = known.metadata.get(key) if name is None else known.texts[name]
            if given is None or wanted is None:
                return given is wanted
            if how == "~":
                return wanted.lower() in given.lower()
            return given.lower() == wanted.lower()

    return (lambda known: not matches(known)) if match["not"] else matches


def _compares(how: str, wanted: str | None) -> Matches:
    if wanted is None or not wanted.isdigit():
        raise malformed("`created` is compared with seconds", "query")
    second = int(wanted)
    compare: dict[str, Matches] = {
        ":": lambda known: known.created == second,
        ">": lambda known: known.created > second,
        ">=": lambda known: known.created >= second,
        "<": lambda known: known.created < second,
        "<=": lambda known: known.created <= second,
    }
    return compare[how]
