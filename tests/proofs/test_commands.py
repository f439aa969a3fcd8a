"""The commands as operators and auditors run them."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from ledger.audit.keys import read_key_list
from ledger.failpoints import OF_ROTATION
from persistence.sqlite import FILE_NAME
from tests.contract.data.scene import bytes_of, instance, ran
from tests.harness import InProcessService, settings_for
from tests.packs.scene import KILLED
from tests.packs.scene import usage_ledger as command
from tests.proofs.scene import wait_for


def usage_ledger(*arguments: str, code: int | None = 0) -> str:
    """Run a command in this process; give what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        ended = main(arguments)
    told = f"{out.getvalue()}{err.getvalue()}"
    assert code in {ended, None}, told
    return told if ended else out.getvalue()


class Office:
    """A data directory with a key, a service over it, and the commands."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "ledger"
        self.published = 0
        told = usage_ledger("keys", "new", "--name", "first", "--data-dir", str(self.data_dir))
        assert 'lists it as "first"' in told
        self.service: InProcessService
        self.start()

    def start(self) -> None:
        self.service = InProcessService(settings_for(self.data_dir), tree=True)
        self.service.__enter__()
        self._runs = True

    def stop(self) -> None:
        if self._runs:
            self._runs = False
            self.service.__exit__(None, None, None)

    def run(self, *arguments: str, code: int | None = 0) -> str:
        return usage_ledger(*arguments, "--target", self.service.target, code=code)

    def ask(self, *arguments: str, code: int = 0) -> Any:
        """Give the JSON that a command prints."""
        return json.loads(self.run(*arguments, "--json", code=code))

    def publish(self, count: int) -> None:
        lines: list[dict[str, Any]] = []
        for _ in range(count):
            self.published += 1
            lines += ran(f"{self.published}", "06:00", "07:00")
        assert 3 * count == self.service.calls.publish(bytes_of(lines)).recorded

    def verify(self, *more: str, code: int = 0) -> str:
        return self.run("verify", *more, code=code)

    def locally(self, *more: str, code: int = 0) -> str:
        return usage_ledger("verify", "--local", "--data-dir", str(self.data_dir), *more, code=code)

    def sql(self, statement: str) -> None:
        with closing(sqlite3.connect(self.data_dir / FILE_NAME, timeout=20)) as ledger, ledger:
            ledger.execute(statement)

    @property
    def listed(self) -> Any:
        return read_key_list(self.data_dir / "audit-keys.json").keys


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.stop()


class TestHeads:
    def test_are_signed_listed_and_shown(self, office: Office) -> None:
        assert "no head yet" in office.run("heads", "show", code=1)
        office.publish(2)
        told = office.run("heads", "sign")
        assert "first" in told
        office.publish(1)
        (signed,) = office.ask("heads", "sign")["heads"]
        listed = office.ask("heads", "list")["heads"]
        assert [2, 1] == [head["number"] for head in listed]
        assert signed == listed[0]
        note = office.run("heads", "show")
        assert signed["note"] == note
        assert listed[1]["note"] == office.run("heads", "show", "1")
        assert note.splitlines()[1] == str(signed["size"])
        assert "NOT_FOUND" in office.run("heads", "show", "9", code=1)
        status = office.run("status")
        assert "first" in status
        assert "whole" in status

    def test_without_a_key_are_refused_with_a_sentence(self, office: Office) -> None:
        (office.data_dir / "secrets" / "audit-signing.key").unlink()
        told = office.run("heads", "sign", code=1)
        assert "FAILED_PRECONDITION: no head is signed: audit.signing_key_file" in told


class TestProofs:
    def test_are_documents(self, office: Office, tmp_path: Path) -> None:
        office.publish(3)
        office.run("heads", "sign")
        office.publish(1)
        office.run("heads", "sign")
        for named in (
            ("--position", "3"),
            ("--position", "0:3"),
            ("--stream", f"instance:{instance('1')}", "--version", "2"),
        ):
            told = json.loads(office.run("proof", "event", *named))
            assert "usage-ledger-event-proof-1" == told["format"]
            assert {"shard": 0, "number": 3} == told["position"]
        older = json.loads(office.run("proof", "event", "--position", "3", "--head", "1"))
        assert told["head"] != older["head"]
        file = tmp_path / "proof.json"
        assert "" == office.run("proof", "consistency", "1", "2", "-o", str(file))
        proof = json.loads(file.read_text())
        assert "usage-ledger-consistency-proof-1" == proof["format"]
        assert (older["head"], told["head"]) == (proof["first"]["head"], proof["second"]["head"])
        sizes = json.loads(office.run("proof", "consistency", "size:2", "2"))
        assert (2, None) == (sizes["first"]["size"], sizes["first"]["head"])

    @pytest.mark.parametrize(
        "arguments",
        [
            ("event",),
            ("event", "--position", "x"),
            ("event", "--position", "1", "--stream", "a", "--version", "1"),
            ("consistency", "x", "1"),
            ("consistency", "size:", "1"),
        ],
    )
    def test_that_are_asked_for_wrongly_end_with_2(self, arguments: tuple[str, ...]) -> None:
        usage_ledger("proof", *arguments, "--target", "127.0.0.1:9", code=2)


class TestVerify:
    def test_says_that_all_is_well(self, office: Office) -> None:
        office.publish(3)
        office.run("heads", "sign")
        told = office.verify()
        assert "✓ shard 0, usage-ledger/" in told
        assert "all as they were recorded and signed" in told
        assert " a second.\n" in told
        assert "✓ shard 0" in office.locally()
        shards = office.ask("verify")["shards"]
        assert [(0, 1, [])] == [(s["findings"], s["heads"], s["found"]) for s in shards]

    def test_names_what_was_changed_and_ends_with_3(self, office: Office) -> None:
        office.publish(3)
        office.run("heads", "sign")
        office.sql("UPDATE stored_events SET topic = 'another' WHERE position = 4")
        sentence = "changed: leaf 3: the event at position 4, instance:"
        assert sentence in office.verify(code=3)
        assert sentence in office.locally(code=3)
        (shard,) = office.ask("verify", code=3)["shards"]
        (found,) = shard["found"]
        assert ("changed", {"shard": 0, "number": 4}, 3) == (
            found["kind"],
            found["position"],
            found["leaf_number"],
        )

    def test_names_what_keeps_a_service_from_starting(self, office: Office) -> None:
        """A log with a gap is refused at the start, so nobody could be asked."""
        office.publish(3)
        office.run("heads", "sign")
        office.stop()
        office.sql("DELETE FROM stored_events WHERE position = 4")
        assert "missing: leaf 3: its event is missing at position 4" in office.locally(code=3)

    def test_compares_heads_that_were_kept(self, office: Office, tmp_path: Path) -> None:
        office.publish(3)
        office.run("heads", "sign")
        one, many, keys = tmp_path / "head", tmp_path / "heads.json", tmp_path / "keys.json"
        one.write_text(office.run("heads", "show"))
        many.write_text(office.run("heads", "list", "--all", "--json"))
        keys.write_bytes((office.data_dir / "audit-keys.json").read_bytes())
        known = ("--keys", str(keys))
        for kept in (one, many):
            assert "✓" in office.verify("--kept", str(kept), *known)
            assert "✓" in office.locally("--kept", str(kept), *known)
        other = tmp_path / "other"
        other.write_text(one.read_text().replace("/0\n", "/7\n", 1))
        assert "but the trees here are" in office.verify("--kept", str(other), code=2)
        assert "but the trees here are" in office.locally("--kept", str(other), code=2)
        for wrong in (tmp_path / "none", keys):
            office.verify("--kept", str(wrong), code=2)
        office.verify("--keys", str(tmp_path / "none"), code=2)
        office.locally("--keys", str(many), code=2)

    @pytest.mark.parametrize("name", ["nothing-there", ""])
    def test_of_what_is_no_ledger_is_refused(self, tmp_path: Path, name: str) -> None:
        (tmp_path / FILE_NAME).write_bytes(b"")
        told = usage_ledger(
            "verify", "--local", "--data-dir", str(tmp_path / name if name else tmp_path), code=2
        )
        assert FILE_NAME in told


class TestKeys:
    def test_are_made_once(self, office: Office) -> None:
        told = usage_ledger("keys", "new", "--data-dir", str(office.data_dir), code=1)
        assert "a key is never overwritten" in told
        (key,) = office.listed
        listed = usage_ledger("keys", "list", "--data-dir", str(office.data_dir))
        assert key.id in listed
        asked = usage_ledger("keys", "list", "--data-dir", str(office.data_dir), "--json")
        assert [("first", None)] == [(k["name"], k["retired"]) for k in json.loads(asked)["keys"]]

    def test_made_elsewhere_are_added(self, tmp_path: Path) -> None:
        keys = str(tmp_path / "keys.json")
        made = str(tmp_path / "made.key")
        usage_ledger("keys", "new", "--key-file", made, "--keys-file", str(tmp_path / "a.json"))
        usage_ledger("keys", "add", "--name", "x", "--key-file", made, "--keys-file", keys)
        assert ["x"] == [key.name for key in read_key_list(Path(keys)).keys]
        again = usage_ledger("keys", "add", "--key-file", made, "--keys-file", keys, code=1)
        assert 'in the list already, as "x"' in again

    def test_are_exchanged_and_every_head_can_still_be_checked(self, office: Office) -> None:
        office.publish(2)
        office.run("heads", "sign")
        office.publish(1)
        told = office.run("keys", "rotate", "--name", "second", "--data-dir", str(office.data_dir))
        assert '"first" is retired' in told
        first, second = office.listed
        assert ("first", "second", None) == (first.name, second.name, second.retired)
        (last,) = first.retired.last_heads
        heads = office.ask("heads", "list")["heads"]
        assert ["second", "first"] == [head["key_name"] for head in heads]
        assert heads[1]["size"] == last.size
        assert not (office.data_dir / "secrets" / "audit-signing.key.next").exists()
        assert "✓" in office.verify()

    def test_that_sign_are_not_retired(self, office: Office) -> None:
        office.publish(2)
        office.run("heads", "sign")
        told = office.run("keys", "retire", "first", "--data-dir", str(office.data_dir), code=1)
        assert "once another key signs" in told

    def test_are_exchanged_in_two_steps_where_the_service_is_away(self, office: Office) -> None:
        office.publish(2)
        office.run("heads", "sign")
        data = ("--data-dir", str(office.data_dir))
        told = usage_ledger("keys", "rotate", *data, "--target", "127.0.0.1:9", code=4)
        assert '"first" is not retired yet: once the new key has signed a head' in told
        assert [None, None] == [each.retired for each in office.listed]
        office.run("heads", "sign")
        office.run("keys", "retire", "first", *data)
        assert "✓" in office.verify()

    def test_exchange_that_was_interrupted_goes_on(self, office: Office, tmp_path: Path) -> None:
        """Killed before the new key lay in its place, and again before the old one was retired."""
        office.publish(2)
        office.run("heads", "sign")
        data = ("--data-dir", str(office.data_dir))
        key = office.data_dir / "secrets" / "audit-signing.key"
        left = key.with_name(key.name + ".next")
        usage_ledger(
            "keys", "new", "--name", "second", "--key-file", str(left), *data
        )  # as far as it came
        office.run("keys", "rotate", *data)
        assert ["first", "second"] == [each.name for each in office.listed]
        assert office.listed[0].retired is not None
        office.publish(1)
        office.run("heads", "sign")
        assert "✓" in office.verify()

    @pytest.mark.parametrize(
        "failpoint", [*OF_ROTATION, "key-list-written:2", "key-list-in-place:2"]
    )
    def test_exchange_that_was_killed_goes_on(self, office: Office, failpoint: str) -> None:
        self.signed(office)
        rotate = self.rotation(office, "second")
        assert KILLED == command(*rotate, failpoint=failpoint)
        assert 0 == command(*rotate)
        assert {"first": True, "second": False} == self.retired(office)
        assert 0 == command(*rotate)  # nothing is left to do
        self.holds(office)

    @pytest.mark.parametrize("failpoint", ["key-exchanged", "key-has-signed"])
    def test_exchange_under_another_name_retires_the_first_key_too(
        self, office: Office, failpoint: str
    ) -> None:
        self.signed(office)
        assert KILLED == command(*self.rotation(office, "second"), failpoint=failpoint)
        assert 0 == command(*self.rotation(office, "third"))
        assert {"first": True, "second": True, "third": False} == self.retired(office)
        self.holds(office)

    def test_exchange_names_a_key_that_it_does_not_retire(
        self, office: Office, tmp_path: Path
    ) -> None:
        """Somebody keeps it ready, perhaps: it has signed nothing."""
        self.signed(office)
        more = ("--name", "ready", "--key-file", str(tmp_path / "ready.key"))
        usage_ledger("keys", "new", *more, "--data-dir", str(office.data_dir))
        told = office.run("keys", "rotate", "--name", "second", "--data-dir", str(office.data_dir))
        assert '"ready" is listed, has signed nothing here, and is not retired' in told
        assert {"first": True, "ready": False, "second": False} == self.retired(office)

    def test_behind_links_are_exchanged_where_they_lie(
        self, office: Office, tmp_path: Path
    ) -> None:
        """The old private key is gone, and not only the link to it."""
        self.signed(office)
        lie = tmp_path / "safe" / "private.pem", tmp_path / "public" / "list.json"
        links = (
            office.data_dir / "secrets" / "audit-signing.key",
            office.data_dir / "audit-keys.json",
        )
        for path, link in zip(lie, links, strict=True):
            path.parent.mkdir()
            link.rename(path)
            link.symlink_to(path)
        old = lie[0].read_bytes()
        assert 0 == command(*self.rotation(office, "second"))
        assert all(link.is_symlink() for link in links)
        assert old != lie[0].read_bytes()
        assert {"first": True, "second": False} == self.retired(office)
        assert [["private.pem"], ["list.json"]] == [
            [each.name for each in path.parent.iterdir()] for path in lie
        ]
        self.holds(office)

    def signed(self, office: Office) -> None:
        office.publish(2)
        office.run("heads", "sign")
        office.publish(1)

    def rotation(self, office: Office, name: str) -> tuple[str, ...]:
        data = ("--data-dir", str(office.data_dir), "--target", office.service.target)
        return ("keys", "rotate", "--name", name, *data)

    def retired(self, office: Office) -> dict[str, bool]:
        return {key.name: key.retired is not None for key in office.listed}

    def holds(self, office: Office) -> None:
        """Every head can be checked, and nothing lies about."""
        office.publish(1)
        office.run("heads", "sign")
        assert "✓" in office.verify()
        secrets = [path.name for path in (office.data_dir / "secrets").iterdir()]
        assert {"audit-signing.key"} == {name for name in secrets if "audit" in name}
        assert not list(office.data_dir.glob(".*"))


class TestABrokenTree:
    def test_is_told_and_built_anew(self, office: Office) -> None:
        office.publish(3)
        office.run("heads", "sign")
        office.stop()
        office.sql("UPDATE tree_tiles SET hashes = zeroblob(32)")
        office.start()
        wait_for("the fault", lambda: "broken: tile 0/0" in office.run("status"))
        office.publish(1)
        assert "tree: the ledger has found that tile 0/0" in office.verify(code=3)
        assert "is being built anew" in office.run("rebuild-tree")
        wait_for("the tree", lambda: "not in the tree yet" not in office.run("verify", code=None))
        assert "whole" in office.run("status")
        assert "✓" in office.verify()
