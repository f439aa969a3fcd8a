"""The verifier for auditors: run as they run it, with no line of the product to be found."""

from __future__ import annotations

import base64
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.proofs import consistency_document, event_document
from ledger.audit.keys import KeyList, LastHead, Retired, write_key_list
from ledger.audit.leaves import leaf_of
from ledger.audit.merkle import root_by_inclusion
from ledger.audit.notes import parse_note
from persistence import StreamEvent
from tests.contract.data.scene import Scene, ran
from tests.proofs.scene import Signing, add_notes
from tests.stored.samples import recorded
from usage_ledger.v1 import audit_proofs_pb2 as pb
from usage_ledger.v1 import publishing_pb2

VERIFIER = Path(__file__).parents[2] / "clients" / "verifier" / "usage_ledger_verify.py"
PROVED, NOT_PROVED, UNREADABLE = 0, 1, 2


class Auditor:
    """A folder with files of a ledger of three heads, and the verifier."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signing = Signing(folder / "keys")
        self.keys_file = self.signing.keys_file

    def fill(self) -> None:
        with Scene(self.folder / "ledger", tree=True, **self.signing.settings) as scene:
            for number, count in enumerate((20, 300, 70)):
                add_notes(scene, count, first=number * 1_000)
                scene.record(*ran(f"instance {number}", "06:00", "07:00", userName="Zoë"))
                (head,) = self.signing.sign(scene)
                self.save(f"head-{number + 1}", head.note)
            calls = scene.calls.audit
            for position in (1, 22, 150, 300):
                named = publishing_pb2.Position(number=position)
                for head_number in (0, 2):
                    request = pb.GetEventProofRequest(position=named, head=head_number)
                    proof = calls.GetEventProof(request)
                    self.save(f"event-{position}-{head_number}", event_document(proof))
            for first, second in ((1, 2), (1, 3), (2, 3)):
                between = pb.GetConsistencyProofRequest(
                    first=pb.TreePoint(head=first), second=pb.TreePoint(head=second)
                )
                document = consistency_document(calls.GetConsistencyProof(between))
                self.save(f"consistency-{first}-{second}", document)

    def save(self, name: str, content: Any) -> Path:
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def load(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    def run(self, *names: str, code: int, keys: Path | None = None) -> str:
        # -I: nothing of this folder, of PYTHONPATH or of the user is on its path.
        command = [sys.executable, "-I", str(VERIFIER), "--keys", str(keys or self.keys_file)]
        command += [str(self.folder / name) for name in names]
        ran = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd="/", timeout=60
        )
        assert "Traceback" not in ran.stderr, ran.stderr
        assert code == ran.returncode, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    def refused(self, name: str, document: Any, *others: str) -> str:
        self.save("changed", document)
        told = self.run("changed", *others, code=NOT_PROVED)
        assert "NOT PROVED" in told
        return told


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Auditor:
    auditor = Auditor(tmp_path_factory.mktemp("audit"))
    auditor.fill()
    return auditor


def test_imports_nothing_of_the_product() -> None:
    program = (
        "import runpy, sys; before = set(sys.modules);"
        f"runpy.run_path({str(VERIFIER)!r}, run_name='verifier');"
        "names = {n.partition('.')[0] for n in set(sys.modules) - before};"
        "import json; print(json.dumps(sorted(names - set(sys.stdlib_module_names))))"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True, cwd="/"
    )
    assert {"cryptography", "_cffi_backend", "_openssl"} >= set(json.loads(ran.stdout))


class TestWhatIsProved:
    def test_heads_events_and_that_heads_continue_each_other(self, auditor: Auditor) -> None:
        names = sorted(path.name for path in auditor.folder.iterdir() if path.is_file())
        told = auditor.run(*names, code=PROVED)
        assert len(names) == told.count("PROVED ")
        assert "NOT" not in told

    def test_what_an_event_says(self, auditor: Auditor) -> None:
        told = auditor.run("event-22-0", code=PROVED)
        event = auditor.load("event-22-0")
        assert f"{event['event']['stream']} version 1, instance-started" in told
        assert "recorded 2026-11-01T08:00:00.000Z" in told
        assert '[1793520000000, "local:' in told

    def test_a_list_of_heads(self, auditor: Auditor) -> None:
        notes = [{"note": (auditor.folder / f"head-{n}").read_text()} for n in (1, 2, 3)]
        auditor.save("list", {"heads": notes, "next_cursor": ""})
        assert 3 == auditor.run("list", code=PROVED).count("PROVED ")


def path_of(*names: str | int) -> tuple[str | int, ...]:
    return names


def changed(document: Any, path: tuple[str | int, ...], change: Callable[[Any], Any]) -> Any:
    copy = json.loads(json.dumps(document))
    place = copy
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = change(place[path[-1]])
    return copy


def flipped(text: str) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[len(raw) // 2] ^= 1
    return base64.b64encode(bytes(raw)).decode()


class TestWhatIsNotProved:
    @pytest.mark.parametrize(
        ("path", "change"),
        [
            (path_of("event", "stream"), lambda v: v + "x"),
            (path_of("event", "version"), lambda v: v + 1),
            (path_of("event", "topic"), lambda v: v + "x"),
            (path_of("event", "recorded_ms"), lambda v: v + 1),
            (path_of("event", "state"), flipped),
            (path_of("leaf_number"), lambda v: v + 1),
            (path_of("leaf_number"), lambda _: -1),
            (path_of("leaf_number"), lambda _: 10**9),
            (path_of("hashes", 0), flipped),
            (path_of("hashes", -1), flipped),
            (path_of("hashes"), lambda v: v[1:]),
            (path_of("hashes"), lambda v: v[:-1]),
            (path_of("hashes"), lambda v: [*v, v[0]]),
            (path_of("hashes"), lambda v: v[::-1]),
        ],
    )
    def test_an_event_that_was_changed(
        self, auditor: Auditor, path: tuple[str | int, ...], change: Callable[[Any], Any]
    ) -> None:
        auditor.refused("event", changed(auditor.load("event-150-2"), path, change))

    def test_an_event_in_another_head(self, auditor: Auditor) -> None:
        head = (auditor.folder / "head-3").read_text()
        auditor.refused("event", auditor.load("event-150-2") | {"head": head})

    @pytest.mark.parametrize(("old", "new"), [("/0\n", "/1\n"), ("recorded 2026", "recorded 2025")])
    def test_a_forged_head(self, auditor: Auditor, old: str, new: str) -> None:
        note = (auditor.folder / "head-2").read_text()
        assert "does not hold" in auditor.refused("head", note.replace(old, new, 1))

    def test_a_head_of_another_size_or_root(self, auditor: Auditor) -> None:
        note = (auditor.folder / "head-2").read_text()
        _, size, root, *_ = note.split("\n")
        for old, new in ((size, str(int(size) + 1)), (root, flipped(root))):
            assert "does not hold" in auditor.refused("head", note.replace(old, new, 1))

    def test_what_a_key_signed_that_nobody_listed(self, auditor: Auditor) -> None:
        keys = auditor.folder / "keys" / "empty.json"
        write_key_list(keys, KeyList(()))
        told = auditor.run("head-1", "event-22-0", code=NOT_PROVED, keys=keys)
        assert 2 == told.count("is not in the list of keys")

    @pytest.mark.parametrize(
        ("path", "change"),
        [
            (path_of("first", "root"), flipped),
            (path_of("second", "root"), flipped),
            (path_of("first", "size"), lambda v: v + 1),
            (path_of("second", "size"), lambda v: v - 1),
            (path_of("first", "size"), lambda _: 0),
            (path_of("origin"), lambda v: v + "x"),
            (path_of("hashes", 0), flipped),
            (path_of("hashes"), lambda v: v[1:]),
            (path_of("hashes"), lambda v: [*v, v[0]]),
            (path_of("hashes"), lambda _: []),
        ],
    )
    def test_a_proof_of_consistency_that_was_changed(
        self, auditor: Auditor, path: tuple[str | int, ...], change: Callable[[Any], Any]
    ) -> None:
        document = auditor.load("consistency-1-2")
        bare = document | {name: document[name] | {"head": None} for name in ("first", "second")}
        auditor.refused("consistency", changed(bare, path, change), "head-1", "head-2", "head-3")

    def test_a_tree_that_no_head_vouches_for(self, auditor: Auditor) -> None:
        document = auditor.load("consistency-1-2")
        bare = document | {name: document[name] | {"head": None} for name in ("first", "second")}
        assert "no head that is believed" in auditor.refused("consistency", bare)
        auditor.save("bare", bare)
        auditor.run("bare", "head-2", code=PROVED)

    def test_a_ledger_that_was_shown_in_two_versions(self, auditor: Auditor) -> None:
        """Two heads of one size, both signed: the key signs two histories."""
        checkpoint = parse_note((auditor.folder / "head-2").read_text()).checkpoint
        other = auditor.signing.note(checkpoint._replace(root=bytes(32)))
        told = auditor.refused("head", other, "head-2")
        assert 2 == told.count("in two versions")


class TestARetiredKey:
    @pytest.fixture
    def retired(self, auditor: Auditor) -> Callable[[int], Path]:
        def retire(number: int) -> Path:
            checkpoint = parse_note((auditor.folder / f"head-{number}").read_text()).checkpoint
            last = LastHead(*checkpoint[:3])
            listed = auditor.signing.keys.retiring("test-key", Retired("now", "x", (last,)))
            path = auditor.folder / "keys" / f"retired-{number}.json"
            write_key_list(path, listed)
            return path

        return retire

    def test_is_believed_for_its_last_head(
        self, auditor: Auditor, retired: Callable[[int], Path]
    ) -> None:
        told = auditor.run("head-3", "event-22-0", code=PROVED, keys=retired(3))
        # Whoever stole it can sign this tree again, and say that it was recorded at another time.
        assert "a retired key does not prove when" in told
        assert "recorded up to" not in told

    def test_is_not_believed_for_newer_ones(
        self, auditor: Auditor, retired: Callable[[int], Path]
    ) -> None:
        told = auditor.run("head-3", code=NOT_PROVED, keys=retired(2))
        assert "signed no tree of that size" in told

    def test_is_believed_for_older_ones_that_its_last_one_continues(
        self, auditor: Auditor, retired: Callable[[int], Path]
    ) -> None:
        keys = retired(3)
        told = auditor.run("head-2", "event-150-2", code=NOT_PROVED, keys=keys)
        assert 2 == told.count("only with a consistency proof")
        auditor.run("head-2", "event-150-2", "consistency-2-3", code=PROVED, keys=keys)
        # Step by step, too: 1 begins 2, which begins the last one.
        auditor.run("head-1", "consistency-1-2", "consistency-2-3", code=PROVED, keys=keys)
        auditor.run("head-1", "consistency-1-2", code=NOT_PROVED, keys=keys)

    def test_that_was_stolen_signs_no_other_past(
        self, auditor: Auditor, retired: Callable[[int], Path]
    ) -> None:
        checkpoint = parse_note((auditor.folder / "head-1").read_text()).checkpoint
        auditor.save("stolen", auditor.signing.note(checkpoint._replace(root=bytes(32))))
        names = ("stolen", "consistency-1-3")
        auditor.run(*names, code=NOT_PROVED, keys=retired(3))


class TestFilesThatCannotBeRead:
    @pytest.mark.parametrize(
        "content",
        [
            "",
            "nothing",
            "{",
            "{}",
            "[]",
            '{"format": "usage-ledger-event-proof-1"}',
            '{"heads": 7}',
            '{"heads": [{"note": 7}]}',
            "\x00",
        ],
    )
    def test_end_with_2(self, auditor: Auditor, content: str) -> None:
        auditor.save("unreadable", content)
        assert "cannot be read" in auditor.run("unreadable", code=UNREADABLE)

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            (path_of("leaf_number"), "1"),
            (path_of("leaf_number"), True),
            (path_of("event", "state"), "%%"),
            (path_of("hashes"), ["AAAA"]),
            (path_of("head"), "nothing"),
            (path_of("event"), None),
        ],
    )
    def test_proofs_with_other_values(
        self, auditor: Auditor, path: tuple[str | int, ...], value: Any
    ) -> None:
        document = changed(auditor.load("event-150-2"), path, lambda _: value)
        auditor.save("unreadable", document)
        auditor.run("unreadable", code=UNREADABLE)

    def test_files_and_keys_that_are_not_there(self, auditor: Auditor) -> None:
        auditor.run("not-there", code=UNREADABLE)
        auditor.run("head-1", code=UNREADABLE, keys=auditor.folder / "not-there")
        auditor.run("head-1", code=UNREADABLE, keys=auditor.folder / "head-1")

    @pytest.mark.parametrize("change", ["id", "public_key", "algorithm"])
    def test_a_list_of_keys_that_was_changed(self, auditor: Auditor, change: str) -> None:
        listed = json.loads(auditor.keys_file.read_text())
        listed["keys"][0][change] = "00000000"
        path = auditor.folder / "keys" / "changed.json"
        path.write_text(json.dumps(listed))
        auditor.run("head-1", code=UNREADABLE, keys=path)


def test_agrees_with_the_product_on_the_values_of_every_event() -> None:
    """It unpacks by itself what the product's codec has packed."""
    module = loaded()
    for _, _, _, state, _ in recorded():
        expected = msgspec.msgpack.decode(memoryview(state)[1:])
        assert _texts(expected) == _texts(module.unpacked(state))


def _texts(value: Any) -> Any:
    return json.dumps(value, default=lambda raw: bytes(raw).hex(), sort_keys=True)


def loaded() -> Any:
    spec = importlib.util.spec_from_file_location("usage_ledger_verify", VERIFIER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestManyHeads:
    """A ledger signs one an hour, so a pack of everything has thousands of a few years."""

    COUNT = 6_000
    SECONDS_MAX = 2.0  # looking at each other one takes four times as long

    def test_are_not_each_compared_with_each(self) -> None:
        module = loaded()
        lasts = {
            f"ledger/{n}": module.Point(f"ledger/{n}", 7, bytes(32)) for n in range(self.COUNT)
        }
        trust = module.Trust({"key": module.Key("key", bytes(32), lasts)}, [])
        began = time.process_time()
        for point in lasts.values():
            trust.check(point)
        assert time.process_time() - began < self.SECONDS_MAX

    def test_of_two_versions_are_still_told(self) -> None:
        module = loaded()
        points = [module.Point("ledger/0", 7, bytes([n]) * 32) for n in range(2)]
        keys = {f"{n}": module.Key(f"{n}", bytes(32), {"ledger/0": points[n]}) for n in range(2)}
        trust = module.Trust(keys, [])
        for point in points:
            with pytest.raises(module.NotProvedError, match="two trees of 7 events"):
                trust.check(point)


class TestThePage:
    """Formats never change: docs/proofs.md shows what the first version that had them made."""

    @pytest.fixture
    def page(self, auditor: Auditor) -> tuple[Path, Path]:
        text = (VERIFIER.parents[2] / "docs" / "proofs.md").read_text(encoding="utf-8")
        keys, proof = (block.partition("\n```")[0] for block in text.split("```json\n")[1:])
        listed = auditor.folder / "keys" / "page.json"
        listed.write_text(keys)
        return listed, auditor.save("page-proof", proof)

    def test_has_a_proof_that_holds(self, auditor: Auditor, page: tuple[Path, Path]) -> None:
        keys, proof = page
        told = auditor.run(proof.name, code=PROVED, keys=keys)
        assert "event 43 of the log of 801 events" in told
        bent = changed(auditor.load(proof.name), path_of("event", "version"), lambda v: v + 1)
        auditor.save("page-bent", bent)
        auditor.run("page-bent", code=NOT_PROVED, keys=keys)

    def test_has_an_event_whose_leaf_the_product_hashes(self, page: tuple[Path, Path]) -> None:
        document = json.loads(page[1].read_text())
        event = document["event"]
        state = base64.b64decode(event["state"])
        stored = StreamEvent(44, event["stream"], event["version"], event["topic"], state)
        hashes = [base64.b64decode(each) for each in document["hashes"]]
        root = root_by_inclusion(leaf_of(stored), document["leaf_number"], 801, hashes)
        assert parse_note(document["head"]).checkpoint.root == root


def test_the_help_leads_to_that_of_packs() -> None:
    command = [sys.executable, "-I", str(VERIFIER), "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "usage_ledger_verify.py pack --help" in told
