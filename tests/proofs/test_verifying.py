"""Somebody changes rows in the database itself: each change is found, and named."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from events import decode, encode
from ledger.audit.findings import Finding
from ledger.audit.following import TreeTail
from ledger.audit.keys import KeyList, LastHead, Retired
from ledger.audit.notes import Note, parse_note, signed_note
from ledger.audit.tiles import Edge, TreeBrokenError
from ledger.audit.verifying import Progress, Summary, Told, verify
from persistence import Reader, StoreUnavailableError, StreamEvent
from tests.contract.data.scene import Scene
from tests.proofs.scene import BackDoor, Signing, add_notes

SIZES = (290, 560)  # of the first two heads, about
TABLES = ("stored_events", "tails", "tree", "tree_tiles", "tree_heads")


class Vault:
    """A ledger with three heads, and what a verification of it finds.

    Its tree is followed only when a test says so. What a test has changed is mended behind it.
    """

    def __init__(self, place: BackDoor, folder: Path) -> None:
        self.place = place
        self.signing = Signing(folder)
        self.scene = Scene(place.data_dir, **self.signing.settings)
        self.kept: list[Note] = []

    def fill(self) -> None:
        for first, count in ((0, SIZES[0]), (SIZES[0], SIZES[1] - SIZES[0]), (SIZES[1], 40)):
            add_notes(self.scene, count, first=first)
            self.follow()
            self.signing.sign(self.scene)
        add_notes(self.scene, 7, first=800)
        self.follow()
        self._rows = {table: self.place.rows(f"SELECT * FROM {table}") for table in TABLES}

    def follow(self) -> None:
        """Let the tree take in what is recorded, without looking at what else there is."""
        tail = TreeTail(self.scene.service.ledger.shards[0])
        state = self.place.rows("SELECT size FROM tree")

        async def run() -> None:
            if state == [(0,)]:  # as after it was cleared; looking would compare it with its heads
                tail._edge, tail._is_positioned = Edge(0, {}), True
            with contextlib.suppress(TreeBrokenError):
                while await tail.step():
                    pass

        self.scene.service.wait(run())
        tail._close()

    def clear(self) -> None:
        """Forget the tree, as somebody does who wants it to agree with another log."""
        with self.scene.service.ledger.shards[0].store.beside() as transaction:
            transaction.tree.clear()

    def mend(self) -> None:
        """Put every row back."""
        self.kept = []
        for table, rows in self._rows.items():
            if rows != self.place.rows(f"SELECT * FROM {table}"):
                self.place.replace(table, rows)

    @property
    def notes(self) -> list[Note]:
        """The heads as they are now."""
        rows = self.place.rows("SELECT note FROM tree_heads ORDER BY number")
        return [parse_note(note) for (note,) in rows]

    def verify(self, *, keys: KeyList | None = None) -> list[Finding]:
        """Give the findings; a summary and progress to the end come with them."""
        keys = self.signing.keys if keys is None else keys
        with closing(self.scene.service.ledger.shards[0].new_queries().reader) as reader:
            told = list(verify(reader, keys, self.kept))
        summary = told[-1]
        assert isinstance(summary, Summary)
        findings = [each for each in told if isinstance(each, Finding)]
        assert len(findings) == summary.findings
        self.summary = summary
        self.progress = [each for each in told if isinstance(each, Progress)]
        return findings

    def the(self, kind: str, **more: Any) -> Finding:
        """Give the only finding, which is of a kind."""
        findings = self.verify(**more)
        assert [kind] == [finding.kind for finding in findings], findings
        return findings[0]

    def run(self, *statements: str, values: tuple[Any, ...] = ()) -> None:
        self.place.run(*statements, values=values)

    def event(self, leaf: int) -> tuple[Any, ...]:
        """Position, stream, version, topic, state."""
        return self.place.events()[leaf]

    def set_state(self, position: int, state: bytes) -> None:
        """Change what an event says."""
        self.run(f"UPDATE stored_events SET state = ? WHERE position = {position}", values=(state,))

    def shift(self, position: int, by: int) -> None:
        """Give the events from a position on other positions."""
        self.run(
            f"UPDATE stored_events SET position = -(position + {by}) WHERE position >= {position}",
            "UPDATE stored_events SET position = -position WHERE position < 0",
        )


@pytest.fixture(scope="module")
def filled(shared_place: BackDoor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    vault = Vault(shared_place, tmp_path_factory.mktemp("keys"))
    with vault.scene:
        vault.fill()
        yield vault


@pytest.fixture
def vault(filled: Vault) -> Iterator[Vault]:
    yield filled
    filled.mend()


def flip(raw: bytes, at: int) -> bytes:
    turned = bytearray(raw)
    turned[at] ^= 0x04
    return bytes(turned)


class TestNothingChanged:
    def test_nothing_is_found(self, vault: Vault) -> None:
        assert [] == vault.verify()
        size = len(vault.place.events())
        summary = vault.summary
        assert (size, 3, 7, 0) == (
            summary.events,
            summary.heads,
            summary.uncovered,
            summary.waiting,
        )
        assert 4 == summary.tiles
        assert [Progress(size, size)] * 2 == vault.progress

    def test_events_that_are_not_in_the_tree_yet_wait(
        self, place: BackDoor, tmp_path: Path
    ) -> None:
        with Scene(place.data_dir, **Signing(tmp_path).settings) as scene:
            add_notes(scene, 30)
            tail = TreeTail(scene.service.ledger.shards[0], batch_max=20)
            scene.service.wait(tail.step())
            with closing(scene.service.ledger.shards[0].new_queries().reader) as reader:
                *_, summary = verify(reader, KeyList(()))
            assert isinstance(summary, Summary)
            assert (20, len(place.events()) - 20, 0) == summary[1:2] + summary[5:]
            tail._close()

    def test_an_empty_log(self, place: BackDoor) -> None:
        with Scene(place.data_dir) as scene:
            scene.service.ledger.shards[0]
            with closing(scene.service.ledger.shards[0].new_queries().reader) as reader:
                *_, summary = verify(reader, KeyList(()))
            assert isinstance(summary, Summary)
            assert (0, 0) == (summary.events, summary.findings)

    def test_heads_that_were_kept_are_found_in_it(self, vault: Vault) -> None:
        vault.kept = vault.notes
        assert [] == vault.verify()


class _Away:
    """A reader of a store that is away for so many questions, beginning with one for the log."""

    def __init__(self, reader: Reader, questions: int) -> None:
        self._reader, self._left, self._has_begun = reader, questions, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def log(self, **wanted: Any) -> list[StreamEvent]:
        self._has_begun = True
        self._ask()
        return self._reader.log(**wanted)

    @property
    def tree(self) -> Any:
        if self._has_begun:
            self._ask()
        return self._reader.tree

    def _ask(self) -> None:
        if self._left:
            self._left -= 1
            raise StoreUnavailableError("no connection could be had just now")


class TestAStoreThatIsAway:
    """Nobody must hear that the log was damaged because a server was started anew."""

    @pytest.mark.parametrize("questions", range(7))
    def test_is_no_finding(self, vault: Vault, questions: int) -> None:
        with closing(vault.scene.service.ledger.shards[0].new_queries().reader) as reader:
            away: Any = _Away(reader, questions)
            told: list[Told] = []
            try:
                told.extend(verify(away, vault.signing.keys))
            except StoreUnavailableError:
                assert 2 < questions
            else:
                assert isinstance(told[-1], Summary)
                assert 3 > questions
        assert not any(isinstance(each, Finding) for each in told)


LEAVES = (0, 1, 255, 256, 300, 511, 512, 595)


class TestAChangedEvent:
    @pytest.mark.parametrize("leaf", LEAVES)
    def test_whose_bytes_were_flipped(self, vault: Vault, leaf: int) -> None:
        position, stream, version, topic, state = vault.event(leaf)
        vault.set_state(position, flip(state, -1))
        found = vault.the("changed")
        assert (position, leaf) == (found.position, found.leaf)
        assert leaf == vault.summary.events
        assert (
            f"leaf {leaf}: the event at position {position}, {stream} version {version}, {topic},"
            " was changed"
        ) == found.text

    @pytest.mark.parametrize(
        ("column", "value"),
        [("originator_id", "'another'"), ("originator_version", "99"), ("topic", "'another'")],
    )
    def test_that_stands_in_another_place(self, vault: Vault, column: str, value: str) -> None:
        position = vault.event(40)[0]
        vault.run(f"UPDATE stored_events SET {column} = {value} WHERE position = {position}")
        assert position == vault.the("changed").position

    def test_that_was_recorded_at_another_time(self, vault: Vault) -> None:
        position, _, _, topic, state = vault.event(40)
        event = decode(topic, state)
        later = msgspec.structs.replace(event, recorded_at=event.recorded_at + 1)
        vault.set_state(position, encode(later))
        assert position == vault.the("changed").position

    def test_that_says_another_price(self, vault: Vault) -> None:
        leaf, row = next(
            (leaf, row)
            for leaf, row in enumerate(vault.place.events())
            if row[3] == "price-list-published"
        )
        vault.set_state(row[0], row[4].replace(b"0.1666666667", b"0.1111111111"))
        found = vault.the("changed")
        assert (leaf, row[0]) == (found.leaf, found.position)
        assert "price-list version 1, price-list-published, was changed" in found.text

    def test_in_the_part_that_no_head_covers_may_be_the_trees_fault(self, vault: Vault) -> None:
        position, *_, state = vault.event(len(vault.place.events()) - 3)
        vault.set_state(position, flip(state, -1))
        assert vault.the("changed").text.endswith(
            "; no head covers it, so it may be the tree that was changed"
        )

    def test_of_several_the_first_is_named(self, vault: Vault) -> None:
        for leaf in (400, 333, 334, 500):
            position, *_, state = vault.event(leaf)
            vault.set_state(position, flip(state, -1))
        assert 333 == vault.the("changed").leaf

    @pytest.mark.parametrize("state", [b"", b"\x01\x91\xa0", b"\x07"])
    def test_that_is_no_event_any_more(self, vault: Vault, state: bytes) -> None:
        position = vault.event(300)[0]
        vault.set_state(position, state)
        found = vault.the("unreadable")
        assert (position, 300) == (found.position, found.leaf)

    def test_that_the_database_cannot_even_give(self, vault: Vault) -> None:
        """SQLite keeps bytes that are no text in a column of text; PostgreSQL refuses them."""
        if vault.place.url:
            return
        position, _, _, topic, _ = vault.event(300)
        change = f"UPDATE stored_events SET topic = ? WHERE position = {position}"
        vault.run(change.replace("?", "CAST(x'61FF' AS TEXT)"))
        try:
            found = vault.the("unreadable")
        finally:
            vault.run(change, values=(topic,))
        assert 300 == found.leaf
        assert f"the event behind position {position - 1} cannot be read" in found.text


class TestAMissingEvent:
    @pytest.mark.parametrize("leaf", LEAVES)
    def test_that_left_a_gap(self, vault: Vault, leaf: int) -> None:
        position = vault.event(leaf)[0]
        vault.run(f"DELETE FROM stored_events WHERE position = {position}")
        found = vault.the("missing")
        assert (position, leaf) == (found.position, found.leaf)
        assert f"leaf {leaf}: its event is missing at position {position}" == found.text

    def test_whose_gap_was_closed(self, vault: Vault) -> None:
        position = vault.event(300)[0]
        vault.run(f"DELETE FROM stored_events WHERE position = {position}")
        vault.shift(position, -1)
        found = vault.the("missing")
        assert (None, 300) == (found.position, found.leaf)
        assert f"between positions {position - 1} and {position}" in found.text

    def test_with_those_behind_it(self, vault: Vault) -> None:
        first, last = vault.event(250)[0], vault.event(260)[0]
        vault.run(f"DELETE FROM stored_events WHERE position BETWEEN {first} AND {last}")
        found = vault.the("missing")
        assert f"leaf 250: 11 events are missing at position {first}" == found.text

    @pytest.mark.parametrize("keep", [0, 1, 256, 300, 590])
    def test_at_the_end_of_the_log(self, vault: Vault, keep: int) -> None:
        end = vault.event(keep)[0]
        vault.run(f"DELETE FROM stored_events WHERE position >= {end}")
        found = vault.the("missing")
        assert keep == found.leaf
        assert f"leaf {keep}: its event is missing, " in found.text


class TestAnInsertedEvent:
    @pytest.mark.parametrize("leaf", LEAVES)
    def test_that_moved_the_others(self, vault: Vault, leaf: int) -> None:
        position, _, _, topic, state = vault.event(leaf)
        vault.shift(position, 1)
        vault.run(
            "INSERT INTO stored_events"
            f" VALUES ({position}, 'credit-note:made-up', 1, '{topic}', ?)",
            values=(state,),
        )
        vault.run("UPDATE tails SET position = position + 1 WHERE name = 'tree'")
        found = vault.the("inserted")
        assert (position, leaf) == (found.position, found.leaf)
        assert "credit-note:made-up version 1" in found.text

    @pytest.mark.parametrize("position", [0, -7])
    def test_where_no_position_is(self, vault: Vault, position: int) -> None:
        """Who reads the log in order never sees it; who loads a stream does."""
        topic, state = vault.event(40)[3:]
        vault.run(
            f"INSERT INTO stored_events VALUES ({position}, 'made-up', 1, '{topic}', ?)",
            values=(state,),
        )
        found = vault.the("inserted")
        assert (position, 0) == (found.position, found.leaf)

    def test_before_the_first_position(self, vault: Vault) -> None:
        topic, state = vault.event(40)[3:]
        vault.shift(1, 1)
        vault.run(
            f"INSERT INTO stored_events VALUES (1, 'made-up', 1, '{topic}', ?)", values=(state,)
        )
        assert "inserted" == vault.verify()[0].kind

    def test_at_the_end_of_the_tree(self, vault: Vault) -> None:
        """The tree is said to follow the log further than it does."""
        vault.run("UPDATE tails SET position = position + 1 WHERE name = 'tree'")
        topic, state = vault.event(40)[3:]
        position = len(vault.place.events()) + 1
        vault.run(
            f"INSERT INTO stored_events VALUES ({position}, 'made-up', 1, '{topic}', ?)",
            values=(state,),
        )
        found = vault.the("inserted")
        assert position == found.position


class TestReorderedEvents:
    @pytest.mark.parametrize(("one", "other"), [(300, 301), (0, 1), (255, 256), (10, 590)])
    def test_are_named(self, vault: Vault, one: int, other: int) -> None:
        first, second = vault.event(one)[0], vault.event(other)[0]
        vault.run(
            f"UPDATE stored_events SET position = -1 WHERE position = {first}",
            f"UPDATE stored_events SET position = {first} WHERE position = {second}",
            f"UPDATE stored_events SET position = {second} WHERE position = -1",
        )
        found = vault.the("reordered")
        assert (first, one) == (found.position, found.leaf)
        assert f"it was leaf {other}" in found.text

    def test_or_moved_without_another_order(self, vault: Vault) -> None:
        """Answers as known at a position would be others."""
        vault.shift(vault.event(200)[0], 1_000)
        vault.run("UPDATE tails SET position = position + 1000 WHERE name = 'tree'")
        found = vault.verify()
        assert {"moved"} == {finding.kind for finding in found}
        assert 256 == found[0].leaf


class TestAChangedTree:
    @pytest.mark.parametrize("key", [(0, 0), (0, 1), (1, 0)])
    @pytest.mark.parametrize("how", ["flip", "delete", "cut"])
    def test_is_told_from_a_changed_log(self, vault: Vault, key: tuple[int, int], how: str) -> None:
        level, number = key
        where = f"WHERE level = {level} AND number = {number}"
        ((hashes,),) = vault.place.rows(f"SELECT hashes FROM tree_tiles {where}")
        if how == "delete":
            vault.run(f"DELETE FROM tree_tiles {where}")
        else:
            changed = flip(hashes, 7) if how == "flip" else hashes[:-32]
            vault.run(f"UPDATE tree_tiles SET hashes = ? {where}", values=(changed,))
        found = vault.the("tile")
        assert f"tile {level}/{number} of the tree" in found.text

    def test_at_its_edge(self, vault: Vault) -> None:
        ((hashes,),) = vault.place.rows("SELECT hashes FROM tree_tiles WHERE number = 2")
        vault.run("UPDATE tree_tiles SET hashes = ? WHERE number = 2", values=(flip(hashes, 7),))
        assert "tile 0/2 of the tree was changed" == vault.the("tile").text

    @pytest.mark.parametrize(("by", "last"), [(-300, "which is leaf"), (5, "but its last leaf")])
    def test_that_says_another_position(self, vault: Vault, by: int, last: str) -> None:
        vault.run(f"UPDATE tails SET position = position + {by} WHERE name = 'tree'")
        assert last in vault.the("tree").text

    def test_with_tiles_that_do_not_belong_to_it(self, vault: Vault) -> None:
        vault.run("INSERT INTO tree_tiles VALUES (0, 9, 9000, ?)", values=(bytes(32),))
        assert "4 tiles of level 0, up to number 9" in vault.the("tree").text

    def test_that_says_another_first_position(self, vault: Vault) -> None:
        vault.run("UPDATE tree_tiles SET first_position = 77 WHERE level = 0 AND number = 1")
        assert (257, 256) == vault.the("moved")[2:]

    def test_that_the_ledger_itself_has_found_broken(self, vault: Vault) -> None:
        vault.run("UPDATE tree SET fault = 'a tile is missing'")
        assert "the ledger has found that a tile is missing" == vault.the("tree").text

    def test_that_was_made_anew_over_a_changed_log(self, vault: Vault) -> None:
        """Log and tree agree, so only the heads tell, and between which of them."""
        position, *_, state = vault.event(400)
        vault.set_state(position, flip(state, -1))
        vault.clear()
        vault.follow()
        first, second, _ = (note.checkpoint.size for note in vault.notes)
        found = vault.the("head")
        assert (
            f"the log does not begin with what head 2, of {second} events, covers: between leaf"
            f" {first} and leaf {second - 1} events were changed, and the tree with them"
        ) == found.text
        assert first == found.leaf


STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))


class TestForgedHeads:
    def put(self, vault: Vault, number: int, note: str) -> None:
        vault.run(f"UPDATE tree_heads SET note = ? WHERE number = {number}", values=(note,))

    def note(self, vault: Vault, number: int) -> str:
        ((note,),) = vault.place.rows(f"SELECT note FROM tree_heads WHERE number = {number}")
        return str(note)

    def test_with_another_root(self, vault: Vault) -> None:
        note = self.note(vault, 2)
        root = base64.b64encode(vault.notes[1].checkpoint.root).decode()
        self.put(vault, 2, note.replace(root, base64.b64encode(bytes(32)).decode()))
        found = vault.the("forged-head")
        assert "head 2, of" in found.text
        assert "does not hold" in found.text

    def test_by_a_key_of_the_same_name(self, vault: Vault) -> None:
        name = vault.signing.name
        self.put(vault, 2, signed_note(vault.notes[1].checkpoint, name, STRANGER))
        assert "does not hold" in vault.the("forged-head").text

    def test_by_a_key_that_is_not_listed(self, vault: Vault) -> None:
        self.put(vault, 2, signed_note(vault.notes[1].checkpoint, "stranger", STRANGER))
        assert 'key "stranger" is not in the list of keys' in vault.the("unlisted-key").text

    def test_without_a_list_of_keys(self, vault: Vault) -> None:
        kinds = [finding.kind for finding in vault.verify(keys=KeyList(()))]
        assert ["unlisted-key"] * 3 == kinds

    def test_of_another_tree(self, vault: Vault) -> None:
        other = vault.notes[1].checkpoint._replace(origin="usage-ledger/another/0")
        self.put(vault, 2, vault.signing.note(other))
        assert "is of another tree" in vault.the("forged-head").text

    def test_that_are_no_notes(self, vault: Vault) -> None:
        self.put(vault, 2, "nothing")
        assert "head 2 is no signed head" in vault.the("forged-head").text

    @pytest.mark.parametrize(
        "change", ["size = size + 1", "root = substr(root, 2)", "recorded_at = 0", "key_name = 'x'"]
    )
    def test_whose_row_says_something_else(self, vault: Vault, change: str) -> None:
        vault.run(f"UPDATE tree_heads SET {change} WHERE number = 2")
        assert "the row of head 2" in vault.the("head").text

    def test_that_were_signed_and_are_not_what_the_log_gives(self, vault: Vault) -> None:
        """By whoever has the key: consistent with nothing."""
        false = vault.notes[1].checkpoint._replace(root=bytes(32))
        self.put(vault, 2, vault.signing.note(false))
        vault.run("UPDATE tree_heads SET root = ? WHERE number = 2", values=(bytes(32),))
        assert "does not begin with what head 2" in vault.the("head").text

    def test_that_are_missing(self, vault: Vault) -> None:
        vault.run("DELETE FROM tree_heads WHERE number = 2")
        assert "head 2 is missing" == vault.the("missing-head").text

    def test_that_go_beyond_the_tree(self, vault: Vault) -> None:
        size = vault.place.size() + 1
        beyond = vault.notes[2].checkpoint._replace(size=size)
        self.put(vault, 3, vault.signing.note(beyond))
        vault.run(f"UPDATE tree_heads SET size = {size} WHERE number = 3")
        assert f"head 3, of {size} events, cannot be compared" in vault.the("head").text

    def test_that_shrink(self, vault: Vault) -> None:
        notes = self.note(vault, 1), self.note(vault, 2)
        first, second = (note.checkpoint for note in vault.notes[:2])
        for number, note, told in ((1, notes[1], second), (2, notes[0], first)):
            self.put(vault, number, note)
            vault.run(
                f"UPDATE tree_heads SET size = {told.size}, root = ? WHERE number = {number}",
                values=(told.root,),
            )
        assert "fewer than the one before it" in vault.the("head").text


class TestRetiredKeys:
    def retire(self, vault: Vault, last: LastHead) -> KeyList:
        keys = vault.signing.keys
        return keys.retiring(vault.signing.name, Retired("now", "somebody", (last,)))

    def last(self, vault: Vault, number: int) -> LastHead:
        return LastHead(*vault.notes[number - 1].checkpoint[:3])

    def test_may_have_signed_what_they_did(self, vault: Vault) -> None:
        assert [] == vault.verify(keys=self.retire(vault, self.last(vault, 3)))

    def test_may_not_sign_more(self, vault: Vault) -> None:
        found = vault.the("retired-key", keys=self.retire(vault, self.last(vault, 2)))
        assert "head 3, of" in found.text

    def test_have_signed_the_last_head_that_the_list_names(self, vault: Vault) -> None:
        """The list of keys is a head that was kept elsewhere."""
        last = self.last(vault, 3)._replace(root=bytes(32))
        kinds = [f.kind for f in vault.verify(keys=self.retire(vault, last))]
        assert ["retired-key", "kept-head"] == sorted(kinds, reverse=True)


class TestHeadsThatWereKept:
    """Whoever can write everything can cut the ledger back to an earlier day, heads and all."""

    def test_find_a_ledger_that_was_cut_back(self, vault: Vault) -> None:
        vault.kept = vault.notes
        first, _, last = (note.checkpoint.size for note in vault.notes)
        end = vault.event(first)[0]
        vault.run(
            f"DELETE FROM stored_events WHERE position >= {end}",
            "DELETE FROM tree_heads WHERE number > 1",
        )
        vault.clear()
        vault.follow()
        findings = vault.verify()
        assert ["kept-head", "kept-head"] == [finding.kind for finding in findings]
        told = f"the kept head of {last} events cannot be compared: the tree has {first} leaves"
        assert told == findings[1].text
        vault.kept = []
        assert [] == vault.verify()

    def test_find_a_ledger_that_was_made_up_anew(self, vault: Vault) -> None:
        other = vault.notes[1].checkpoint._replace(root=bytes(32))
        vault.kept = [parse_note(vault.signing.note(other))]
        assert "with what the kept head of" in vault.the("kept-head").text

    def test_are_believed_only_if_they_were_signed(self, vault: Vault) -> None:
        """Somebody may hand an auditor a head that the ledger never had."""
        true = vault.notes[1].checkpoint
        vault.kept = [parse_note(signed_note(true, vault.signing.name, STRANGER))]
        assert "does not hold" in vault.the("kept-head").text


def test_whatever_is_changed_something_is_found(vault: Vault) -> None:
    """Every value of every row of the log, the tree and its heads, one after the other."""
    changes: Sequence[tuple[str, str, Callable[[Any], Any]]] = (
        ("stored_events", "originator_id", lambda v: v + "x"),
        ("stored_events", "originator_version", lambda v: v + 1),
        ("stored_events", "topic", lambda v: v + "x"),
        ("stored_events", "state", lambda v: flip(v, len(v) // 2)),
        ("tree_tiles", "hashes", lambda v: flip(v, len(v) // 2)),
        ("tree_heads", "note", lambda v: v.replace("0", "1", 1)),
        ("tree_heads", "root", lambda v: flip(v, 3)),
        ("tree_heads", "size", lambda v: v - 1),
    )
    keys = {"stored_events": "position", "tree_tiles": "number", "tree_heads": "number"}
    for table, column, change in changes:
        key = keys[table]
        where = " WHERE level = 0" if table == "tree_tiles" else ""
        rows = vault.place.rows(f"SELECT {key}, {column} FROM {table}{where} ORDER BY {key}")
        for number, value in (rows[0], rows[len(rows) // 2], rows[-1]):
            found = where.replace("WHERE", "AND")
            update = f"UPDATE {table} SET {column} = ? WHERE {key} = {number}{found}"
            vault.run(update, values=(change(value),))
            assert vault.verify(), (table, column, number)
            vault.run(update, values=(value,))
    assert [] == vault.verify()
