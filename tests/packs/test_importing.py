"""A pack of everything, taken over into an empty ledger: the same bytes, heads and answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ledger.audit.erased import erasure_laws
from ledger.audit.keys import KeyList, LastHead, Retired, read_key_list
from ledger.audit.packs.importing import Imported, import_pack
from ledger.audit.packs.layout import PackError
from ledger.audit.packs.reading import Pack
from ledger.audit.verifying import Summary, verify
from ledger.replay import compare_with_log
from ledger.stores import OpenStore
from persistence import Reader
from persistence.postgres import Database, PostgresReader, PostgresStore
from persistence.sqlite import TABLES, SQLiteReader, SQLiteStore
from tests.harness.backends import POSTGRES, SQLITE
from tests.laws.adapter import ProductLedger
from tests.packs.scene import ORIGIN, Doctored, Packed, pack_of, verified
from tests.servers.postgres import PostgresServer

# What an import carries over beside the log; everything else is folded from it.
CARRIED = ("stored_events", "personal", "tree", "tree_tiles", "tree_heads", "placement")
FOLDED = tuple(table for tables in TABLES.values() for table in tables)
EVENTS, HEADS = "shard-0/events.jsonl", "shard-0/heads.jsonl"
BACKENDS = [SQLITE, pytest.param(POSTGRES, marks=pytest.mark.postgres)]


class Place:
    """An empty ledger that a pack can be taken over into."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url

    @contextlib.contextmanager
    def opened(self) -> Iterator[OpenStore]:
        if self.url:
            database = PostgresStore(Database(self.url), pool_size=2)
            with closing(database):
                yield OpenStore(database, partial(PostgresReader, database))
        else:
            file = SQLiteStore(self.folder, synchronous="off")
            with closing(file):
                yield OpenStore(file, partial(SQLiteReader, file))

    def take_over(self, path: Path, keys: KeyList) -> list[Imported]:
        with self.opened() as store, closing(Pack(path)) as pack:
            return import_pack(pack, keys, [store])

    @contextlib.contextmanager
    def read(self) -> Iterator[Reader]:
        with self.opened() as store, closing(store.new_reader()) as reader:
            yield reader


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == SQLITE:
        yield Place(tmp_path / "new", "")
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_ledger()
    yield Place(tmp_path / "new", url)
    server.drop_database(url)


@pytest.fixture
def keys(packed: Packed) -> KeyList:
    return read_key_list(packed.keys, may_lack=False)


def rows(reader: Reader, *tables: str) -> dict[str, list[tuple[Any, ...]]]:
    return {table: list(reader.rows_of(table)) for table in tables}


def recorded_ids(reader: Reader) -> list[tuple[Any, ...]]:
    """Without the numbers of sources, which are each store's own."""
    found = reader.packs.recorded_ids(after=(-1, b""), limit=100_000)
    return sorted(tuple(each[1:]) for each in found)


class TestTheSameLedger:
    def test_in_every_row(self, packed: Packed, place: Place, keys: KeyList) -> None:
        (imported,) = place.take_over(packed.everything, keys)
        assert (packed.ledger.core.head, 3, False) == imported[1:]
        with place.read() as reader:
            live = packed.ledger.reader
            assert rows(live, *CARRIED) == rows(reader, *CARRIED)
            assert rows(live, *FOLDED) == rows(reader, *FOLDED)
            assert recorded_ids(live) == recorded_ids(reader)
            assert live.packs.deliveries() == reader.packs.deliveries()
            assert 0 == reader.packs.personal_left_through()
            assert [] == [breach for _, _, breaches in reader.audit() for breach in breaches]

    def test_passes_its_own_verification(self, packed: Packed, place: Place, keys: KeyList) -> None:
        place.take_over(packed.everything, keys)
        with place.read() as reader:
            *_, summary = verify(reader, keys)
        assert isinstance(summary, Summary)
        assert (packed.ledger.core.head, 3, 0, 0, 0) == (
            summary.events,
            summary.heads,
            summary.uncovered,
            summary.waiting,
            summary.findings,
        )

    def test_answers_the_same(self, packed: Packed, tmp_path: Path, keys: KeyList) -> None:
        place = Place(tmp_path / "new", "")
        place.take_over(packed.everything, keys)
        with closing(ProductLedger(place.folder)) as ledger:
            for payer in packed.ledger.payers():
                assert packed.ledger.balance_cents(payer) == ledger.balance_cents(payer)
                assert packed.ledger.entries(payer) == ledger.entries(payer)
                assert packed.ledger.drafts(payer) == ledger.drafts(payer)
                assert packed.ledger.cost_center(payer) == ledger.cost_center(payer)
            for instance in packed.ledger.instance_ids():
                assert packed.ledger.instance(instance) == ledger.instance(instance)

    @pytest.mark.postgres
    def test_there_and_back(
        self, packed: Packed, tmp_path: Path, keys: KeyList, postgres_server: PostgresServer
    ) -> None:
        """From a file to a server, and from there to another file: the packs are the same."""
        url = postgres_server.new_ledger()
        server, file = Place(tmp_path, url), Place(tmp_path / "file", "")
        server.take_over(packed.everything, keys)
        with server.read() as reader:
            pack_of([reader], tmp_path / "again", with_personal=True)
        verified(tmp_path / "again", packed.keys)
        file.take_over(tmp_path / "again", keys)
        with file.read() as reader:
            assert rows(packed.ledger.reader, *CARRIED, *FOLDED) == rows(reader, *CARRIED, *FOLDED)
        first, again = (Doctored(each, tmp_path / each.name / "copy").manifest.files
                        for each in (packed.everything, tmp_path / "again"))  # fmt: skip
        assert _comparable(first) == _comparable(again)
        postgres_server.drop_database(url)

    def test_without_personal_fields_when_they_are_not_in_the_pack(
        self, packed: Packed, place: Place, keys: KeyList, tmp_path: Path
    ) -> None:
        pack_of([packed.ledger.reader], tmp_path / "bare")
        place.take_over(tmp_path / "bare", keys)
        with place.read() as reader:
            assert [] == reader.packs.personal_after(0, 10)
            assert packed.ledger.core.head == reader.packs.personal_left_through()
            laws = [*erasure_laws(reader), *compare_with_log(reader)]
            assert [] == [breach for _, _, breaches in laws for breach in breaches]
            assert [] == [breach for _, _, breaches in reader.audit() for breach in breaches]

    def test_from_an_archive(
        self, packed: Packed, place: Place, keys: KeyList, tmp_path: Path
    ) -> None:
        made = pack_of([packed.ledger.reader], tmp_path / "pack.tar", archive=True)
        assert made.path.is_file()
        verified(made.path, packed.keys)
        place.take_over(made.path, keys)
        with place.read() as reader:
            assert rows(packed.ledger.reader, *FOLDED) == rows(reader, *FOLDED)


class TestAnEmptyShard:
    """Of a ledger of two shards, none of whose payers lives in the second one."""

    @pytest.fixture
    def pack(self, packed: Packed, tmp_path: Path) -> Path:
        with closing(SQLiteStore(tmp_path / "second")) as store:
            with store.transaction() as transaction:
                transaction.tree.name(f"{ORIGIN}/1")
            with closing(SQLiteReader(store)) as reader:
                pack_of([packed.ledger.reader, reader], tmp_path / "pack")
        return tmp_path / "pack"

    def test_is_taken_over_once_with_its_name(
        self, pack: Path, place: Place, keys: KeyList, tmp_path: Path
    ) -> None:
        second = Place(tmp_path / "new second", "")
        for was_there in (False, True):
            with place.opened() as one, second.opened() as two, closing(Pack(pack)) as opened:
                imported = import_pack(opened, keys, [one, two])
            assert [was_there, was_there] == [each.was_there for each in imported]
            for each in (place, second):
                with each.read() as reader:
                    assert 1 == len(list(reader.rows_of("acts")))
        with second.read() as reader:
            assert (f"{ORIGIN}/1", 0) == reader.tree.state()[:2]


def _comparable(files: list[Any]) -> list[Any]:
    """Numbers of sources decide the order of recorded ids, and are each store's own."""
    return [file for file in files if not file.name.endswith("recorded-ids.jsonl")]


class TestRefused:
    @pytest.fixture
    def pack(self, packed: Packed, tmp_path: Path) -> Doctored:
        return Doctored(packed.everything, tmp_path / "pack")

    def refused(self, place: Place, pack: Path, keys: KeyList, *named: str) -> None:
        with pytest.raises(PackError) as error:
            place.take_over(pack, keys)
        for text in named:
            assert text in str(error.value)
        with place.opened() as store, store.store.transaction() as transaction:
            assert [] == transaction.packs.holdings()  # nothing of it stays

    def test_a_ledger_that_is_not_empty(
        self, packed: Packed, place: Place, keys: KeyList, tmp_path: Path
    ) -> None:
        first = packed.ledger.reader.tree.head(1)
        assert first is not None
        pack_of([packed.ledger.reader], tmp_path / "earlier", head=1)
        place.take_over(tmp_path / "earlier", keys)
        with pytest.raises(PackError, match=r"shard 0 of the ledger is not empty: it has rows in"):
            place.take_over(packed.everything, keys)
        with place.read() as reader:
            assert first.size == reader.tree.state().size

    def test_the_same_pack_again_is_there_already(
        self, packed: Packed, place: Place, keys: KeyList
    ) -> None:
        place.take_over(packed.everything, keys)
        (again,) = place.take_over(packed.everything, keys)
        assert again.was_there

    def test_a_pack_of_a_payer(self, packed: Packed, place: Place, keys: KeyList) -> None:
        self.refused(place, packed.of_payer, keys, packed.payer, "only a whole ledger")

    def test_a_log_shorter_than_what_a_retired_key_has_signed(
        self, packed: Packed, place: Place, keys: KeyList
    ) -> None:
        with place.opened() as store, closing(Pack(packed.everything)) as pack:
            (shard,) = pack.manifest.shards
            last = LastHead(shard.origin, shard.size + 1_000, bytes(32))
            retired = Retired("2026-11-02T00:00:00.000Z", "local:root", (last,))
            listed = KeyList(tuple(key._replace(retired=retired) for key in keys.keys))
            with pytest.raises(PackError, match="of an older state, or of a log that was cut"):
                import_pack(pack, listed, [store])
        with place.read() as reader:
            assert 0 == reader.tree.state().size

    def test_a_shard_of_another_ledger(self, pack: Doctored, place: Place, keys: KeyList) -> None:
        pack.seal(ledger="usage-ledger/another")
        self.refused(place, pack.folder, keys, "is said to be usage-ledger/")

    def test_another_number_of_shards(self, packed: Packed, place: Place, keys: KeyList) -> None:
        with (
            place.opened() as store,
            closing(Pack(packed.everything)) as pack,
            pytest.raises(PackError, match="has 1 shards, the ledger 2"),
        ):
            import_pack(pack, keys, [store, store])

    def test_a_file_that_was_changed_cut_or_removed(
        self, pack: Doctored, place: Place, keys: KeyList
    ) -> None:
        for name in pack.names():
            file = pack.folder / name
            whole = file.read_bytes()
            for changed in (whole[:-1], whole + b"x", whole[:-1] + b"\x00", None):
                if changed is None:
                    file.unlink()
                elif changed != whole:
                    file.write_bytes(changed)
                else:
                    continue
                self.refused(place, pack.folder, keys, _named(name))
                file.write_bytes(whole)

    def test_an_event_that_was_changed_with_its_hashes(
        self, pack: Doctored, place: Place, keys: KeyList
    ) -> None:
        line = pack.lines(EVENTS)[3]
        pack.change(EVENTS, 3, state=line["state"][:-8] + "AAAAAAA=")
        pack.seal()
        self.refused(place, pack.folder, keys, "shard 0")

    def test_a_line_that_was_removed_with_its_hashes(
        self, pack: Doctored, place: Place, keys: KeyList
    ) -> None:
        lines = pack.lines(EVENTS)
        pack.write_lines(EVENTS, lines[:40] + lines[41:])
        pack.seal()
        self.refused(place, pack.folder, keys, "leaf 40 of shard 0 is missing")

    def test_an_end_that_was_cut_off_with_its_hashes(
        self, pack: Doctored, place: Place, keys: KeyList
    ) -> None:
        pack.write_lines(EVENTS, pack.lines(EVENTS)[:-1])
        pack.seal()
        self.refused(place, pack.folder, keys, "ends after")

    def test_positions_with_a_gap(self, pack: Doctored, place: Place, keys: KeyList) -> None:
        lines = pack.lines(EVENTS)
        for line in lines[50:]:
            line["position"] += 1
        pack.write_lines(EVENTS, lines)
        pack.seal()
        self.refused(place, pack.folder, keys, "has a gap")

    @pytest.mark.parametrize("number", [0, 1, 2])
    def test_a_head_that_was_changed_with_its_hashes(
        self, pack: Doctored, packed: Packed, place: Place, keys: KeyList, number: int
    ) -> None:
        lines = pack.lines(HEADS)
        note = lines[number]["note"]
        lines[number]["note"] = note.replace("recorded 2", "recorded 1")
        pack.write_lines(HEADS, lines)
        pack.seal()
        self.refused(place, pack.folder, keys, "the signature of key")

    def test_a_head_that_is_missing(self, pack: Doctored, place: Place, keys: KeyList) -> None:
        lines = pack.lines(HEADS)
        pack.write_lines(HEADS, [lines[0], lines[2]])
        pack.seal()
        self.refused(place, pack.folder, keys, "lacks a head")

    def test_a_key_that_is_not_listed(self, packed: Packed, place: Place) -> None:
        self.refused(place, packed.everything, KeyList(()), "is not in the list of keys")

    def test_personal_fields_that_were_changed(
        self, pack: Doctored, place: Place, keys: KeyList
    ) -> None:
        name = "shard-0/personal.jsonl"
        pack.change(name, 2, salt="AAAA")
        pack.seal()
        self.refused(place, pack.folder, keys, "not those that the event commits to")

    def test_deliveries_that_do_not_add_up(
        self, pack: Doctored, place: Place, keys: KeyList
    ) -> None:
        name = "shard-0/deliveries.jsonl"
        pack.change(name, 0, received=pack.lines(name)[0]["received"] + 1)
        pack.seal()
        self.refused(place, pack.folder, keys, "deliveries.jsonl: what was received is not the sum")

    def test_a_position_that_is_not_there(
        self, pack: Doctored, place: Place, keys: KeyList
    ) -> None:
        pack.change("shard-0/recorded-ids.jsonl", 0, position=1 << 40)
        pack.seal()
        self.refused(place, pack.folder, keys, "shard-0/recorded-ids.jsonl names a position")


def _named(name: str) -> str:
    """What a refusal must name; the manifest is held to the sums, or cannot be read."""
    return "" if name == "manifest.json" else name


class TestReadOnly:
    def test_an_export_writes_nothing(self, packed: Packed, tmp_path: Path) -> None:
        before = packed.ledger.store.rows_written()
        pack_of([packed.ledger.reader], tmp_path / "pack")
        assert before == packed.ledger.store.rows_written()
