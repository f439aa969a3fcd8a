"""A replay folds the log into a fresh file: all of it, a payer's, or a range; and compares."""

from __future__ import annotations

import gc
import itertools
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from events import LedgerEvent, UnreadableEventError, decode
from events.readable import attribution_id, uuid_text
from ledger.errors import FailedPreconditionError
from ledger.rebuilding import replaying
from ledger.rebuilding.comparing import Comparison, Side
from ledger.rebuilding.replaying import Replay, Wanted
from persistence import FoldingTransaction
from persistence.sql.tables import OF_A_PAYER, TABLES
from persistence.sqlite import FILE_NAME, ReplayFile, SQLiteReader
from tests.cluster.processes import wait_until
from tests.laws.adapter import ProductLedger
from tests.laws.test_seeded_run import history
from tests.oracle.operations import VoidInstance
from tests.rebuild.load import Load, fill
from tests.rebuild.scene import Place

EVENTS = 2_000
SECONDS_MAX = 30


def _noting(close: Callable[[], None], folds: list[str]) -> Callable[[], None]:
    def noted() -> None:
        folds.append("closed")
        close()

    return noted


def rows_of(path: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path / FILE_NAME)) as replayed:
        return replayed.execute(f"SELECT * FROM {table}").fetchall()


@pytest.fixture(scope="module")
def ledger() -> Iterator[ProductLedger]:
    operations = history(4)
    half = len(operations) // 2
    with closing(ProductLedger(batch_lines=200)) as ledger:
        for part in (operations[:half], operations[half:]):
            ledger.apply_all(part)
            for instance, payer in ledger.select("SELECT instance, payer FROM entries")[::9]:
                void = VoidInstance(
                    at_ns=part[-1].at_ns,
                    instance_id=uuid_text(instance),
                    payer=attribution_id(payer),
                )
                assert ledger.apply(void) is None
        yield ledger


class TestOfOnePayer:
    def test_gives_the_rows_that_all_payers_together_give(
        self, ledger: ProductLedger, tmp_path: Path
    ) -> None:
        """For each of forty payers, with cycles, corrections, notes and late events."""
        reader = ledger.reader
        live = Side(reader, reader.serves(), reader.structure(reader.serves()))
        payers = [row[0] for row in reader.rows_of("balances")]
        assert 40 == len(payers)
        compared = 0
        for number, payer in enumerate(payers):
            assert isinstance(payer, bytes)
            with closing(ReplayFile(tmp_path / str(number))) as file:
                replay = Replay(reader, file, Wanted(payer))
                replay.run(reader.stands_at(1))
                comparison = Comparison()
                assert [] == list(replay.compare(live, comparison)), attribution_id(payer)
                assert replay.folded < ledger.core.head / 4
                compared += sum(comparison.rows.values())
        # Each row is one payer's, so together they are all that there are.
        per_payer = [
            table
            for tables in TABLES.values()
            for table in tables
            if table in OF_A_PAYER or "payer" in live.structure[table]
        ]
        assert sum(len(list(reader.rows_of(table))) for table in per_payer) == compared

    def test_finds_a_row_of_the_payer_that_differs(self, tmp_path: Path) -> None:
        with closing(ProductLedger(batch_lines=200)) as ledger:
            ledger.apply_all(history(5)[:40])
            reader = ledger.reader
            live = Side(reader, 1, reader.structure(1))
            payers = [row[0] for row in reader.rows_of("entries", ("payer",))]
            payer, other = payers[0], next(each for each in payers if each != payers[0])
            ledger.store.connection.execute(
                "UPDATE entries SET cents = cents + 1 WHERE start_position ="
                " (SELECT min(start_position) FROM entries WHERE payer = ?)",
                (payer,),
            )
            for number, (whose, kinds) in enumerate([(payer, [("entries.cents",)]), (other, [])]):
                assert isinstance(whose, bytes)
                with closing(ReplayFile(tmp_path / str(number))) as file:
                    replay = Replay(reader, file, Wanted(whose))
                    replay.run(reader.stands_at(1))
                    found = list(replay.compare(live, Comparison()))
                    assert kinds == [difference.kinds for difference in found]


class TestTheCommand:
    @pytest.fixture
    def filled(self, place: Place) -> Place:
        with place.role() as service:
            assert service.calls is not None
            fill(service.calls, EVENTS)
        return place

    def test_folds_all_and_compares_while_the_service_goes_on(self, place: Place) -> None:
        with place.role() as service, Load(service.target) as load:
            assert service.calls is not None
            fill(service.calls, EVENTS)
            assert EVENTS / 3 < place.compare()
            load.wait_for(20)

    def test_names_each_row_that_differs(self, filled: Place) -> None:
        with filled.database() as sql:
            sql("UPDATE balances SET booked_cents = booked_cents + 1")
            sql("DELETE FROM rollups WHERE unit = 1")
            sql("UPDATE entries SET seconds = 0 WHERE seconds > 0 AND start_position < 300")
            balances = len(sql("SELECT 1 FROM balances"))
            entries = len(sql("SELECT 1 FROM entries WHERE start_position < 300 AND seconds = 0"))
        ran = filled.run("replay", "--compare")
        assert 3 == ran.code, ran.text
        named = re.findall(r"^✗ balances payer team:\S+: booked_cents live", ran.text, re.MULTILINE)
        assert balances == len(named) > 10
        named = re.findall(
            r"^✗ entries start_position \d+: seconds live 0, new", ran.text, re.MULTILINE
        )
        assert 0 < len(named) <= entries
        assert re.search(r"^rollups:added: [\d,]+ rows differ$", ran.text, re.MULTILINE)
        payer = re.search(r"balances payer (team:\S+):", ran.text)
        assert payer is not None
        ran = filled.run("replay", "--compare", "--payer", payer[1])
        assert 3 == ran.code
        assert 1 == ran.text.count("✗ balances payer")

    def test_leaves_out_what_is_paused_and_says_so(self, filled: Place) -> None:
        with filled.database() as sql:
            sql(
                "UPDATE projections SET paused_at = 7, paused_reason = 'a test'"
                " WHERE name = 'balances'"
            )
            sql("UPDATE balances SET booked_cents = 0")
        text = filled.do("replay", "--compare")
        assert "not compared: balances: paused at 7" in text

    def test_up_to_a_position_gives_what_was_known_there(
        self, filled: Place, tmp_path: Path
    ) -> None:
        into = tmp_path / "replayed"
        filled.do("replay", "--to", "700", "--into", str(into))
        assert {700} == {row[2] for row in rows_of(into, "projections")}
        whole = tmp_path / "whole"
        filled.do("replay", "--into", str(whole))
        assert len(rows_of(into, "entries")) < len(rows_of(whole, "entries"))
        # Given again without an end it goes on, to the same rows.
        text = filled.do("replay", "--into", str(into), "--compare")
        folded = re.search(r"([\d,]+) events folded up to position ([\d,]+)", text)
        assert folded is not None
        done, position = (int(number.replace(",", "")) for number in folded.groups())
        assert position - 700 == done
        for tables in TABLES.values():
            for table in tables:
                assert sorted(rows_of(whole, table), key=repr) == sorted(
                    rows_of(into, table), key=repr
                )

    def test_of_a_range_counts_what_began_in_it(self, filled: Place, tmp_path: Path) -> None:
        into = tmp_path / "replayed"
        filled.do("replay", "--from", "500", "--to", "1500", "--into", str(into))
        with filled.database() as sql:
            began = len(
                sql(
                    "SELECT 1 FROM stored_events WHERE position BETWEEN 500 AND 1500"
                    " AND topic = 'instance-started' AND originator_version = 1"
                )
            )
        found = len(rows_of(into, "entries"))
        found += sum(
            row[8] is not None and row[9] is None for row in rows_of(into, "open_instances")
        )
        assert began == found

    @pytest.mark.parametrize("failpoint", ["replay-folding", "replay-folded"])
    def test_that_is_killed_goes_on(self, filled: Place, tmp_path: Path, failpoint: str) -> None:
        into = ("--into", str(tmp_path / "replayed"))
        filled.dies("replay", "--to", "600", *into, failpoint=failpoint)
        filled.do("replay", "--to", "900", *into)
        filled.dies("replay", *into, "--compare", failpoint=failpoint)
        assert "are those of the live ones" in filled.do("replay", *into, "--compare")

    def test_refuses_a_folder_with_something_else(self, filled: Place, tmp_path: Path) -> None:
        into = ("--into", str(tmp_path / "replayed"))
        filled.do("replay", "--to", "600", *into)
        ran = filled.run("replay", "--from", "100", *into)
        assert 1 == ran.code
        assert "holds a replay of something else" in ran.text
        with filled.database() as sql:
            longer = "state || '\\x00'::bytea" if filled.url else "CAST(state || x'00' AS BLOB)"
            sql(f"UPDATE stored_events SET state = {longer} WHERE position = 600")
        ran = filled.run("replay", *into)
        assert 1 == ran.code
        assert "its event at position 600 is another one" in ran.text
        if not filled.url:
            ran = filled.run("replay", "--into", str(filled.data_dir))
            assert 1 == ran.code
            assert "holds a ledger with a log of its own" in ran.text

    def test_refuses_what_cannot_be_compared(self, filled: Place) -> None:
        ran = filled.run("replay", "--compare", "--to", "5")
        assert 1 == ran.code
        assert "leave out --from and --to" in ran.text
        ran = filled.run("replay", "--payer", attribution_id(bytes(16)))
        assert 1 == ran.code
        assert "nothing was recorded of team:00000000" in ran.text
        ran = filled.run("replay", "--payer", "nobody")
        assert 2 == ran.code

    def test_says_which_event_cannot_be_folded(self, filled: Place) -> None:
        with filled.database() as sql:
            # A stop that corrects an entry which was never there.
            sql(
                "UPDATE stored_events SET originator_version = originator_version + 100000"
                " WHERE topic = 'instance-started' AND position > 1000"
            )
            sql("UPDATE stored_events SET topic = 'nothing-known' WHERE position = 900")
        ran = filled.run("replay")
        assert 1 == ran.code
        assert "no event class has the topic 'nothing-known'" in ran.text

    def test_is_interrupted_with_a_sentence(self, filled: Place) -> None:
        """Ctrl-C is no crash."""
        into = filled.folder / "replayed"
        command = ("replay", "--config", str(filled.config), "--into", str(into))
        running = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # Before it has begun Python itself may be interrupted, which says so in its own way.
        begun = into / FILE_NAME
        wait_until(lambda: begun.exists() or running.poll() is not None, what="the replay")
        running.send_signal(signal.SIGINT)
        text, _ = running.communicate(timeout=60)
        assert running.returncode in {0, 1}
        assert "Traceback" not in text


def test_a_file_that_is_kept_has_every_index_of_a_ledger(tmp_path: Path) -> None:
    indexes = "SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name"
    with closing(ProductLedger()) as ledger, closing(ReplayFile(tmp_path)) as file:
        expected = ledger.store.connection.execute(indexes).fetchall()
        assert len(rows_of_schema(tmp_path, indexes)) < len(expected)
        for _ in range(2):
            file.finish()
            assert expected == rows_of_schema(tmp_path, indexes)


def rows_of_schema(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path / FILE_NAME)) as replayed:
        return replayed.execute(statement).fetchall()


def test_a_replayed_file_is_no_ledger_to_serve_from(tmp_path: Path) -> None:
    with closing(ProductLedger()) as ledger, closing(ReplayFile(tmp_path / "new")) as file:
        ledger.apply_all(history(6)[:6])
        replay = Replay(SQLiteReader(ledger.store), file, Wanted())
        replay.run(ledger.core.head)
        assert ledger.core.head == replay.position == replay.folded
    place = Place(tmp_path)
    place.data_dir.mkdir()
    (tmp_path / "new" / FILE_NAME).rename(place.data_dir / FILE_NAME)
    with pytest.raises(RuntimeError, match="events are missing"):
        place.role().start()


class TestReadingAhead:
    """As the command does it: a second thread folds while the next batch is read."""

    @pytest.fixture(autouse=True)
    def small_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(replaying, "BATCH_AHEAD", 100)

    def test_gives_the_rows_that_folding_in_turn_gives(
        self, ledger: ProductLedger, tmp_path: Path
    ) -> None:
        told: list[int] = []
        for name, reads_ahead in (("ahead", True), ("in turn", False)):
            with closing(ReplayFile(tmp_path / name)) as file:
                replay = Replay(
                    ledger.reader,
                    file,
                    Wanted(),
                    progressed=lambda done, _: told.append(done),
                    reads_ahead=reads_ahead,
                )
                replay.run(ledger.core.head)
                assert ledger.core.head == replay.position == replay.folded
        assert [*range(100, ledger.core.head, 100), ledger.core.head] == told[:-1]
        for tables in TABLES.values():
            for table in tables:
                rows = rows_of(tmp_path / "in turn", table)
                assert sorted(rows, key=repr) == sorted(
                    rows_of(tmp_path / "ahead", table), key=repr
                )
        assert gc.isenabled()

    def test_the_file_is_closed_when_nobody_folds_any_more(self, tmp_path: Path) -> None:
        file, order = ReplayFile(tmp_path), list[str]()
        begun, is_done = threading.Event(), threading.Event()

        def folds() -> None:
            with file.folding():
                begun.set()
                assert is_done.wait(SECONDS_MAX)
                order.append("folded")

        def closes() -> None:
            file.close()
            order.append("closed")

        threads = [threading.Thread(target=each) for each in (folds, closes)]
        for thread in threads:
            thread.start()
            assert begun.wait(SECONDS_MAX)
        time.sleep(0.05)  # time enough to close too early
        assert [] == order
        is_done.set()
        for thread in threads:
            thread.join(SECONDS_MAX)
        assert ["folded", "closed"] == order

    @pytest.mark.parametrize("moment", ["when the thread starts", "later"])
    def test_interrupted_twice_it_goes_on_where_it_was(
        self,
        ledger: ProductLedger,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        moment: str,
    ) -> None:
        """The second time it may be nowhere that anybody waits for the thread."""
        folds: list[str] = []
        has_ended = threading.Event()

        def slowly(name: str) -> None:
            if name != "replay-folding" or folds:
                return
            folds.append("begun")
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.3)
            folds.append("ended")
            has_ended.set()

        if moment == "when the thread starts":
            start = threading.Thread.start

            def starts_late(thread: threading.Thread) -> None:
                start(thread)
                time.sleep(SECONDS_MAX)  # interrupted, so that its pool does not know the thread

            monkeypatch.setattr(threading.Thread, "start", starts_late)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        file = ReplayFile(tmp_path)
        monkeypatch.setattr(file._store, "close", _noting(file._store.close, folds))
        try:
            replay = Replay(ledger.reader, file, Wanted(), failpoint=slowly, reads_ahead=True)
            with pytest.raises(KeyboardInterrupt), closing(file):
                replay.run(ledger.core.head)
        finally:
            # Both have come by then, and whatever was waited for has been left.
            assert has_ended.wait(SECONDS_MAX)
            signal.signal(signal.SIGINT, before)
        assert folds in (["begun", "ended"], ["begun", "ended", "closed"])
        monkeypatch.undo()
        if "closed" not in folds:
            file.close()
        with closing(ReplayFile(tmp_path)) as again:
            replay = Replay(ledger.reader, again, Wanted())
            assert replay.position in {0, 100}
            replay.run(ledger.core.head)
            assert ledger.core.head == replay.position

    @pytest.mark.timeout(60)
    def test_a_fold_is_interrupted_in_the_middle_of_a_statement(
        self, ledger: ProductLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever SQLite does at that moment ends, and nothing of the batch stays."""

        def forever(transaction: FoldingTransaction, *_: object) -> None:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            connection = transaction.rows._session._many.__self__  # type: ignore[attr-defined]
            connection.execute(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
                " SELECT count(*) FROM n"
            ).fetchone()

        monkeypatch.setattr(replaying, "fold", forever)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with closing(ReplayFile(tmp_path)) as file:
                replay = Replay(ledger.reader, file, Wanted(), reads_ahead=True)
                with pytest.raises(KeyboardInterrupt):
                    replay.run(ledger.core.head)
                assert 0 == replay.position
        finally:
            signal.signal(signal.SIGINT, before)

    def test_what_cannot_be_folded_is_told_before_what_cannot_be_read(
        self, ledger: ProductLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuses(*_: object) -> None:
            raise FailedPreconditionError("the first batch")

        decoded = itertools.count()

        def reads(topic: str, state: bytes) -> LedgerEvent:
            if next(decoded) >= 150:
                raise UnreadableEventError("the second batch")
            return decode(topic, state)

        monkeypatch.setattr(replaying, "fold", refuses)
        monkeypatch.setattr(replaying, "decode", reads)
        with closing(ReplayFile(tmp_path)) as file:
            replay = Replay(ledger.reader, file, Wanted(), reads_ahead=True)
            with pytest.raises(FailedPreconditionError, match="the first batch"):
                replay.run(ledger.core.head)
            assert 0 == replay.position
