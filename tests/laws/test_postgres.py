"""The same log folded on PostgreSQL gives the rows and answers that it gives on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events import Recorded, decode
from ledger.folding import fold_events
from ledger.queries import Queries
from persistence import Personal, Reader, WritableStore
from persistence.postgres import Database, PostgresReader, PostgresStore
from persistence.sqlite import SQLiteReader
from projections import OWN_PERIOD
from tests.laws.acts import payer_bytes
from tests.laws.adapter import EVERYTHING, ProductLedger
from tests.laws.asking_why import Asking
from tests.laws.histories import admissible_scenarios, examples, without_blank_lines
from tests.laws.replay import READ_MODEL
from tests.laws.test_seeded_run import history
from tests.oracle.strategies import deliveries
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.postgres

# The examples share a database, which each of them empties.
shared_database = settings(
    parent=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
OF_THE_LOG = ("stored_events", "personal")
EVER = (-(2**62), 2**62)
MANY = 5_000


@pytest.fixture(scope="module")
def module_database(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.new_ledger()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def store(module_database: str) -> Iterator[PostgresStore]:
    with closing(PostgresStore(Database(module_database), pool_size=1)) as opened:
        # The pool throws dice in a thread of its own when it connects, which Hypothesis must not
        # notice in the middle of an example: so it connects now, and never again.
        opened.progress()
        yield opened


def empty(store: PostgresStore) -> None:
    store.clear_read_model()
    with store._writer.transaction() as session:
        session.change("TRUNCATE stored_events, personal, inbox, deliveries, dead_letters, jobs")
        session.change("UPDATE log_head SET head = 0")


def copy_log(reader: Reader, store: WritableStore, *, batch_events: int) -> None:
    """Append and fold in batches, as a writer and a projector do."""
    log = reader.log(after=0, limit=EVERYTHING)
    for start in range(0, len(log), batch_events):
        batch = log[start : start + batch_events]
        with store.transaction() as transaction:
            transaction.append(
                [Recorded(e.stream, e.version, decode(e.topic, e.state), 0) for e in batch]
            )
            kept = [reader.personal(event.position) for event in batch]
            transaction.add_personal([row for row in kept if isinstance(row, Personal)])
        with store.folding() as transaction:
            fold_events(transaction, batch)


def copy_inbox(ledger: ProductLedger, store: WritableStore) -> None:
    published = ledger.select(
        "SELECT s.source, i.event_key, i.digest, i.position FROM inbox i"
        " JOIN sources s ON s.number = i.source"
    )
    with store.transaction() as transaction:
        numbers = {row[0]: transaction.source_number(row[0]) for row in published}
        transaction.add_inbox([(numbers[row[0]], *row[1:]) for row in published])


def explained(queries: Queries, payer: str, size: int) -> list[object]:
    """Why the payer's balance, entries and lines are what they are, opened to the last part."""
    asking, key = Asking(queries, size), payer_bytes(payer)
    entries = queries.entries(key, key=None, ascending=True, limit=EVERYTHING)
    found: list[object] = [asking.balance(payer)]
    found += [asking.entry(payer, row.entry_id.hex()) for row in entries]
    for cycle in queries.reader.why.cycles(key):
        for workspace_class, late_for in sorted(_lines(queries, key, cycle.number)):
            late = None if late_for == OWN_PERIOD else late_for
            found.append(asking.line(payer, workspace_class, late, cycle.number))
    return found


def _lines(queries: Queries, payer: bytes, number: int) -> set[tuple[str, int]]:
    draft = queries.draft(payer)
    stored = set(queries.reader.why.cycle_lines(payer, number))
    if draft.rows.cycle is None or draft.rows.cycle.number != number:
        return stored
    return {(line.workspace_class, line.late_for) for line in draft.lines}


def rows(reader: Reader) -> dict[str, list[tuple[object, ...]]]:
    """Every row in the order that the store gives them."""
    return {table: list(reader.rows_of(table)) for table in (*OF_THE_LOG, *READ_MODEL)}


def answers(reader: Reader, *, pages: int) -> dict[str, object]:
    """What the reading port says of every payer."""
    payers = [row[0] for row in reader.rows_of("balances")]
    accrual = reader.accrual()
    start, end = EVER
    told: dict[str, object] = {
        "balances": reader.balances([p for p in payers if isinstance(p, bytes)]),
        "cost centers": reader.cost_centers(after=b"", limit=99),
        "clock": reader.clock(),
        "accrual": accrual,
        "suspects": reader.suspects(
            runs_since=2**62, stopped_since=2**62, after=(b"", b""), limit=99
        ),
        # One law has another name where a projector folds; those of intake have nothing here.
        "audit": [
            (checked, breaches) for law, checked, breaches in reader.audit() if "source" not in law
        ],
    }
    for payer in payers:
        assert isinstance(payer, bytes)
        users = {row[4] for row in reader.rows_of("entries") if row[1] == payer} | {b""}
        ended = reader.usage_after(payer, key=None, ascending=True, limit=MANY)
        middle = [(row.effective, row.entry_id) for row in ended[len(ended) // 2 :][:1]]
        told[f"usage of {payer!r}"] = (
            ended,
            [
                reader.usage_after(payer, key=key, ascending=ascending, limit=pages)
                for key in middle
                for ascending in (True, False)
            ],
            reader.running_after(payer, accrual, after=b"", limit=99),
            reader.others_after(payer, key=None, ascending=False, limit=99),
            reader.draft(payer),
            reader.rates(payer, [row.entry_id for row in ended]),
        )
        for user in users:
            assert isinstance(user, bytes)
            told[f"pages of {payer!r}, {user!r}"] = (
                reader.usage_totals(payer, user, start=start, end=end),
                reader.running_totals(payer, user),
                reader.accrued_block(payer, user, accrual, offset=0, limit=99),
                [
                    reader.usage_page(
                        payer, user, start=start, end=end, ascending=ascending,
                        offset=offset, limit=pages,
                    )
                    for ascending in (True, False)
                    for offset in range(0, len(ended) + 1, pages)
                ],
            )  # fmt: skip
    return told


class TestTheSameLog:
    @shared_database
    @given(data=st.data())
    def test_has_the_same_rows_and_answers(self, store: PostgresStore, data: st.DataObject) -> None:
        scenario = data.draw(admissible_scenarios())
        operations = without_blank_lines(data.draw(deliveries(scenario)))
        batch_events = data.draw(st.sampled_from([1, 3, 60, EVERYTHING]))
        empty(store)
        with closing(ProductLedger()) as ledger, closing(PostgresReader(store)) as reader:
            ledger.apply_all(operations)
            with closing(SQLiteReader(ledger.store)) as expected:
                copy_log(expected, store, batch_events=batch_events)
                assert rows(expected) == rows(reader)
                assert answers(expected, pages=2) == answers(reader, pages=2)

    @shared_database
    @given(data=st.data())
    def test_is_explained_alike(self, store: PostgresStore, data: st.DataObject) -> None:
        operations = without_blank_lines(data.draw(deliveries(data.draw(admissible_scenarios()))))
        size = data.draw(st.integers(1, 5))
        empty(store)
        with closing(ProductLedger()) as ledger, closing(PostgresReader(store)) as reader:
            ledger.apply_all(operations)
            copy_log(ledger.reader, store, batch_events=EVERYTHING)
            copy_inbox(ledger, store)
            queries = Queries(reader, ledger.clock, dict)
            for payer in ledger.payers():
                expected = explained(ledger.queries, payer, size)
                assert expected == explained(queries, payer, size)

    @pytest.mark.slow
    def test_of_three_months_has_the_same_rows_and_answers(self, store: PostgresStore) -> None:
        """More rows in a statement than an example has, and pages far down."""
        empty(store)
        with closing(ProductLedger()) as ledger, closing(PostgresReader(store)) as reader:
            ledger.apply_all(history(20260801))
            with closing(SQLiteReader(ledger.store)) as expected:
                copy_log(expected, store, batch_events=2_500)
                assert rows(expected) == rows(reader)
                assert answers(expected, pages=97) == answers(reader, pages=97)
