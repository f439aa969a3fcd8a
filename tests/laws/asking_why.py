"""Asks a ledger's queries why its numbers are what they are, and says where an answer is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from facade.answers import log_events
from facade.audit.explanations import explanation
from ledger.audit import why
from ledger.queries import Queries
from tests.laws.acts import payer_bytes
from tests.laws.explained import (
    Number,
    balance_by,
    events_in,
    numbers_in,
    opened,
    wrong,
)
from usage_ledger.v1 import audit_why_pb2 as pb
from usage_ledger.v1 import queries_pb2

EVERYTHING = 10_000_000

Log = dict[int, queries_pb2.LogEvent]

_MOVING = ("instance:", "credit-note:", "imported-entry:", "invoice:", "cycle:")
_MOVES_NOTHING = re.compile(r'"(write_off|credit)_cents": 0[,}]')


class Asking:
    """Asks a ledger's queries, and answers in messages, page by page."""

    def __init__(self, queries: Queries, size: int) -> None:
        self.queries = queries
        self.size = size

    def more(self, cursor: str) -> pb.Explanation:
        return explanation(why.more_parts(self.queries, why.read_cursor(cursor), self.size), 0)

    def balance(self, payer: str) -> Number:
        found = why.payer_balance(self.queries, payer_bytes(payer), self.size)
        return opened(explanation(found, 0), self.more)

    def instance(self, instance_id: str) -> Number:
        return opened(explanation(why.entry_of_instance(self.queries, instance_id), 0), self.more)

    def entry(self, payer: str, entry_id: str) -> Number:
        found = why.entry_of_payer(self.queries, payer_bytes(payer), entry_id, self.size)
        return opened(explanation(found, 0), self.more)

    def invoice(self, invoice_id: str) -> Number:
        found = why.settled_invoice(self.queries, invoice_id, self.size)
        assert found is not None
        return opened(explanation(found, 0), self.more)

    def line(
        self, payer: str, workspace_class: str, late_for: int | None, cycle: int | None
    ) -> Number:
        ask = partial(why.draft_line, self.queries, payer_bytes(payer), workspace_class)
        found = ask(late_for=late_for, cycle_number=cycle, size=self.size)
        return opened(explanation(found, 0), self.more)


def log_of(queries: Queries) -> Log:
    stored = queries.reader.log(after=0, limit=EVERYTHING)
    return {event.position.number: event for event in log_events(queries, stored, 0)}


def foreign(number: Number, log: Log) -> list[str]:
    """Events that are named and are not in the log like that."""
    named = events_in(number)
    return [str(event.event) for at, event in named.items() if log.get(at) != event.event]


def unnamed(number: Number, payer: str, log: Log) -> Iterator[str]:
    """Events that moved a payer's balance, up to what is voided now, and are not named.

    A life that waits for its start or for the next reconcile counts nothing, so it is not opened.
    """
    named = events_in(number)
    facts = [event for event in log.values() if event.stream == "usage-reconciled"]
    streams: dict[str, list[queries_pb2.LogEvent]] = {}
    for event in log.values():
        if event.stream.startswith(_MOVING) and f'"{payer}"' in event.json:
            streams.setdefault(event.stream, []).append(event)
    for events in streams.values():
        voids = [at for at, event in enumerate(events) if event.topic.endswith("-voided")]
        begun = voids[-1] + 1 if voids else 0
        wanted, newest = events[:begun], events[begun:]
        counts = balance_by([*newest, *facts]) != 0
        if counts or any(event.position.number in named for event in newest):
            wanted += newest
        for event in wanted:
            if event.position.number not in named and _MOVES_NOTHING.search(event.json) is None:
                yield f"{event.position.number}: {event.topic}"


def dispensable(number: Number) -> Iterator[str]:
    """Events whose loss nobody would notice, although they moved the number."""
    named = [event.event for event in events_in(number).values()]
    if number.credit_cents != balance_by(named):
        yield "the named events do not make the number"
    leaves = [one for one in numbers_in(number) if one.events]
    moved = [event.after_cents - event.before_cents for one in leaves for event in one.events]
    if number.credit_cents != sum(moved):  # so it breaks without any that moved it
        yield "what the events moved is not the number"
    for leaf in leaves:
        own = {event.event.stream for event in leaf.events} - {"usage-reconciled"}
        own = {stream for stream in own if not stream.startswith("cost-center:")}
        its = {event.event.position.number for event in leaf.events if event.event.stream in own}
        rest = [event for event in named if event.position.number not in its]
        if number.credit_cents - leaf.credit_cents != balance_by(rest):
            yield f"{leaf.title} is made by more or less than its events"


def wrong_about(queries: Queries, payer: str, *, size: int) -> Iterator[str]:
    """What is wrong with any explanation of a payer: its balance, every entry, line and invoice."""
    log, asking, key = log_of(queries), Asking(queries, size), payer_bytes(payer)
    balance = asking.balance(payer)
    yield from wrong(balance)
    yield from foreign(balance, log)
    yield from unnamed(balance, payer, log)
    yield from dispensable(balance)
    if balance.credit_cents != queries.balance(key):
        yield "the balance that is explained is another one"
    for row in queries.entries(key, key=None, ascending=True, limit=EVERYTHING):
        entry = asking.entry(payer, row.entry_id.hex())
        yield from (*wrong(entry), *foreign(entry, log))
        if entry.credit_cents != row.cents:
            yield f"{entry.title} is explained as another one"
    for line in queries.draft(key).lines:
        late_for = None if line.late_for < 0 else line.late_for
        number = asking.line(payer, line.workspace_class, late_for, None)
        yield from (*wrong(number), *foreign(number, log))
        if (number.credit_cents, number.part_count) != (line.amount.cents, line.amount.count):
            yield f"{number.title} is explained as another one"
    for invoice in queries.reader.invoices_of(key):
        number = asking.invoice(invoice.invoice_id)
        yield from (*wrong(number), *foreign(number, log))
        if number.credit_cents != -invoice.credit_cents - invoice.corrected_cents:
            yield f"{number.title} is explained as another one"
