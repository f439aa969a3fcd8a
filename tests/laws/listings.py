"""A page of ListUsage, asked of either ledger, in one shape."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from events.readable import uuid_text
from ledger.queries import check_user, usage_metadata
from tests.laws.acts import payer_bytes
from tests.laws.adapter import ProductLedger
from tests.oracle import Oracle
from tests.oracle.strategies import DAY_NS

MS = 1_000_000
RANGE_MS_MAX = 300 * DAY_NS // MS

# entry id, effective, cents, draft, instance, metadata
ListedEntry = tuple[str, int, int, bool, str, tuple[tuple[str, Any], ...]]


@dataclass(frozen=True, kw_only=True)
class Question:
    """[from_ms, to_ms) of a payer; an empty user means all."""

    payer: str
    user_id: str
    from_ms: int
    to_ms: int
    ascending: bool
    per_page: int
    page: int


@dataclass(frozen=True, kw_only=True)
class Page:
    entries: tuple[ListedEntry, ...]
    total: int
    total_pages: int
    total_cents: int


def product_page(ledger: ProductLedger, asked: Question) -> Page:
    listing = ledger.queries.list_usage(
        payer_bytes(asked.payer),
        check_user(asked.user_id),
        start=asked.from_ms,
        end=asked.to_ms,
        ascending=asked.ascending,
        page=asked.page,
        per_page=asked.per_page,
    )
    return Page(
        entries=tuple(
            (
                uuid_text(row.entry_id),
                row.effective,
                row.cents,
                bool(row.draft),
                uuid_text(row.instance),
                tuple(json.loads(usage_metadata(row)).items()),
            )
            for row in listing.rows
        ),
        total=listing.total,
        total_pages=listing.total_pages,
        total_cents=listing.cents,
    )


def oracle_page(oracle: Oracle, asked: Question) -> Page:
    listing = oracle.list_usage(
        asked.payer,
        0,
        from_ns=asked.from_ms * MS,
        to_ns=asked.to_ms * MS,
        user_id=asked.user_id,
        order="ascending" if asked.ascending else "descending",
        per_page=asked.per_page,
        page=asked.page,
    )
    return Page(
        entries=tuple(
            (
                entry.entry_id,
                entry.effective_ms,
                entry.cents,
                entry.draft,
                entry.instance_id,
                tuple(entry.metadata.items()),
            )
            for entry in listing.entries
        ),
        total=listing.total,
        total_pages=listing.total_pages,
        total_cents=listing.total_cents,
    )
