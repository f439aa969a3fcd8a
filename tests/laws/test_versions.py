"""The rows tell how entries stood at any position: what a fold of the log up to there says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from events import Recorded, decode
from persistence.sqlite import SQLiteReader, SQLiteStore
from projections import Entry, OtherEntry, ReadModel
from tests.laws.adapter import ProductLedger
from tests.laws.histories import admissible_scenarios, examples
from tests.laws.test_histories import disturbed
from tests.oracle.operations import Operation

Row = tuple[Any, ...]

_ENTRY = Entry.__struct_fields__
_DRAFT, _STOPPED, _FINAL = map(_ENTRY.index, ("draft", "stopped", "final_position"))
_RUNNING = 'payer, instance, "user", workspace_class, rate, started, start_position'


def _columns(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def entries_at(store: SQLiteStore, position: int) -> list[Row]:
    """Entries as the rows remember them."""
    found = store.connection.execute(
        f"SELECT {_columns(_ENTRY)} FROM entries WHERE changed_position <= ?1"
        f" UNION ALL SELECT {_columns(_ENTRY)} FROM entry_versions"
        " WHERE changed_position <= ?1 AND ?1 < known_to",
        (position,),
    )
    return sorted(_as_known(row, position) for row in found)


def _as_known(row: Row, position: int) -> Row:
    """An entry that was made final later was a draft."""
    if row[_FINAL] <= position:
        return row
    known = list(row)
    known[_DRAFT], known[_STOPPED], known[_FINAL] = 1, None, 0
    return tuple(known)


def others_at(store: SQLiteStore, position: int) -> list[Row]:
    found = store.connection.execute(
        f"SELECT {_columns(OtherEntry._fields)} FROM other_entries WHERE position <= ?1"
        " UNION ALL SELECT payer, effective, entry_id, kind, cents, user, made_position FROM voids"
        " WHERE kind = 'credit_note' AND made_position <= ?1 AND ?1 < position",
        (position,),
    )
    return sorted(found)


def running_at(store: SQLiteStore, position: int) -> list[Row]:
    """What had started and was no entry yet."""
    found = store.connection.execute(
        f"SELECT {_RUNNING} FROM open_instances WHERE started IS NOT NULL AND stopping IS NULL"
        f" AND start_position <= ?1 UNION SELECT {_RUNNING} FROM entries"
        f" WHERE start_position <= ?1 AND ?1 < ended_position UNION SELECT {_RUNNING}"
        " FROM entry_versions WHERE start_position <= ?1 AND ?1 < ended_position",
        (position,),
    )
    return sorted(found)


def accrual_at(store: SQLiteStore, position: int) -> list[Row]:
    return store.connection.execute(
        "SELECT position, instant FROM reconciles WHERE position <= ? ORDER BY position DESC"
        " LIMIT 1",
        (position,),
    ).fetchall()


@contextmanager
def folded_to(store: SQLiteStore, position: int) -> Iterator[SQLiteStore]:
    """A fresh store with the log up to a position."""
    with closing(SQLiteReader(store)) as reader, closing(SQLiteStore(None)) as fresh:
        log = reader.log(after=0, limit=position) if position else []
        with fresh.transaction() as transaction:
            events = [Recorded(e.stream, e.version, decode(e.topic, e.state)) for e in log]
            if events:
                standing, paused = transaction.standing()
                ReadModel(transaction.rows, transaction.positions, standing, paused).fold(
                    transaction.append(events)
                )
        yield fresh


def rows_in(store: SQLiteStore, statement: str) -> list[Row]:
    return sorted(store.connection.execute(statement).fetchall())


class TestAtAnyPosition:
    @examples(300)
    @given(disturbed(), st.data())
    def test_rows_tell_what_a_fold_up_to_there_says(
        self, operations: list[Operation], data: st.DataObject
    ) -> None:
        with closing(ProductLedger()) as ledger:
            store = ledger.apply_all(operations).store
            position = data.draw(st.integers(0, ledger.core.head))
            with folded_to(store, position) as then:
                entries = f"SELECT {_columns(_ENTRY)} FROM entries"
                assert rows_in(then, entries) == entries_at(store, position)
                others = f"SELECT {_columns(OtherEntry._fields)} FROM other_entries"
                assert rows_in(then, others) == others_at(store, position)
                running = (
                    f"SELECT {_RUNNING} FROM open_instances"
                    " WHERE started IS NOT NULL AND stopping IS NULL"
                )
                assert rows_in(then, running) == running_at(store, position)
                accrual = "SELECT position, instant FROM accrual"
                assert rows_in(then, accrual) == accrual_at(store, position)

    @examples(60)
    @given(admissible_scenarios(instances_max=2), st.data())
    def test_at_every_position_of_a_small_history(self, scenario: Any, data: st.DataObject) -> None:
        operations = data.draw(disturbed(scenario))
        with closing(ProductLedger()) as ledger:
            store = ledger.apply_all(operations).store
            for position in range(ledger.core.head + 1):
                with folded_to(store, position) as then:
                    entries = f"SELECT {_columns(_ENTRY)} FROM entries"
                    assert rows_in(then, entries) == entries_at(store, position)
