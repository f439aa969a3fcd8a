"""Heads that an auditor has kept: each has to be shown to fit, or the pack is not proved."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.audit.merkle import consistency_spans
from ledger.audit.notes import Checkpoint, parse_note
from ledger.audit.tiles import Subtrees
from tests.laws.acts import payer_bytes
from tests.packs.scene import NOT_PROVED, UNREADABLE, Doctored, Packed, pack_of, verified

ANOTHER_ROOT = bytes(32)


class Kept:
    """What an auditor has kept, beside packs of the ledger that it is of."""

    def __init__(self, packed: Packed, folder: Path) -> None:
        self.packed = packed
        self.folder = folder
        self.notes = 0

    def head(self, number: int) -> Checkpoint:
        head = self.packed.ledger.reader.tree.head(number)
        assert head is not None
        return parse_note(head.note).checkpoint

    def tree(self, size: int) -> Checkpoint:
        """As a head of so many events would have been signed."""
        subtrees = Subtrees(self.packed.ledger.reader.tree.tiles)
        return self.head(1)._replace(size=size, root=subtrees.root(size))

    def note(self, checkpoint: Checkpoint) -> Path:
        self.notes += 1
        path = self.folder / f"head-{self.notes}"
        path.write_text(self.packed.signing.note(checkpoint))
        return path

    def link(self, first: Checkpoint, second: Checkpoint) -> Path:
        """The ledger's proof that one tree begins another."""
        subtrees = Subtrees(self.packed.ledger.reader.tree.tiles)
        hashes = subtrees.hashes(consistency_spans(first.size, second.size))
        document = {
            "format": "usage-ledger-consistency-proof-1",
            "origin": first.origin,
            "first": _tree(first),
            "second": _tree(second),
            "hashes": [base64.b64encode(each).decode() for each in hashes],
        }
        path = self.folder / f"link-{first.size}-{second.size}"
        path.write_text(json.dumps(document))
        return path

    def verified(self, pack: Path, *files: Path, code: int = 0) -> str:
        more = [word for path in files for word in ("--kept", path)]
        return verified(pack, self.packed.keys, *more, code=code)


def _tree(checkpoint: Checkpoint) -> dict[str, Any]:
    root = base64.b64encode(checkpoint.root).decode()
    return {"size": checkpoint.size, "root": root, "head": None}


@pytest.fixture
def kept(packed: Packed, tmp_path: Path) -> Kept:
    return Kept(packed, tmp_path)


class TestAPackOfEverything:
    def test_is_held_to_a_head_that_it_does_not_show(self, packed: Packed, kept: Kept) -> None:
        size = kept.head(2).size - 1
        told = kept.verified(packed.everything, kept.note(kept.tree(size)))
        assert f"the kept head of {size} events begins the pack's log" in told
        another = kept.note(kept.tree(size)._replace(root=ANOTHER_ROOT))
        told = kept.verified(packed.everything, another, code=NOT_PROVED)
        assert f"the pack is of another log than the kept head of {size} events" in told

    def test_is_not_proved_behind_a_newer_head(self, packed: Packed, kept: Kept) -> None:
        newest = kept.head(3)
        later = kept.note(newest._replace(size=newest.size + 1_000))
        told = kept.verified(packed.everything, later, code=NOT_PROVED)
        assert f"the pack is of an older state than the kept head of {newest.size + 1_000}" in told

    def test_of_an_older_state_is_proved_with_what_leads_to_the_newer_head(
        self, packed: Packed, kept: Kept, tmp_path: Path
    ) -> None:
        pack_of([packed.ledger.reader], tmp_path / "older", head=2)
        newer, link = kept.note(kept.head(3)), kept.link(kept.head(2), kept.head(3))
        kept.verified(tmp_path / "older", newer, code=NOT_PROVED)
        told = kept.verified(tmp_path / "older", newer, link)
        assert f"the pack's log begins the kept head of {kept.head(3).size} events" in told

    @pytest.mark.parametrize("is_said_to_be_empty", [True, False])
    def test_is_held_to_a_head_of_a_shard_that_it_does_not_have(
        self, packed: Packed, kept: Kept, tmp_path: Path, *, is_said_to_be_empty: bool
    ) -> None:
        doctored = Doctored(packed.everything, tmp_path / "doctored")
        manifest = doctored.manifest
        if is_said_to_be_empty:
            empty = replace(
                manifest.shards[0], shard=1, origin=f"{manifest.ledger}/1", size=0, root="",
                head=None, events=0, last_position=0, reconciled_to=None,
            )  # fmt: skip
            doctored.seal(shards=[*manifest.shards, empty])
        known = kept.note(kept.head(1))
        other = kept.note(kept.head(1)._replace(origin=f"{manifest.ledger}/1"))
        told = kept.verified(doctored.folder, known, other, code=NOT_PROVED)
        assert f"is of {manifest.ledger}/1, which has no events in the pack" in told


class TestAPackOfAPayer:
    def test_wants_a_proof_for_a_head_that_it_does_not_show(
        self, packed: Packed, kept: Kept
    ) -> None:
        second = kept.note(kept.head(2))
        told = kept.verified(packed.of_payer, second, code=NOT_PROVED)
        assert "nothing shows that the kept head of" in told
        assert "`usage-ledger proof consistency`" in told
        link = kept.link(kept.head(2), kept.head(3))
        told = kept.verified(packed.of_payer, second, link)
        assert f"the kept head of {kept.head(2).size} events begins the pack's log" in told

    def test_takes_proofs_step_by_step(self, packed: Packed, kept: Kept, tmp_path: Path) -> None:
        pack_of([packed.ledger.reader], tmp_path / "pack", payer=payer_bytes(packed.payer))
        first, second, third = (kept.head(number) for number in (1, 2, 3))
        files = [kept.note(first), kept.link(first, second), kept.link(second, third)]
        kept.verified(tmp_path / "pack", *files)
        kept.verified(tmp_path / "pack", *files[:2], code=NOT_PROVED)

    def test_does_not_believe_a_proof_of_another_log(self, packed: Packed, kept: Kept) -> None:
        second = kept.head(2)._replace(root=ANOTHER_ROOT)
        link = kept.link(second, kept.head(3))
        kept.verified(packed.of_payer, kept.note(second), link, code=NOT_PROVED)

    def test_says_which_shards_it_does_not_have(self, packed: Packed, kept: Kept) -> None:
        first = kept.head(1)
        elsewhere = kept.note(first._replace(origin=first.origin[:-1] + "7"))
        told = kept.verified(packed.of_payer, kept.note(first), elsewhere)
        assert f"NOTE        a kept head is of {first.origin[:-1]}7" in told


class TestOfAnotherLedger:
    @pytest.mark.parametrize("name", ["everything", "of_payer"])
    def test_alone_is_not_proved(self, packed: Packed, kept: Kept, name: str) -> None:
        """A test ledger's pack, signed by the same key, in the place of the one asked for."""
        other = kept.note(kept.head(1)._replace(origin="usage-ledger/another/0"))
        told = kept.verified(getattr(packed, name), other, code=NOT_PROVED)
        assert "no kept head is of a log that the pack has" in told


class TestWhatIsKept:
    def test_is_a_head_or_a_proof_of_consistency(self, packed: Packed, kept: Kept) -> None:
        file = kept.folder / "event"
        file.write_text('{"format": "usage-ledger-event-proof-1"}')
        kept.verified(packed.of_payer, file, code=UNREADABLE)

    def test_is_read_from_a_list_of_heads(self, packed: Packed, kept: Kept) -> None:
        notes = [{"note": kept.note(kept.head(number)).read_text()} for number in (1, 2, 3)]
        file = kept.folder / "heads"
        file.write_text(json.dumps({"heads": notes}))
        kept.verified(packed.everything, file)

    def test_has_to_be_signed(self, packed: Packed, kept: Kept) -> None:
        file = kept.note(kept.head(1))
        file.write_text(file.read_text().replace("recorded 2", "recorded 1"))
        told = kept.verified(packed.everything, file, code=NOT_PROVED)
        assert "does not hold" in told
