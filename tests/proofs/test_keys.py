"""Signing keys and the list of them: which heads each may sign, and what is refused."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.audit.keys import (
    KeyList,
    KeysError,
    LastHead,
    ListedKey,
    Retired,
    Trust,
    load_signer,
    new_key_file,
    public_key_of,
    read_key_list,
    write_key_list,
)
from ledger.audit.notes import Checkpoint, parse_note, public_bytes, signed_note
from ledger.failpoints import OF_KEYS, VARIABLE

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
LISTED = ListedKey("one", public_bytes(KEY), "2026-11-01T08:00:00.000Z", "local:root", None)
LAST = LastHead("ledger/0", 100, b"r" * 32)
RETIRED = LISTED._replace(retired=Retired("2026-12-01T08:00:00.000Z", "local:root", (LAST,)))


def note_of(
    size: int,
    root: bytes = b"r" * 32,
    *,
    origin: str = "ledger/0",
    name: str = "one",
    key: Any = KEY,
) -> Any:
    return parse_note(signed_note(Checkpoint(origin, size, root, 0), name, key))


class TestTheList:
    def test_trusts_what_a_listed_key_signed(self) -> None:
        assert Trust() == KeyList((LISTED,)).judge(note_of(5))

    def test_says_why_it_trusts_nothing_else(self) -> None:
        keys = KeyList((LISTED,))
        assert (
            'key "two" is not in the list of keys' in keys.judge(note_of(5, name="two")).objection
        )
        forged = note_of(5, key=OTHER)
        assert 'the signature of key "one" does not hold' in keys.judge(forged).objection
        assert 'key "one" is not in the list of keys' in KeyList(()).judge(note_of(5)).objection

    def test_trusts_a_head_that_one_of_its_signers_may_sign(self) -> None:
        note = note_of(5, name="two", key=OTHER)
        both = note._replace(signatures=note.signatures + note_of(5).signatures)
        assert Trust() == KeyList((LISTED,)).judge(both)

    @pytest.mark.parametrize(
        ("note", "objection"),
        [
            (note_of(101), 'key "one" is retired, and signed no more than 100 events'),
            (note_of(100, bytes(32)), "the last head that it signed is another"),
            (note_of(1, origin="ledger/1"), "and signed no more than 0 events"),
        ],
    )
    def test_of_a_retired_key_trusts_only_what_it_signed(self, note: Any, objection: str) -> None:
        assert objection in KeyList((RETIRED,)).judge(note).objection

    def test_of_a_retired_key_trusts_older_heads_if_its_last_one_continues_them(self) -> None:
        """Whoever steals a retired key could sign any older head."""
        keys = KeyList((RETIRED,))
        assert Trust() == keys.judge(note_of(100))
        assert Trust(continued_by=LAST) == keys.judge(note_of(99))

    def test_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        keys = KeyList((RETIRED, LISTED._replace(name="two", public_key=public_bytes(OTHER))))
        write_key_list(tmp_path / "keys.json", keys)
        assert keys == read_key_list(tmp_path / "keys.json")
        assert "usage-ledger-keys-1" == json.loads((tmp_path / "keys.json").read_text())["format"]

    def test_takes_a_name_and_a_key_once(self) -> None:
        keys = KeyList((LISTED,))
        for more in (
            LISTED._replace(public_key=public_bytes(OTHER)),
            LISTED._replace(name="two"),
            LISTED._replace(name="has a blank", public_key=public_bytes(OTHER)),
        ):
            with pytest.raises(KeysError):
                keys.with_key(more)
        two = LISTED._replace(name="two", public_key=public_bytes(OTHER))
        assert (LISTED, two) == keys.with_key(two).keys

    def test_retires_a_key_once(self) -> None:
        keys = KeyList((LISTED,))
        assert RETIRED.retired is not None
        retired = keys.retiring("one", RETIRED.retired)
        assert (RETIRED,) == retired.keys
        with pytest.raises(KeysError, match="is retired already"):
            retired.retiring("one", RETIRED.retired)
        with pytest.raises(KeysError, match='"two" is not in the list'):
            keys.retiring("two", RETIRED.retired)

    def test_that_is_not_there_is_empty_where_one_may_begin(self, tmp_path: Path) -> None:
        with pytest.raises(KeysError, match="cannot be read"):
            read_key_list(tmp_path / "none.json")
        assert KeyList(()) == read_key_list(tmp_path / "none.json", may_lack=True)

    @pytest.mark.parametrize(
        "change",
        [
            {"format": "usage-ledger-keys-2"},
            {"keys": None},
            {"keys": [{}]},
            {"keys": [{"name": "x", "algorithm": "rsa", "public_key": "", "id": ""}]},
        ],
    )
    def test_that_is_damaged_is_refused(self, tmp_path: Path, change: dict[str, Any]) -> None:
        path = tmp_path / "keys.json"
        write_key_list(path, KeyList((LISTED,)))
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(KeysError, match=r"keys\.json"):
            read_key_list(path)
        path.write_text("{")
        with pytest.raises(KeysError, match=r"keys\.json"):
            read_key_list(path)

    def test_with_two_last_heads_of_one_tree_is_refused(self, tmp_path: Path) -> None:
        """Which of them held? The standalone verifier refuses it, too."""
        assert RETIRED.retired is not None
        twice = (LAST, LAST._replace(size=90))
        path = tmp_path / "keys.json"
        retired = RETIRED._replace(retired=RETIRED.retired._replace(last_heads=twice))
        write_key_list(path, KeyList((retired,)))
        with pytest.raises(KeysError, match='"one" has two last heads of the tree ledger/0'):
            read_key_list(path)

    def test_is_written_where_a_link_leads(self, tmp_path: Path) -> None:
        """Else whoever gives out the file that the link leads to would go on with the old one."""
        lies, link = tmp_path / "elsewhere" / "public.json", tmp_path / "ledger" / "keys.json"
        for folder in (lies.parent, link.parent):
            folder.mkdir()
        link.symlink_to(Path("..", "elsewhere", "public.json"))
        for keys in (KeyList((LISTED,)), KeyList((RETIRED,))):
            write_key_list(link, keys)
            assert link.is_symlink()
            assert keys == read_key_list(lies)

    def test_that_a_link_in_a_circle_names_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "keys.json"
        path.symlink_to(path)
        with pytest.raises(KeysError, match="cannot be read"):
            read_key_list(path)

    def test_with_the_id_of_another_key_is_refused(self, tmp_path: Path) -> None:
        """An auditor compares IDs: one that does not follow from the key would deceive."""
        path = tmp_path / "keys.json"
        write_key_list(path, KeyList((LISTED,)))
        path.write_text(path.read_text().replace(LISTED.id, "00000000"))
        with pytest.raises(KeysError, match="its id is"):
            read_key_list(path)


class TestTheKeyFile:
    def test_is_made_for_its_owner_alone_and_never_overwritten(self, tmp_path: Path) -> None:
        path = tmp_path / "secrets" / "signing.key"
        public = new_key_file(path)
        assert 0o600 == stat.S_IMODE(path.stat().st_mode)
        assert public == public_key_of(path)
        before = path.read_bytes()
        with pytest.raises(KeysError, match="is there already"):
            new_key_file(path)
        assert before == path.read_bytes()

    def test_may_be_made_by_openssl(self, tmp_path: Path) -> None:
        path = tmp_path / "signing.key"
        subprocess.run(
            ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)], check=True
        )
        assert 32 == len(public_key_of(path))

    def test_of_a_listed_key_signs(self, tmp_path: Path) -> None:
        public = new_key_file(tmp_path / "signing.key")
        keys = KeyList((LISTED._replace(public_key=public),))
        write_key_list(tmp_path / "keys.json", keys)
        signer = load_signer(tmp_path / "signing.key", tmp_path / "keys.json")
        note = parse_note(signer.sign(Checkpoint("ledger/0", 1, bytes(32), 0)))
        assert ("one", Trust()) == (signer.name, keys.judge(note))

    def test_that_cannot_sign_is_told(self, tmp_path: Path) -> None:
        path, listed = tmp_path / "signing.key", tmp_path / "keys.json"

        def refusal() -> str:
            with pytest.raises(KeysError) as refused:
                load_signer(path, listed)
            return str(refused.value)

        assert f"audit.signing_key_file {path} cannot be read" in refusal()
        assert refusal().endswith("make one by `usage-ledger keys new`")
        public = new_key_file(path)
        assert f"audit.keys_file {listed} cannot be read" in refusal()
        assert refusal().endswith("make one by `usage-ledger keys new` or `keys add`")
        write_key_list(listed, KeyList((LISTED,)))
        assert "is not in" in refusal()
        write_key_list(listed, KeyList((RETIRED._replace(public_key=public),)))
        assert 'key "one" is retired' in refusal()
        path.chmod(0o644)
        path.write_text("no key")
        assert "is not an Ed25519 key in PEM" in refusal()
        subprocess.run(
            ["openssl", "genpkey", "-algorithm", "x25519", "-out", str(path)], check=True
        )
        assert "is not an Ed25519 key in PEM" in refusal()

    def test_is_read_anew_for_each_head(self, tmp_path: Path) -> None:
        """A key that was exchanged signs from the next head on; one that is gone, none."""
        path = tmp_path / "signing.key"
        new_key_file(path)
        os.unlink(path)  # noqa: PTH108  # as somebody who tidies up
        with pytest.raises(KeysError):
            load_signer(path, tmp_path / "keys.json")


def keys_command(folder: Path, *arguments: str, failpoint: str = "") -> int:
    """Run `usage-ledger keys …` in a process of its own; give its exit code."""
    files = ("--key-file", str(folder / "signing.key"), "--keys-file", str(folder / "keys.json"))
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "keys", *arguments, *files],
        env={**os.environ, VARIABLE: failpoint},
        capture_output=True,
        check=False,
    ).returncode


class TestAKilledCommand:
    KILLED = -9

    @pytest.mark.parametrize("failpoint", OF_KEYS)
    def test_leaves_no_key_or_a_whole_one(self, tmp_path: Path, failpoint: str) -> None:
        killed = keys_command(tmp_path, "new", "--name", "one", failpoint=failpoint)
        assert killed == self.KILLED
        if (tmp_path / "signing.key").exists():
            public_key_of(tmp_path / "signing.key")
            assert 1 == keys_command(tmp_path, "new", "--name", "one")  # it says how to go on
            if not (tmp_path / "keys.json").exists():
                assert 0 == keys_command(tmp_path, "add", "--name", "one")
        else:
            assert 0 == keys_command(tmp_path, "new", "--name", "one")
        load_signer(tmp_path / "signing.key", tmp_path / "keys.json")
        assert {"signing.key", "keys.json"} == {path.name for path in tmp_path.iterdir()}

    def test_may_be_one_of_many_that_make_the_same_key(self, tmp_path: Path) -> None:
        """One of them makes it, and the others leave it alone."""
        made: list[bytes] = []
        refused: list[str] = []

        def make() -> None:
            try:
                made.append(new_key_file(tmp_path / "signing.key"))
            except KeysError as error:
                refused.append(str(error))

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [public_key_of(tmp_path / "signing.key")] == made
        assert 7 == len(refused)
        assert all("`usage-ledger keys add`" in each for each in refused)
        assert ["signing.key"] == [path.name for path in tmp_path.iterdir()]
        assert 0o600 == stat.S_IMODE((tmp_path / "signing.key").stat().st_mode)
