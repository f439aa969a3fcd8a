"""Packs whose hashes all fit, made by somebody who wants them to say something else."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from msgspec.structs import replace
from pyarrow import parquet

from ledger.audit.keys import KeyList, LastHead, Retired, write_key_list
from ledger.audit.notes import parse_note
from tests.packs.scene import (
    NOT_PROVED,
    PROVED,
    UNREADABLE,
    VERIFIER,
    Doctored,
    Packed,
    outcome_of,
    proved_anew,
    told_anew,
)
from tests.packs.test_histories import duckdb_balances

EVENTS, HEADS, PERSONAL = (f"shard-0/{n}.jsonl" for n in ("events", "heads", "personal"))
TELLING = ("entries.jsonl", "payers.jsonl", "prices.jsonl", EVENTS, HEADS)


class Operator:
    """Whoever hands over a pack, and what the verifier says of it."""

    def __init__(self, packed: Packed, verifier: ModuleType, pack: Path, folder: Path) -> None:
        self.packed = packed
        self.verifier = verifier
        self.pack = Doctored(pack, folder)
        self.folder = self.pack.folder

    def told(self, *, code: int = NOT_PROVED, keys: Path | None = None) -> str:
        ended, told = outcome_of(self.verifier, self.folder, keys or self.packed.keys)
        assert code == ended, told
        return told

    def refused(self, *texts: str, code: int = NOT_PROVED, **changed: Any) -> None:
        """Seal the pack and have it refused."""
        self.pack.seal(**changed)
        told = self.told(code=code)
        for text in texts:
            assert text in told, told

    def rewrite(self, name: str, change: Callable[[str], str]) -> None:
        """Change the text of a file."""
        file = self.folder / name
        before = file.read_text()
        after = change(before)
        assert after != before
        file.write_text(after)


@pytest.fixture
def payers(packed: Packed, verifier: ModuleType, tmp_path: Path) -> Operator:
    return Operator(packed, verifier, packed.of_payer, tmp_path / "pack")


@pytest.fixture
def whole(packed: Packed, verifier: ModuleType, tmp_path: Path) -> Operator:
    return Operator(packed, verifier, packed.everything, tmp_path / "pack")


class TestWhatAPackSaysOfItself:
    """The manifest is not signed: its hashes prove nothing against whoever made it."""

    @pytest.mark.parametrize("name", ["balances.sql", "README.md", "schema.json"])
    def test_is_what_usage_ledger_writes(self, payers: Operator, name: str) -> None:
        payers.rewrite(name, lambda text: f"{text}\n")
        payers.refused(f"{name}: it is not what usage-ledger writes there")

    def test_is_in_no_other_file(self, payers: Operator) -> None:
        (payers.folder / "balances.csv").write_text("all,0\n")
        files = payers.pack.manifest.files
        payers.refused(
            "balances.csv: no pack has such a file",
            files=[*files, replace(files[0], name="balances.csv")],
        )

    @pytest.mark.parametrize("name", ["entries.parquet", "entries.csv", "balances.sql", HEADS])
    def test_is_not_left_out(self, payers: Operator, name: str) -> None:
        (payers.folder / name).unlink()
        payers.refused(f"{name}: the manifest does not name this file, which every pack has")

    def test_has_personal_fields_only_where_it_says_so(self, whole: Operator) -> None:
        whole.refused(f"{PERSONAL}: no pack has such a file", with_personal=False)

    def test_has_as_many_rows_as_there_are(self, payers: Operator) -> None:
        for name in ("entries.csv", "entries.parquet", "prices.csv", "shard-0/proof.bin"):
            files = [
                replace(file, rows=(file.rows or 0) + 1) if file.name == name else file
                for file in payers.pack.manifest.files
            ]
            payers.pack.seal()
            payers.pack.name_files(files)
            assert f"it says that {name} has" in payers.told()

    @pytest.mark.parametrize("pack", ["payers", "whole"])
    def test_names_the_last_position(self, pack: str, request: pytest.FixtureRequest) -> None:
        operator = request.getfixturevalue(pack)
        (shard,) = operator.pack.manifest.shards
        operator.refused("its last position is", shards=[replace(shard, last_position=7)])


class TestOneWayToReadIt:
    @pytest.mark.parametrize("name", [*TELLING, PERSONAL])
    def test_no_name_stands_twice(self, whole: Operator, name: str) -> None:
        """Of two values this program would take the last one, and another one the first."""
        field = next(iter(whole.pack.lines(name)[0]))
        whole.rewrite(name, lambda text: text.replace("{", f'{{"{field}":1,', 1))
        whole.refused(f"line 1 of {name}: ", "stands twice")

    def test_not_in_the_manifest(self, payers: Operator) -> None:
        payers.rewrite("manifest.json", lambda text: text.replace("{", '{"payer": null,', 1))
        assert "stands twice" in payers.told(code=UNREADABLE)

    def test_not_in_the_list_of_keys(self, payers: Operator, tmp_path: Path) -> None:
        keys = tmp_path / "keys.json"
        keys.write_text(payers.packed.keys.read_text().replace("{", '{"keys": [],', 1))
        assert "stands twice" in payers.told(code=UNREADABLE, keys=keys)

    @pytest.mark.parametrize(
        ("name", "old", "new"),
        [
            ("entries.jsonl", '"shard":0', '"shard":false'),
            ("entries.jsonl", '"draft":false', '"draft":0'),
            ("entries.jsonl", '"shard":0', '"shard":0.0'),
            ("payers.jsonl", '"shard":0', '"shard":0e0'),
            ("payers.jsonl", '"instances":1', '"instances":true'),
            ("prices.jsonl", '"revision":1', '"revision":true'),
        ],
    )
    def test_numbers_are_whole_numbers(
        self, whole: Operator, name: str, old: str, new: str
    ) -> None:
        whole.rewrite(name, lambda text: text.replace(old, new, 1))
        whole.refused(name)

    def test_texts_are_utf_8(self, payers: Operator) -> None:
        """JSON may be in UTF-16, but whoever reads the file by another program reads noise."""
        file = payers.folder / "prices.jsonl"
        file.write_bytes(file.read_text().encode("utf-16-be"))
        payers.refused("prices.jsonl is no JSON")

    @pytest.mark.parametrize("name", ["entries.csv", "prices.csv"])
    def test_tables_are_written_in_one_way(self, payers: Operator, name: str) -> None:
        file = payers.folder / name
        with file.open(newline="") as read:
            rows = list(csv.reader(read))
        with file.open("w", newline="") as written:
            csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\r").writerows(rows)
        payers.refused(f"{name}: it is written otherwise than usage-ledger writes it")


class TestParquet:
    def changed(
        self, operator: Operator, name: str, change: Callable[[pa.Table], pa.Table]
    ) -> None:
        path = operator.folder / f"{name}.parquet"
        parquet.write_table(change(parquet.read_table(path)), path)
        operator.refused(f"{name}.parquet: its columns are")

    @pytest.mark.parametrize("at", [0, -1])
    def test_has_no_column_twice(self, payers: Operator, at: int) -> None:
        """Whoever reads it by name, as DuckDB does, would get one of the two."""

        def doubled(table: pa.Table) -> pa.Table:
            column = pa.array([1] * table.num_rows, pa.int64())
            place = table.num_columns if at < 0 else at
            return table.add_column(place, "credit_cents", column)

        self.changed(payers, "entries", doubled)

    def test_has_no_other_column(self, payers: Operator) -> None:
        self.changed(
            payers, "entries", lambda t: t.append_column("balance", pa.array([1] * t.num_rows))
        )

    @pytest.mark.parametrize(
        ("column", "kind"),
        [
            ("credit_cents", pa.float64()),
            ("effective_time", pa.timestamp("ms", tz="+09:00")),
            ("effective_time", pa.timestamp("us", tz="UTC")),
            ("kind", pa.dictionary(pa.int32(), pa.string())),
        ],
    )
    def test_has_the_kinds_that_packs_have(
        self, payers: Operator, column: str, kind: pa.DataType
    ) -> None:
        def cast(table: pa.Table) -> pa.Table:
            at = table.schema.get_field_index(column)
            if column == "effective_time" and kind.unit == "ms":  # the same clock, elsewhere
                values = [each.replace(tzinfo=None) for each in table[column].to_pylist()]
                there = pa.compute.assume_timezone(pa.array(values, pa.timestamp("ms")), "+09:00")
                return table.set_column(at, column, there)
            return table.set_column(at, column, table[column].cast(kind))

        self.changed(payers, "entries", cast)

    def test_says_of_its_parts_what_is_in_them(self, payers: Operator) -> None:
        """Readers pass over parts by what the file says of them: DuckDB would lose reconciles."""
        path = payers.folder / "shard-0/events.parquet"
        raw = path.read_bytes()
        at = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
        footer = raw[at:].replace(b"usage-reconciled", b"busage-reconcile")
        before = duckdb_balances(payers.folder)
        path.write_bytes(raw[:at] + footer)
        assert before != duckdb_balances(payers.folder)
        payers.refused("shard-0/events.parquet: it says of its column stream that it goes")

    def test_has_nothing_beside_its_columns(self, payers: Operator) -> None:
        """Filters by which readers look for a value, too, are nowhere in a pack's file."""
        path = payers.folder / "entries.parquet"
        table = parquet.read_table(path)
        parquet.write_table(table, path, write_page_index=True)
        payers.refused("entries.parquet: there is more in it than its columns")

    def test_says_no_name_twice_in_its_fields(self, payers: Operator) -> None:
        path = payers.folder / "shard-0/events.parquet"
        table = parquet.read_table(path)
        fields = [f'{{"rate":"0",{text[1:]}' if "rate" in text else text
                  for text in table["fields"].to_pylist()]  # fmt: skip
        at = table.schema.get_field_index("fields")
        parquet.write_table(table.set_column(at, "fields", pa.array(fields)), path)
        payers.refused("shard-0/events.parquet: ", "stands twice")


class TestHeads:
    """What a signature covers is what was signed, by whoever had the key."""

    def resigned(self, operator: Operator, time: int) -> None:
        lines = operator.pack.lines(HEADS)
        checkpoint = parse_note(lines[0]["note"]).checkpoint
        recorded = checkpoint.recorded_at + time
        note = operator.packed.signing.note(checkpoint._replace(recorded_at=recorded))
        operator.pack.change(HEADS, 0, note=note)
        (shard,) = operator.pack.manifest.shards
        operator.pack.seal(shards=[replace(shard, head=note)])

    @pytest.mark.parametrize("time", [-1, 1])
    def test_of_everything_were_recorded_when_their_newest_event_was(
        self, whole: Operator, time: int
    ) -> None:
        self.resigned(whole, time)
        assert "but its newest event was recorded at" in whole.told()

    def test_of_a_payer_were_not_recorded_before_its_events(self, payers: Operator) -> None:
        self.resigned(payers, -86_400_000 * 400)
        assert "was recorded later than" in payers.told()

    @pytest.mark.parametrize("name", ["payers", "whole"])
    def test_of_a_retired_key_do_not_say_when(
        self, name: str, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        """A stolen key can sign its last head anew, recorded whenever the thief likes."""
        operator: Operator = request.getfixturevalue(name)
        keys = retired(operator.packed.signing.keys, operator, tmp_path)
        said = operator.told(code=PROVED, keys=keys)
        assert (name == "whole") == ("recorded up to" in said)

    def test_say_nothing_beside_their_note(self, payers: Operator) -> None:
        payers.pack.change(HEADS, 0, remark="the last head that there is")
        payers.refused(f"line 1 of {HEADS} is no head")


def retired(keys: KeyList, operator: Operator, folder: Path) -> Path:
    last = LastHead(*parse_note(operator.pack.lines(HEADS)[0]["note"]).checkpoint[:3])
    path = folder / "retired.json"
    write_key_list(path, keys.retiring("test-key", Retired("now", "x", (last,))))
    return path


class TestEventsLeftOut:
    """The ledger's side proves what it shows by its own tree, and tells what follows from that."""

    def left_out(self, operator: Operator, leaves: set[int]) -> None:
        lines = operator.pack.lines(EVENTS)
        proved_anew(
            operator.pack, operator.packed, [each for each in lines if each["leaf"] not in leaves]
        )
        told_anew(operator.pack, operator.verifier)

    def test_with_every_close_that_would_show_it(self, payers: Operator) -> None:
        lines = payers.pack.lines(EVENTS)
        closes = [line for line in lines if line["topic"] == "billing-cycle-closed"]
        first = next(line["stream"] for line in lines if line["topic"] == "instance-started")
        gone = {line["leaf"] for line in lines if line["stream"] == first}
        self.left_out(payers, gone)
        assert "had a balance of" in payers.told()
        gone |= {line["leaf"] for line in closes}
        whole = Doctored(payers.packed.of_payer, payers.folder.parent / "again")
        again = Operator(payers.packed, payers.verifier, whole.folder, payers.folder / "again")
        self.left_out(again, gone)
        assert "what it said of the balance is missing" in again.told()


class TestTheManifest:
    @pytest.mark.parametrize(
        "changed",
        [
            {"payer": "team:x\x1b[2J"},
            {"payer": "nobody\nPROVED      everything"},
            {"payer": "team:00000000-0000-4000-8000-00000000000A"},
            {"period_from": "2026-02-30T00:00:00.000Z"},
            {"period_from": "2027-01-01T00:00:00.000Z", "period_to": "2026-01-01T00:00:00.000Z"},
            {"ledger": "usage-ledger/x\nPROVED"},
        ],
    )
    def test_says_what_can_be(self, payers: Operator, changed: dict[str, Any]) -> None:
        payers.refused("manifest.json", code=UNREADABLE, **changed)

    def test_names_no_shard_twice(self, whole: Operator) -> None:
        (shard,) = whole.pack.manifest.shards
        whole.refused("manifest.json", code=UNREADABLE, shards=[shard, shard])

    def test_of_a_payer_has_one_shard(self, payers: Operator) -> None:
        (shard,) = payers.pack.manifest.shards
        both = [shard, replace(shard, shard=1)]
        payers.refused("manifest.json", code=UNREADABLE, shards=both)

    def test_tells_of_no_other_payer(self, payers: Operator) -> None:
        """Of others the pack shows nothing, not even that they owe nothing."""
        other = "team:ffffffff-ffff-4fff-bfff-ffffffffffff"
        lines = payers.pack.lines("payers.jsonl")
        empty = payers.verifier.Account().told(0, bytes.fromhex("ffffffffffff4fffbfffffffffffffff"))
        payers.pack.write_lines("payers.jsonl", [*lines, empty])
        totals = payers.pack.manifest.totals
        payers.refused(
            f"payers.jsonl: line {len(lines) + 1} is of {other}, which the pack is not of",
            totals=replace(totals, payers=totals.payers + 1),
        )


class TestPersonalFields:
    def test_of_one_event_stand_there_once(self, whole: Operator) -> None:
        lines = whole.pack.lines(PERSONAL)
        whole.pack.write_lines(PERSONAL, [lines[0], *lines])
        whole.refused(f"line 2 of {PERSONAL} is out of order")

    def test_that_are_missing_are_counted(self, whole: Operator) -> None:
        lines = whole.pack.lines(PERSONAL)
        whole.pack.write_lines(PERSONAL, lines[1:])
        whole.pack.seal()
        assert f"{PERSONAL}: of 1 more, which events commit to, nothing is there" in whole.told(
            code=PROVED
        )


class TestTheVerifierItself:
    def test_takes_no_module_from_the_folder_that_it_lies_in(
        self, payers: Operator, tmp_path: Path
    ) -> None:
        """Put into the pack, it would run whatever the pack has under the name of a module."""
        folder = tmp_path / "unpacked"
        folder.mkdir()
        for name in ("json", "csv", "pyarrow", "cryptography"):
            (folder / f"{name}.py").write_text("raise SystemExit(77)\n")
        program = folder / VERIFIER.name
        program.write_bytes(VERIFIER.read_bytes())
        given = ("pack", payers.folder, "--keys", payers.packed.keys)
        command = [sys.executable, *map(str, (program, *given))]
        for place in (folder, tmp_path):
            ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place)
            assert PROVED == ran.returncode, ran.stdout + ran.stderr

    def test_says_when_nothing_is_there_of_the_payer(
        self, payers: Operator, packed: Packed
    ) -> None:
        lines = payers.pack.lines(EVENTS)
        facts = [line for line in lines if line["stream"] in {"price-list", "usage-reconciled"}]
        proved_anew(payers.pack, packed, facts)
        told_anew(payers.pack, payers.verifier)
        assert f"no event of {packed.payer} is in it" in payers.told(code=PROVED)


def test_a_page_of_json_that_is_no_manifest(payers: Operator) -> None:
    for text in (
        "[]",
        "{}",
        "null",
        '{"format": 1}',
        json.dumps({"format": "usage-ledger-pack-1"}),
    ):
        (payers.folder / "manifest.json").write_text(text)
        assert "manifest.json" in payers.told(code=UNREADABLE)
