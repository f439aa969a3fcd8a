"""A ledger with a tree and heads, packs of it, and those who check them."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow import parquet

from events import InvoiceCorrected, InvoiceSettled, recorded_time
from events.readable import uuid_text
from ledger import commands
from ledger.audit.following import leaves_of
from ledger.audit.keys import read_key_list
from ledger.audit.leaves import leaf_of
from ledger.audit.notes import Checkpoint
from ledger.audit.packs.exporting import Exported, Wanted, export
from ledger.audit.packs.importing import import_pack
from ledger.audit.packs.layout import (
    MANIFEST,
    SUMS,
    File,
    Manifest,
    Totals,
    manifest_bytes,
    read_manifest,
    sums_bytes,
)
from ledger.audit.packs.multiproof import gap_subtrees
from ledger.audit.packs.reading import Pack
from ledger.audit.tiles import Edge
from ledger.commands.imports import Importing, read_import_lines
from ledger.group import Group
from ledger.stores import OpenStore
from persistence import TREE_TAIL, Head, Reader, WritableStore
from persistence.sqlite import SQLiteReader, SQLiteStore
from tests.laws.acts import payer_bytes
from tests.laws.adapter import ProductLedger
from tests.oracle.events import named_uuid, payer_of
from tests.oracle.synthetic import START_S, synthetic_lines
from tests.proofs import naive
from tests.proofs.scene import Signing
from tests.stored import ledgers
from tests.views.openings import block_of, entry_line

VERIFIER = Path(__file__).parents[2] / "clients" / "verifier" / "usage_ledger_verify.py"
ORIGIN = "usage-ledger/0d5a1c3e-6c1f-4f6e-8b1c-2f6b8c1d9e42"
PROVED, NOT_PROVED, UNREADABLE = 0, 1, 2
KILLED = -9
MADE_BY = "usage-ledger test"


def sign(store: WritableStore, reader: Reader, signing: Signing, *, shard: int = 0) -> Head:
    """Let the tree take in the whole log and sign a head of it, as follower and job do."""
    with store.transaction() as transaction:
        origin = transaction.tree.name(f"{ORIGIN}/{shard}")
        state = transaction.tree.state()
    log = reader.log(after=0, limit=1_000_000)
    new = log[state.size :]
    edge, _ = Edge(0, {}).grown(
        leaves_of(log[: state.size]), [each.position for each in log[: state.size]]
    )
    grown, tiles = edge.grown(leaves_of(new), [each.position for each in new])
    newest = reader.tree.newest_head()
    recorded_at = recorded_time(log[-1].state)
    head = Head(
        1 if newest is None else newest.number + 1,
        grown.size,
        grown.root(),
        recorded_at,
        recorded_at,
        signing.keys.keys[-1].name,
        "somebody",
        signing.note(Checkpoint(origin, grown.size, grown.root(), recorded_at)),
    )
    with store.transaction() as transaction:
        if new:
            transaction.tree.resize(expected=state.size, size=grown.size)
            position = log[state.size - 1].position if state.size else 0
            transaction.advance_tail(TREE_TAIL, expected=position, position=new[-1].position)
            transaction.tree.put(tiles)
        transaction.tree.add_head(head)
    return head


def pack_of(
    readers: Sequence[Reader], target: Path, *, archive: bool = False, **wanted: Any
) -> Exported:
    # Nobody pulls the plug of a test.
    return export(
        readers, Wanted(**wanted), target, made_by=MADE_BY, archive=archive, durable=False
    )


def verified(
    pack: Path, keys: Path, *more: str | Path, code: int = PROVED, program: str = ""
) -> str:
    """Run the verifier as an auditor does, with no line of the product to be found.

    `program`: what Python runs it by, if not as it is.
    """
    # -I: nothing of this folder, of PYTHONPATH or of the user is on its path.
    by = ["-c", program] if program else []
    command = [sys.executable, "-I", *by, VERIFIER, "pack", pack, "--keys", keys, *more]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=100)
    assert "Traceback" not in ran.stderr, ran.stderr
    assert code == ran.returncode, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def outcome_of(verifier: ModuleType, pack: Path, keys: Path) -> tuple[int, str]:
    """What the verifier says of a pack in this process, and its exit code."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = verifier.main(["pack", str(pack), "--keys", str(keys)])
    return code, out.getvalue()


def usage_ledger(*arguments: str | Path, failpoint: str = "", **more: str) -> int:
    """Run a command as a process of its own; give its exit code."""
    environment = {**os.environ, "USAGE_LEDGER_FAILPOINT": failpoint, **more}
    command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
    return subprocess.run(command, env=environment, check=False, timeout=100).returncode


class Doctored:
    """A copy of a pack that somebody changes, who may be clever enough to mend its hashes."""

    def __init__(self, pack: Path, folder: Path) -> None:
        shutil.copytree(pack, folder)
        self.folder = folder

    def names(self) -> list[str]:
        """Every file."""
        files = (each for each in self.folder.rglob("*") if each.is_file())
        return sorted(each.relative_to(self.folder).as_posix() for each in files)

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / name).read_bytes().splitlines()]

    def write_lines(self, name: str, lines: Sequence[dict[str, Any]]) -> None:
        text = "".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines)
        (self.folder / name).write_text(text)

    def change(self, name: str, number: int, **fields: Any) -> None:
        """Change a row of a file of JSON lines."""
        lines = self.lines(name)
        lines[number] |= fields
        self.write_lines(name, lines)

    @property
    def manifest(self) -> Manifest:
        return read_manifest((self.folder / MANIFEST).read_bytes())

    def seal(self, **changed: Any) -> None:
        """Let the manifest name the files as they are now, and the sums the manifest."""
        manifest = msgspec.structs.replace(self.manifest, **changed)
        (self.folder / MANIFEST).write_bytes(manifest_bytes(manifest))
        there = [each for each in manifest.files if (self.folder / each.name).exists()]
        self.name_files([self._file(each) for each in there])

    def name_files(self, files: Sequence[File]) -> None:
        """Let the manifest say this of the files, and the sums what the manifest says."""
        told = manifest_bytes(msgspec.structs.replace(self.manifest, files=list(files)))
        (self.folder / MANIFEST).write_bytes(told)
        digest = hashlib.sha256(told).hexdigest()
        (self.folder / SUMS).write_bytes(sums_bytes(list(files), digest))

    def _file(self, told: File) -> File:
        raw = (self.folder / told.name).read_bytes()
        rows = raw.count(b"\n") if told.name.endswith(".jsonl") else told.rows
        return File(told.name, len(raw), hashlib.sha256(raw).hexdigest(), rows)


def proved_anew(pack: Doctored, packed: Packed, lines: Sequence[dict[str, Any]]) -> None:
    """Show only these events, and prove them by the ledger's own tree."""
    pack.write_lines("shard-0/events.jsonl", lines)
    log = packed.ledger.reader.log(after=0, limit=1_000_000)
    hashed = [leaf_of(event) for event in log]
    hashes, at = [], 0
    for leaf in (*(line["leaf"] for line in lines), len(log)):
        for height, number in gap_subtrees(at, leaf):
            begin = number << height
            hashes.append(naive.root(hashed[begin : begin + (1 << height)]))
        at = leaf + 1
    (pack.folder / "shard-0/proof.bin").write_bytes(b"".join(hashes))
    (shard,) = pack.manifest.shards
    pack.seal(shards=[msgspec.structs.replace(shard, events=len(lines))])


def told_anew(pack: Doctored, verifier: ModuleType) -> None:
    """Tell what follows from the events that are shown, as the verifier itself computes it."""
    manifest = json.loads((pack.folder / MANIFEST).read_bytes())
    report, opened = verifier.Report(), verifier.Pack(pack.folder)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        kept = verifier.Kept([], [])
        proof = verifier.ShardProof(opened, manifest, manifest["shards"][0], kept, report)
        fold = verifier.Fold(manifest, 0, report, folder)
        with contextlib.closing(fold):
            proof.events(fold.keep)
            fold.fold()
            entries, prices = list(fold.entries()), list(verifier.price_rows(fold.prices))
            events = list(fold.event_rows())
            payers = [
                account.told(0, payer)
                for payer, account in sorted(fold.accounts.items())
                if fold.is_wanted(payer)
            ]
    for name, rows in (("entries", entries), ("prices", prices)):
        pack.write_lines(f"{name}.jsonl", rows)
        columns = verifier.ENTRY_COLUMNS if name == "entries" else verifier.PRICE_COLUMNS
        lines = verifier.csv_lines(columns, rows)
        (pack.folder / f"{name}.csv").write_bytes(b"".join(lines))
        _write_parquet(pack.folder / f"{name}.parquet", rows)
    _write_parquet(
        pack.folder / "shard-0/events.parquet",
        [row | {"fields": json.dumps(row["fields"])} for row in events],
    )
    pack.write_lines("payers.jsonl", payers)
    names = ("carried_cents", "period_cents", "later_cents", "balance_cents")
    sums = {name: sum(payer[name] for payer in payers) for name in names}
    totals = Totals(len(payers), sum(payer["period_entries"] for payer in payers), **sums)
    pack.seal(totals=totals)
    rows_of = {"entries": len(entries), "prices": len(prices), "shard-0/events": len(events)}
    rows_of["shard-0/proof"] = (pack.folder / "shard-0/proof.bin").stat().st_size // 32
    pack.name_files(
        [
            msgspec.structs.replace(file, rows=rows_of[file.name.rpartition(".")[0]])
            if file.name.endswith((".csv", ".parquet", ".bin"))
            else file
            for file in pack.manifest.files
        ]
    )


def _write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    schema = parquet.read_schema(path)
    told = [
        {field.name: _parquet_value(field.type, row[field.name]) for field in schema}
        for row in rows
    ]
    parquet.write_table(pa.Table.from_pylist(told, schema), path, compression="zstd")


def _parquet_value(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    if pa.types.is_timestamp(kind):
        return dt.datetime.fromisoformat(value)
    return base64.b64decode(value) if pa.types.is_binary(kind) else value


@contextlib.contextmanager
def taken_over(path: Path, packed: Packed) -> Iterator[None]:
    """A pack in an empty ledger."""
    with tempfile.TemporaryDirectory() as folder, closing(SQLiteStore(Path(folder))) as store:
        with closing(Pack(path)) as pack:
            opened = OpenStore(store, lambda: SQLiteReader(store))
            import_pack(pack, read_key_list(packed.keys), [opened])
        yield


def with_checksum(header: bytes) -> bytes:
    """Mend the header of a file in an archive."""
    counted = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(counted) + header[156:]


class Packed:
    """A ledger, and packs of it: of everything, and of the payer with the most entries."""

    def __init__(self, folder: Path, signing: Signing, ledger: ProductLedger) -> None:
        self.folder = folder
        self.signing = signing
        self.ledger = ledger
        self.everything = folder / "everything"
        self.of_payer = folder / "of-payer"
        self.begin = (START_S + 40 * 86_400) * 1_000

    @property
    def payer(self) -> str:
        return max(self.ledger.payers(), key=lambda payer: len(self.ledger.entries(payer)))

    @property
    def keys(self) -> Path:
        return self.signing.keys_file

    def import_some(self) -> None:
        """Take over an invoice and a credit note of each payer, before it lives here."""
        self.ledger.clock.set_ns(START_S * ledgers.NS)
        told = synthetic_lines(
            ledgers.SEED, ledgers.INSTANCES, ledgers.PAYERS, days=ledgers.DAYS, running_share=0.1
        )
        payers = {json.loads(line)["data"]["attributionId"] for line in told}
        lines = [
            entry_line(name, kind, payer, cents, START_S * 1_000)
            for payer in sorted({*payers, payer_of("old"), payer_of("older")})
            for name, kind, cents in (
                (imported_note(payer), "credit_note", -700),
                (named_uuid("invoice", payer), "invoice", -1_100),
            )
        ]
        importing = Importing("entries", 500, lambda email: email)
        self.ledger.run(
            lambda group: commands.take_import(
                group, read_import_lines("entries", block_of(lines), 1), importing
            )
        )

    def void_some(self) -> None:
        """Void of each payer an instance, a credit note of its own and an imported one."""
        for payer in self.ledger.payers():
            key = payer_bytes(payer)
            instances = [each.instance_id for each in self.ledger.entries(payer)]
            for instance_id in list(filter(None, instances))[:1]:
                self._run(
                    commands.void_instance, instance_id=instance_id, reason="wrong", payer=key
                )
            rows = self.ledger.reader.others_after(key, key=None, ascending=True, limit=100)
            notes = [uuid_text(row.entry_id) for row in rows if row.kind == "credit_note"]
            imported = imported_note(payer)
            for entry_id in (*[each for each in notes if each != imported][:1], imported):
                self._run(commands.void_credit_note, payer=key, entry_id=entry_id, reason="wrong")

    def settle(self) -> None:
        """Record what Stripe had invoiced of each payer, and that a part of it was taken back."""
        settle(self.ledger, 1)

    def _run(self, command: Any, **arguments: Any) -> None:
        answers = self.ledger.run(lambda group: command(group, **arguments))
        assert not isinstance(answers[0], str), answers


def imported_note(payer: str) -> str:
    """Name the credit note of a payer that came from another ledger, and is voided."""
    return named_uuid("voided note", payer)


def settle(ledger: ProductLedger, turn: int) -> None:
    """Record an invoice of Stripe for each payer, voided there, which was undone."""
    for number, payer in enumerate(ledger.payers()):
        name, key = f"in_{turn}_{number}", payer_bytes(payer)

        def act(group: Group, *, name: str = name, key: bytes = key, cents: int = number) -> None:
            stream, now = f"invoice:{name}", group.recorded_at
            settled = InvoiceSettled(now, "test", key, name, "c", "s", -700 * cents, now, now, now)
            group.append(stream, 1, settled)
            for version, (cause, back) in enumerate((("voided", 200), ("undone:voided", -150)), 2):
                corrected = InvoiceCorrected(now, "test", key, name, cause, back * cents, now)
                group.append(stream, version, corrected)

        ledger.run(act)
