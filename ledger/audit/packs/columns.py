"""The columns of a pack's tables: what each means, and how it is written in each form.

A row is a tuple of values as the ledger has them: times in milliseconds, IDs as text, bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple

from events.readable import time_text

TEXT, INTEGER, BOOLEAN, TIME, BYTES = "text", "integer", "boolean", "time", "bytes"


class Column(NamedTuple):
    """A column of a table."""

    name: str
    kind: str
    meaning: str  # with its unit; what it is when it is missing


EVENTS = (
    Column("shard", INTEGER, "number of the shard in whose log the event lies"),
    Column("leaf_number", INTEGER, "how many events of the shard came before it"),
    Column("position", INTEGER, "place in the shard's log; not proved"),
    Column("stream", TEXT, "what the event is about, such as instance:<uuid>"),
    Column("version", INTEGER, "place in the stream, from 1"),
    Column("topic", TEXT, "what happened"),
    Column("recorded_at", TIME, "when the ledger recorded it"),
    Column("author", TEXT, "who or what recorded it"),
    Column("attribution_id", TEXT, "the payer; missing for facts that hold for everybody"),
    Column("state", BYTES, "the stored bytes: a byte for the version of the fields, MessagePack"),
    Column("fields", TEXT, "the fields as a JSON object: times in ms, bytes in hexadecimal"),
)
ENTRIES = (
    Column("shard", INTEGER, "number of the shard"),
    Column("attribution_id", TEXT, "the payer"),
    Column("entry_id", TEXT, "a UUID"),
    Column("kind", TEXT, "workspace_instance, credit_note or invoice"),
    Column("effective_time", TIME, "where the entry is dated; what runs, at the last reconcile"),
    Column("credit_cents", INTEGER, "hundredths of a credit; above 0: owed"),
    Column("seconds", INTEGER, "of runtime; missing for notes and invoices"),
    Column("draft", BOOLEAN, "whether the instance's end is still to be confirmed"),
    Column("workspace_instance_id", TEXT, "a UUID; missing for notes and invoices"),
    Column("workspace_id", TEXT, "as published; missing as above"),
    Column("workspace_class", TEXT, "as published; missing as above"),
    Column("workspace_type", TEXT, "as published; missing as above"),
    Column("user_id", TEXT, "a UUID; missing when unknown"),
    Column("creation_time", TIME, "as published; missing when unknown"),
    Column("started_time", TIME, "as published; missing when unknown"),
    Column("stopping_time", TIME, "as published; missing when unknown"),
    Column("stopped_time", TIME, "as published; missing when unknown"),
    Column("rate", TEXT, "credits a minute, a decimal or 1/6; missing for notes and invoices"),
    Column("position", INTEGER, "of the event that started the instance, or is the entry"),
)
PRICES = (
    Column("revision", INTEGER, "of the price list"),
    Column("in_force_from", TIME, "for instances that start then or later; missing: always"),
    Column("workspace_class", TEXT, "missing: every other class"),
    Column("credits_per_minute", TEXT, "a decimal, or 1/6"),
    Column("recorded_at", TIME, "when the ledger recorded it"),
    Column("position", INTEGER, "of its event in the first shard of the pack"),
)


def names_of(columns: Sequence[Column]) -> list[str]:
    """Give the names."""
    return [column.name for column in columns]


def as_json(columns: Sequence[Column], row: Sequence[Any]) -> dict[str, Any]:
    """Give a row as an object."""
    return {
        column.name: _text_of_time(value) if column.kind == TIME else value
        for column, value in zip(columns, row, strict=True)
    }


def as_csv(columns: Sequence[Column], row: Sequence[Any]) -> list[str]:
    """Give a row as texts; what is missing is empty."""
    return [_cell(column, value) for column, value in zip(columns, row, strict=True)]


def _cell(column: Column, value: Any) -> str:
    if value is None:
        return ""
    if column.kind == TIME:
        return time_text(value)
    if column.kind == BOOLEAN:
        return "true" if value else "false"
    return base64.b64encode(value).decode() if column.kind == BYTES else str(value)


def _text_of_time(value: int | None) -> str | None:
    return None if value is None else time_text(value)


def schema_of(columns: Sequence[Column]) -> list[dict[str, str]]:
    """Describe columns for whoever reads a pack."""
    return [{"name": each.name, "type": each.kind, "meaning": each.meaning} for each in columns]
