"""Statements are written for the first generation, and redirected to the others.

The first generation's tables have their own names. Those of generation 2 are `balances_g2` and so
on, positions and indexes included. Only names behind FROM, JOIN, INTO, UPDATE and INDEXED BY are
redirected, for a column may be called as a table is.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Sequence

from persistence.acts import Act
from persistence.generations import FIRST, Generation, Promotion, Structure, clocks_tail
from persistence.sql.acts import add_act
from persistence.sql.session import Columns, Session, listed
from persistence.sql.tables import OF_A_PAYER, SEALED_TABLES, TABLES
from persistence.store import FoldingTransaction, Progress
from projections import Pause

POSITIONS = "projections"
READ_MODEL = tuple(table for tables in TABLES.values() for table in tables)

OF_A_GENERATION = (POSITIONS, *READ_MODEL, *SEALED_TABLES)

_IN_GENERATIONS = frozenset(OF_A_GENERATION)
_NAMED = re.compile(r"\b(FROM|JOIN|INTO|UPDATE) (\w+)")
_INDEX = re.compile(r"\bINDEXED BY (\w+)")

# A version that was never promoted serves nothing.
SERVED = "SELECT generation FROM served WHERE version = ?"
_ALL = "SELECT {} FROM generations ORDER BY number".format(", ".join(Generation._fields))
_PROMOTIONS = "SELECT {} FROM promotions ORDER BY number".format(", ".join(Promotion._fields))


def name_in(name: str, generation: int) -> str:
    """Give what a table or index is called in a generation."""
    return name if generation == FIRST else f"{name}_g{generation}"


@functools.cache
def is_of_a_generation(statement: str) -> bool:
    """Say whether a statement reads or writes the tables of a generation."""
    return any(match[2] in _IN_GENERATIONS for match in _NAMED.finditer(statement))


@functools.cache
def redirected(statement: str, generation: int) -> str:
    """Give a statement for a generation."""
    if generation == FIRST or not is_of_a_generation(statement):
        return statement

    def in_generation(match: re.Match[str]) -> str:
        word, table = match.groups()
        return f"{word} {name_in(table, generation) if table in _IN_GENERATIONS else table}"

    statement = _INDEX.sub(lambda match: f"INDEXED BY {name_in(match[1], generation)}", statement)
    return _NAMED.sub(in_generation, statement)


def is_in_generations(table: str) -> bool:
    """Say whether each generation has a table of this name."""
    return table in _IN_GENERATIONS


def table_in(table: str, generation: int) -> str:
    """Give the name of a table in a generation; tables beside the read model have one name."""
    return name_in(table, generation) if table in _IN_GENERATIONS else table


def structure_text(structure: Structure) -> str:
    """Write a structure down."""
    return json.dumps({table: list(columns) for table, columns in structure.items()})


def structure_of(text: str) -> dict[str, tuple[str, ...]]:
    """Read a structure that was written down."""
    return {table: tuple(columns) for table, columns in json.loads(text).items()}


class GenerationRows:
    """The rows that say which generations there are, by a session's means."""

    def __init__(self, session: Session) -> None:
        """Take a session."""
        self._session = session

    def all(self) -> list[Generation]:
        """Give every generation, by number."""
        return [Generation(*row) for row in self._session.all(_ALL)]

    def served(self) -> dict[int, int]:
        """Give which generation each version serves."""
        return dict(self._session.all("SELECT version, generation FROM served ORDER BY version"))

    def promotions(self) -> list[Promotion]:
        """Give what was promoted, in order."""
        return [Promotion(*row) for row in self._session.all(_PROMOTIONS)]

    def begin(self, *, version: int, begun_at: int, author: str) -> int:
        """Write a new generation down; give its number."""
        number: int = self._session.one("SELECT max(number) + 1 FROM generations")[0]
        self._session.change(
            "INSERT INTO generations (number, version, begun_at, begun_by, differences)"
            " VALUES (?, ?, ?, ?, '')",
            (number, version, begun_at, author),
        )
        return number

    def keep_comparison(self, generation: Generation) -> None:
        """Keep the outcome of a comparison."""
        self._session.change(
            "UPDATE generations SET compared_at = ?, compared_with = ?, compared_position = ?,"
            " differences = ? WHERE number = ?",
            (
                generation.compared_at,
                generation.compared_with,
                generation.compared_position,
                generation.differences,
                generation.number,
            ),
        )

    def promote(self, promotion: Promotion) -> None:
        """Serve a generation, and write down who said so."""
        number = self._session.one("SELECT coalesce(max(number), 0) + 1 FROM promotions")[0]
        columns = Promotion._fields
        self._session.change(
            f"INSERT INTO promotions ({', '.join(columns)})"
            f" VALUES ({', '.join('?' * len(columns))})",
            promotion._replace(number=number),
        )
        self._session.change(
            "INSERT INTO served (version, generation) VALUES (?, ?) ON CONFLICT (version)"
            " DO UPDATE SET generation = excluded.generation, coming = NULL",
            (promotion.version, promotion.generation),
        )

    def forget(self, generation: int, dropped_at: int, author: str) -> None:
        """Serve a generation to nobody any more, and write down that its rows are gone."""
        self._session.change("DELETE FROM served WHERE generation = ?", (generation,))
        self._session.change("DELETE FROM tails WHERE name = ?", (clocks_tail(generation),))
        self._session.change(
            "UPDATE generations SET dropped_at = ? WHERE number = ?", (dropped_at, generation)
        )
        detail = f"generation {generation}"
        add_act(self._session, Act(dropped_at, author, "projections drop", detail))


def rows_statement(
    table: str, columns: Sequence[str], key: Columns, *, of_payer: bool = False
) -> str:
    """Give what reads the rows of a table by its key; each `?` is the payer."""
    where = f" WHERE {OF_A_PAYER.get(table, 'payer = ?')}" if of_payer else ""
    return f"SELECT {listed(tuple(columns)) or '*'} FROM {table}{where} ORDER BY {listed(key)}"


STANDS_AT = (
    "SELECT coalesce((SELECT min(position) FROM projections WHERE paused_at IS NULL),"
    " (SELECT max(position) FROM stored_events), 0)"
)

PAUSED = "SELECT name, paused_at, paused_reason FROM projections WHERE paused_at IS NOT NULL"


def stands_at(session: Session) -> int:
    """Give where the projections that fold stand; the log's head when all are paused."""
    position: int = session.one(STANDS_AT)[0]
    return position


def progress_of(session: Session, head: int) -> Progress:
    """Give where the projections of a session's generation stand."""
    rows = session.all("SELECT name, position, paused_at, paused_reason FROM projections")
    return Progress(
        head,
        {name: position for name, position, _, _ in rows},
        {name: Pause(at, why) for name, _, at, why in rows if at is not None},
    )


class SqlSwitch:
    """Implements `persistence.Switch`."""

    def __init__(self, served: Session, coming: Session, folding: FoldingTransaction) -> None:
        """Take one transaction as a session of each of the two generations."""
        self._served = served
        self._sessions = {session.generation: session for session in (served, coming)}
        self.folding = folding

    def target(self) -> int:
        """Give where the served generation stands."""
        return stands_at(self._served)

    def balances(
        self, generation: int, columns: Sequence[str], payers: Iterable[bytes]
    ) -> dict[bytes, tuple[int, ...]]:
        """Give columns of payers' rows in table `balances` of a generation."""
        statement = f"SELECT {listed(('payer', *columns))} FROM balances WHERE payer {{among}}"
        rows = self._sessions[generation].among(statement, list(payers))
        return {row[0]: tuple(row[1:]) for row in rows}

    def promote(self, promotion: Promotion) -> None:
        """Serve the generation; the number of the promotion is given by the store."""
        GenerationRows(self._served).promote(promotion)
