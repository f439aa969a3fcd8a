"""Packs that somebody has changed: what was changed is found, and named."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from events import decode, encode
from ledger.audit.notes import parse_note, signed_note
from tests.laws.acts import payer_bytes
from tests.packs.scene import (
    NOT_PROVED,
    PROVED,
    UNREADABLE,
    Doctored,
    Packed,
    outcome_of,
    pack_of,
    proved_anew,
    verified,
)

EVENTS, HEADS, PROOF = (f"shard-0/{name}" for name in ("events.jsonl", "heads.jsonl", "proof.bin"))


@pytest.fixture
def everything(packed: Packed, tmp_path: Path) -> Doctored:
    return Doctored(packed.everything, tmp_path / "pack")


@pytest.fixture
def of_payer(packed: Packed, tmp_path: Path) -> Doctored:
    return Doctored(packed.of_payer, tmp_path / "pack")


def refused(pack: Doctored, packed: Packed, *named: str) -> str:
    told = verified(pack.folder, packed.keys, code=NOT_PROVED)
    for text in named:
        assert text in told, told
    return told


def flipped(raw: bytes) -> bytes:
    at = len(raw) // 2
    if not raw:
        return b"\x01"
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def test_positions_that_no_leaf_can_have_are_refused(packed: Packed, tmp_path: Path) -> None:
    """No hash covers them: one of 0 once made an instance as if it had never begun."""
    doctored = Doctored(packed.of_payer, tmp_path / "doctored")
    lines = doctored.lines(EVENTS)
    start = next(line["position"] for line in lines if line["topic"] == "instance-started")
    for line in lines:
        line["position"] -= start
    doctored.write_lines(EVENTS, lines)
    doctored.seal()
    assert "is out of order: its position is" in verified(
        doctored.folder, packed.keys, code=NOT_PROVED
    )


class TestWhatIsGiven:
    def test_is_proved(self, packed: Packed) -> None:
        told = verified(packed.everything, packed.keys)
        assert "all there are" in told
        told = verified(packed.of_payer, packed.keys)
        assert "each in its place" in told
        assert f"entries of {packed.payer}, from " in told


class TestWhoDoesNotMendTheHashes:
    CHANGES: tuple[Callable[[bytes], bytes], ...] = (
        flipped,
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw + b"\n",
    )

    @pytest.mark.parametrize("change", CHANGES, ids=("flipped", "cut", "longer"))
    def test_is_found_in_every_file(
        self,
        packed: Packed,
        tmp_path: Path,
        verifier: ModuleType,
        change: Callable[[bytes], bytes],
    ) -> None:
        pack = Doctored(packed.everything, tmp_path / "pack")
        for name in pack.names():
            file = pack.folder / name
            whole = file.read_bytes()
            changed = change(whole)
            if changed == whole:
                continue  # half of nothing
            file.write_bytes(changed)
            code, told = outcome_of(verifier, pack.folder, packed.keys)
            # The manifest is held to the sums; one that is no JSON any more cannot be read at all.
            assert code == NOT_PROVED or (name, code) == ("manifest.json", UNREADABLE)
            assert name in told, told
            file.write_bytes(whole)
        assert PROVED == outcome_of(verifier, pack.folder, packed.keys)[0]

    def test_is_found_when_a_file_is_missing(self, packed: Packed, tmp_path: Path) -> None:
        for number, name in enumerate(Doctored(packed.of_payer, tmp_path / "first").names()):
            pack = Doctored(packed.of_payer, tmp_path / f"{number}")
            (pack.folder / name).unlink()
            code = UNREADABLE if name == "manifest.json" else NOT_PROVED
            assert f"{name}" in verified(pack.folder, packed.keys, code=code)

    def test_is_found_when_a_file_is_added(self, everything: Doctored, packed: Packed) -> None:
        (everything.folder / "shard-0" / "more.jsonl").write_bytes(b"{}\n")
        refused(everything, packed, "shard-0/more.jsonl: the manifest does not name this file")


class TestWhoMendsTheHashes:
    """Files and manifest agree with each other; the events do not lead to the head."""

    def test_a_line_is_removed(self, everything: Doctored, packed: Packed) -> None:
        lines = everything.lines(EVENTS)
        everything.write_lines(EVENTS, lines[:17] + lines[18:])
        everything.seal()
        refused(everything, packed, f"line 18 of {EVENTS} is leaf 18: leaf 17 is missing")

    def test_the_end_is_cut_off(self, everything: Doctored, packed: Packed) -> None:
        lines = everything.lines(EVENTS)
        everything.write_lines(EVENTS, lines[:-3])
        everything.seal()
        refused(everything, packed, f"{EVENTS} ends with leaf {len(lines) - 4} of {len(lines)}")

    def test_two_lines_change_places(self, of_payer: Doctored, packed: Packed) -> None:
        lines = of_payer.lines(EVENTS)
        lines[4], lines[5] = lines[5], lines[4]
        of_payer.write_lines(EVENTS, lines)
        of_payer.seal()
        refused(of_payer, packed, f"line 6 of {EVENTS} is out of order")

    def test_a_price_is_changed(self, of_payer: Doctored, packed: Packed) -> None:
        lines = of_payer.lines(EVENTS)
        number = next(n for n, line in enumerate(lines) if line["topic"] == "instance-started")
        line = lines[number]
        event = decode(line["topic"], base64.b64decode(line["state"]))
        cheaper = replace(event, rate="0.0000000001")
        of_payer.change(EVENTS, number, state=base64.b64encode(encode(cheaper)).decode())
        of_payer.seal()
        refused(
            of_payer,
            packed,
            f"{EVENTS}: the events do not lead to the head",
            f"{line['stream']} version {line['version']} was charged 0.0000000001 credits",
        )

    def test_a_time_is_changed(self, everything: Doctored, packed: Packed) -> None:
        everything.change(EVENTS, 9, recorded_ms=everything.lines(EVENTS)[9]["recorded_ms"] + 1)
        everything.seal()
        line = everything.lines(EVENTS)[9]
        refused(everything, packed, f"{line['stream']} version {line['version']} says another time")

    def test_a_hash_of_the_proof_is_changed(self, of_payer: Doctored, packed: Packed) -> None:
        proof = of_payer.folder / PROOF
        proof.write_bytes(flipped(proof.read_bytes()))
        of_payer.seal()
        refused(of_payer, packed, f"{EVENTS}: the events do not lead to the head")

    def test_the_proof_is_another_payers(
        self, of_payer: Doctored, packed: Packed, tmp_path: Path
    ) -> None:
        other = next(p for p in packed.ledger.payers() if p != packed.payer)
        pack_of([packed.ledger.reader], tmp_path / "other", payer=payer_bytes(other))
        (of_payer.folder / PROOF).write_bytes((tmp_path / "other" / PROOF).read_bytes())
        of_payer.seal()
        refused(of_payer, packed, "proof.bin")

    @pytest.mark.parametrize("count", [-1, 1])
    def test_the_proof_has_other_hashes(
        self, of_payer: Doctored, packed: Packed, count: int
    ) -> None:
        proof = of_payer.folder / PROOF
        raw = proof.read_bytes()
        proof.write_bytes(raw[:-32] if count < 0 else raw + raw[-32:])
        of_payer.seal()
        refused(of_payer, packed, "proof.bin has too " + ("few" if count < 0 else "many"))


class TestHeads:
    def resigned(self, note: str, *, key: Ed25519PrivateKey | None = None, size: int = 0) -> str:
        told = parse_note(note)
        checkpoint = told.checkpoint
        if size:
            checkpoint = checkpoint._replace(size=size)
        return signed_note(
            checkpoint, told.signatures[0].key_name, key or Ed25519PrivateKey.generate()
        )

    @pytest.mark.parametrize("number", [0, 1])
    def test_a_forged_one(self, of_payer: Doctored, packed: Packed, number: int) -> None:
        forged = self.resigned(of_payer.lines(HEADS)[number]["note"])
        of_payer.change(HEADS, number, note=forged)
        if number == 0:
            (shard,) = of_payer.manifest.shards
            of_payer.seal(shards=[replace(shard, head=forged)])
        else:
            of_payer.seal()
        refused(of_payer, packed, "the signature of key 'test-key' does not hold")

    def test_another_than_the_manifest_has(self, everything: Doctored, packed: Packed) -> None:
        lines = everything.lines(HEADS)
        everything.write_lines(HEADS, [lines[1], lines[0], *lines[2:]])
        everything.seal()
        refused(everything, packed, f"{HEADS} does not begin with the head in manifest.json")

    def test_a_consistency_that_does_not_hold(self, of_payer: Doctored, packed: Packed) -> None:
        hashes = of_payer.lines(HEADS)[1]["consistency"]
        of_payer.change(HEADS, 1, consistency=[*hashes[:-1], hashes[0]])
        of_payer.seal()
        refused(of_payer, packed, "the proof leads to other roots")

    def test_one_without_a_proof(self, of_payer: Doctored, packed: Packed) -> None:
        of_payer.change(HEADS, 1, consistency=[])
        of_payer.seal()
        refused(of_payer, packed, "nothing shows that the head of")

    def test_a_list_without_the_key(self, packed: Packed, tmp_path: Path) -> None:
        keys = tmp_path / "keys.json"
        keys.write_text('{"format": "usage-ledger-keys-1", "keys": []}')
        told = verified(packed.of_payer, keys, code=NOT_PROVED)
        assert "key 'test-key' is not in the list of keys" in told

    def test_one_that_was_kept_of_another_log(self, packed: Packed, tmp_path: Path) -> None:
        first = Doctored(packed.everything, tmp_path / "pack").lines(HEADS)[1]["note"]
        checkpoint = parse_note(first).checkpoint._replace(root=bytes(32))
        kept = tmp_path / "kept"
        kept.write_text(packed.signing.note(checkpoint))
        told = verified(packed.everything, packed.keys, "--kept", kept, code=NOT_PROVED)
        assert f"there are two trees of {checkpoint.size} events with different roots" in told
        kept.write_text(first)
        verified(packed.everything, packed.keys, "--kept", kept)


class TestWhatIsToldOfTheEvents:
    @pytest.mark.parametrize("name", ["entries.jsonl", "payers.jsonl", "prices.jsonl"])
    def test_a_row_is_changed(self, of_payer: Doctored, packed: Packed, name: str) -> None:
        field = {"entries.jsonl": "credit_cents", "payers.jsonl": "balance_cents"}.get(name)
        changed: dict[str, Any] = {field: 1} if field else {"credits_per_minute": "0.1"}
        of_payer.change(name, 0, **changed)
        of_payer.seal()
        refused(of_payer, packed, f"{name}:", "1", "but the events lead to")

    @pytest.mark.parametrize("name", ["entries", "prices"])
    def test_a_table_is_changed(self, of_payer: Doctored, packed: Packed, name: str) -> None:
        table = of_payer.folder / f"{name}.csv"
        lines = table.read_text().splitlines(keepends=True)
        lines[1] = lines[1].replace("0", "7", 1)
        table.write_text("".join(lines))
        of_payer.seal()
        refused(of_payer, packed, f"{name}.csv: row 1: ", "but the events lead to")

    @pytest.mark.parametrize("name", ["entries", "prices", "shard-0/events"])
    def test_parquet_is_another_ones(self, of_payer: Doctored, packed: Packed, name: str) -> None:
        other = packed.everything / f"{name}.parquet"
        if name == "prices":  # everybody's are the same
            other = packed.everything / "entries.parquet"
        (of_payer.folder / f"{name}.parquet").write_bytes(other.read_bytes())
        of_payer.seal()
        what = "its columns are" if name == "prices" else "row"
        refused(of_payer, packed, f"{name}.parquet: {what}")

    @pytest.mark.parametrize("name", ["entries.jsonl", "payers.jsonl"])
    def test_a_row_is_left_out(self, everything: Doctored, packed: Packed, name: str) -> None:
        everything.write_lines(name, everything.lines(name)[:-1])
        everything.seal()
        refused(everything, packed, f"{name}:", "is missing")

    def test_totals_are_changed(self, of_payer: Doctored, packed: Packed) -> None:
        totals = of_payer.manifest.totals
        of_payer.seal(totals=replace(totals, carried_cents=0))
        refused(of_payer, packed, "manifest.json: its totals are")

    def test_personal_fields_are_changed(self, everything: Doctored, packed: Packed) -> None:
        name = "shard-0/personal.jsonl"
        line = everything.lines(name)[0]
        everything.change(name, 0, fields=line["fields"][:-4] + "AAAA")
        everything.seal()
        refused(everything, packed, f"{name}: line 1 is not what its event commits to")


class TestADishonestExporter:
    """The ledger's own side leaves events out, and proves the rest with its own tree."""

    def left_out(self, pack: Doctored, packed: Packed, *leaves: int) -> None:
        lines = [line for line in pack.lines(EVENTS) if line["leaf"] not in leaves]
        proved_anew(pack, packed, lines)

    def test_an_event_inside_a_stream(self, of_payer: Doctored, packed: Packed) -> None:
        lines = of_payer.lines(EVENTS)
        later = {line["stream"] for line in lines if line["version"] == 2}
        line = next(
            line for line in lines
            if line["version"] == 1 and line["stream"] in later
            and line["topic"].startswith("instance-")
        )  # fmt: skip
        self.left_out(of_payer, packed, line["leaf"])
        told = refused(of_payer, packed, f"{line['stream']} version 1 is missing")
        assert "each in its place" in told  # nothing is wrong with what is shown

    def test_a_stream_of_a_cycle_that_was_closed(self, of_payer: Doctored, packed: Packed) -> None:
        lines = of_payer.lines(EVENTS)
        last_close = max(line["leaf"] for line in lines if line["topic"] == "billing-cycle-closed")
        line = next(
            line for line in lines
            if line["topic"] == "credit-note-issued" and line["leaf"] < last_close
            and sum(other["stream"] == line["stream"] for other in lines) == 1
        )  # fmt: skip
        self.left_out(of_payer, packed, line["leaf"])
        refused(of_payer, packed, "had a balance of", "but its events lead to")

    def test_a_part_of_everything(self, everything: Doctored, packed: Packed) -> None:
        self.left_out(everything, packed, 30)
        refused(everything, packed, "leaf 30 is missing")
