"""Tables as Parquet, by pyarrow: an extra, for most ledgers never make a pack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ledger.audit.packs.columns import BOOLEAN, BYTES, INTEGER, TEXT, TIME, Column
from ledger.audit.packs.layout import PackError
from ledger.audit.packs.writing import OutFile

GROUP_ROWS = 20_000  # written at a time: a few megabytes in memory, and a good size to read
COMPRESSION = "zstd"  # every reader of Parquet knows it; a third smaller than snappy


class Parquet:
    """A table that is written in groups of rows."""

    def __init__(self, out: OutFile, columns: Sequence[Column]) -> None:
        """Write into a file, which is closed with this; PackError without pyarrow."""
        try:
            import pyarrow  # noqa: ICN001, PLC0415  # an extra
            from pyarrow import parquet  # noqa: PLC0415  # as above
        except ImportError as error:
            raise PackError(
                'packs are written with pyarrow: pip install "usage-ledger[packs]"'
            ) from error
        self._arrow = pyarrow
        kinds = {
            TEXT: pyarrow.string(),
            INTEGER: pyarrow.int64(),
            BOOLEAN: pyarrow.bool_(),
            TIME: pyarrow.timestamp("ms", tz="UTC"),
            BYTES: pyarrow.binary(),
        }
        self._schema = pyarrow.schema([(each.name, kinds[each.kind]) for each in columns])
        self._out = out
        out.add_rows(0)
        self._sink = pyarrow.PythonFile(out, mode="w")
        self._writer = parquet.ParquetWriter(self._sink, self._schema, compression=COMPRESSION)
        self._waiting: list[Sequence[Any]] = []

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows."""
        self._waiting += rows
        if len(self._waiting) >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        arrays = [
            self._arrow.array(values, field.type)
            for values, field in zip(zip(*self._waiting, strict=True), self._schema, strict=True)
        ]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        self._out.add_rows(len(self._waiting))
        self._waiting = []

    def close(self) -> None:
        """End the file."""
        self._flush()
        self._writer.close()
        self._out.close()
