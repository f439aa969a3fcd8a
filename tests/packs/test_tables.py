"""Cells of any text are read from CSV as they were, by whatever program, and written in one way."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.audit.packs.writing import OutFile, Table
from tests.laws.histories import examples

NAMES = ("a", "b")
ODD = ["", "\r", "\n", "\r\n", ",", '"', '""', " ", "'", "\\", "é", "\u2028", "\x00", "a\rb", " x "]
CELLS = st.tuples(*[st.text(st.sampled_from("\r\n,\" 'a\\;\té"), max_size=5)] * len(NAMES))


def written(rows: list[tuple[str, ...]]) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        table = Table(OutFile("table.csv", path, durable=False), NAMES)
        table.add(rows)
        table.close()
        return path.read_bytes()


class TestAnyCells:
    @examples(200)
    @given(st.lists(CELLS, max_size=4))
    def test_are_read_as_they_were_written(self, rows: list[tuple[str, ...]]) -> None:
        text = written(rows).decode()
        assert [NAMES, *rows] == [tuple(row) for row in csv.reader(io.StringIO(text, newline=""))]

    @examples(200)
    @given(st.lists(CELLS, max_size=4))
    def test_are_expected_by_the_verifier_as_they_are_written(
        self, verifier: ModuleType, rows: list[tuple[str, ...]]
    ) -> None:
        told = [dict(zip(NAMES, row, strict=True)) for row in rows]
        assert written(rows) == b"".join(verifier.csv_lines(NAMES, told))


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_cell_stands_in_quotes_only_if_it_must(odd: str) -> None:
    """Not as the Python that runs has it: some leave a lone CR bare, newer ones do not."""
    must = set(odd) & set(',"\r\n')
    cell = '"' + odd.replace('"', '""') + '"' if must else odd
    assert f"a,b\n{cell},x\n".encode() == written([(odd, "x")])


def test_duckdb_reads_a_lone_carriage_return_as_a_part_of_its_cell(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(written([("one\rtwo", "x"), ("three", "y")]))
    with duckdb.connect() as connection:
        rows = connection.sql(
            f"FROM read_csv('{tmp_path / 'table.csv'}', header = true)"
        ).fetchall()
    assert [("one\rtwo", "x"), ("three", "y")] == rows
