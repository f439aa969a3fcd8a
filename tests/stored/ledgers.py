"""Whole ledgers as older versions left them, with what they answered then.

Run as a module it records one of today's schema, if there is none. A ledger of an older schema is
recorded by that version's own code: copy this file into its tree.
"""

from __future__ import annotations

import json
import lzma
import random
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ledger import commands
from ledger.commands.imports import Importing, read_import_lines
from persistence.sqlite import FILE_NAME
from persistence.sqlite.migrations import SCHEMA_VERSION
from tests.laws.adapter import ProductLedger
from tests.oracle import DEFAULT_RATES
from tests.oracle.events import credit_note_event, line_of, payer_of
from tests.oracle.operations import (
    AddCreditNote,
    EndInstance,
    GetCostCenter,
    Operation,
    Publish,
    PublishPrices,
    Reconcile,
    ResetUsage,
    SetCostCenter,
)
from tests.oracle.synthetic import START_S, synthetic_lines
from tests.views.openings import seeded_opening

FOLDER = Path(__file__).parent / "ledgers"
SEED = 20_261_101
INSTANCES, PAYERS, STEPS, DAYS = 90, 4, 24, 70
NS, DAY_NS = 1_000_000_000, 86_400 * 1_000_000_000
STRATEGIES = ("OTHER", "STRIPE")


def paths_of(schema: int) -> tuple[Path, Path]:
    """Where the file is, and where what it answered."""
    return FOLDER / f"schema-{schema}.db.xz", FOLDER / f"schema-{schema}.json"


def tell(ledger: ProductLedger) -> None:
    """An import, then ten weeks with stops out of order and late, ends, notes, limits, resets."""
    rng = random.Random(SEED)
    lines = list(synthetic_lines(SEED, INSTANCES, PAYERS, days=DAYS, running_share=0.1))
    start_ns = START_S * NS
    ledger.apply(PublishPrices(at_ns=start_ns, revision=1, rates=tuple(DEFAULT_RATES.items())))
    opening = seeded_opening(rng, [payer_of("old"), payer_of("older")], START_S * 1_000)
    importing = Importing("old", 500, lambda email: email)
    ledger.run(
        lambda group: commands.take_import(
            group, read_import_lines("import", opening, 1), importing
        )
    )
    size = -(-len(lines) // STEPS)
    late: list[bytes] = []
    for step in range(STEPS):
        at_ns = start_ns + (step + 1) * DAYS * DAY_NS // STEPS + rng.randrange(10_000_000)
        fresh = lines[step * size : (step + 1) * size]
        held_back = {line for line in fresh if rng.random() < 0.2}
        told = [line for line in fresh if line not in held_back] + late
        late = sorted(held_back)
        told += rng.sample(told, len(told) // 10)
        rng.shuffle(told)
        payers = [line[(at := line.index(b'"team:') + 1) : at + 41].decode() for line in told]
        told.append(_note(rng, step, rng.choice(payers), at_ns))
        ledger.apply(Publish(at_ns=at_ns, lines=tuple(told)))
        for operation in _more(rng, ledger, step, payers, at_ns):
            ledger.apply(operation)
    ledger.apply(Publish(at_ns=at_ns, lines=tuple(late)))


def _note(rng: random.Random, step: int, payer: str, at_ns: int) -> bytes:
    credits_given = rng.randint(-30, 30)
    return line_of(
        credit_note_event(
            at_ns - DAY_NS, payer=payer, credits_given=credits_given, event_id=f"note {step}"
        )
    )


def _more(
    rng: random.Random, ledger: ProductLedger, step: int, payers: Sequence[str], at_ns: int
) -> list[Operation]:
    payer = rng.choice(payers)
    found: list[Operation] = [
        Reconcile(at_ns=at_ns),
        GetCostCenter(at_ns=at_ns, payer=payer),
        ResetUsage(at_ns=at_ns),
        AddCreditNote(
            at_ns=at_ns,
            payer=rng.choice(payers),
            credits_given=rng.randint(-9, 9),
            description="sorry",
            idempotency_key=f"{step}",
        ),
    ]
    if step % 5 == 4:
        strategy = rng.choice(STRATEGIES)
        limit = rng.choice((0, 5, 500))
        found.append(
            SetCostCenter(at_ns=at_ns, payer=payer, spending_limit=limit, strategy=strategy)  # type: ignore[arg-type]  # one of the two
        )
    if step % 4 == 3:
        instance, started = rng.choice(
            ledger.select("SELECT instance, started FROM entries WHERE started IS NOT NULL")
        )
        ended_ms = min(started + rng.randint(0, 9_000_000), at_ns // 1_000_000)
        name = bytes(instance).hex()
        found.append(EndInstance(at_ns=at_ns, instance_id=name, ended_ns=ended_ms * 1_000_000))
    if step == STEPS // 2:
        found.append(PublishPrices(at_ns=at_ns, revision=2, rates=(("default", "0.2"),)))
    return found


def answers_of(ledger: ProductLedger) -> dict[str, Any]:
    """What a ledger answers of each payer, as JSON has it."""
    return {
        payer: {
            "balance_cents": ledger.balance_cents(payer),
            "entries": [_plain(entry) for entry in ledger.entries(payer)],
            "cost_center": _plain(ledger.cost_center(payer)),
            "drafts": [_plain(draft) for draft in ledger.drafts(payer)],
        }
        for payer in ledger.payers()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value


def without_news(told: Any, then: Any) -> Any:
    """Leave out of an answer the fields that there were not yet in an older one."""
    if isinstance(then, dict) and isinstance(told, dict):
        return {name: without_news(told[name], then[name]) for name in told if name in then}
    if isinstance(then, list) and isinstance(told, list) and len(then) == len(told):
        return [without_news(one, other) for one, other in zip(told, then, strict=True)]
    return told


def recorded() -> list[int]:
    """The schemas of which there is a ledger."""
    return sorted(int(path.stem.removeprefix("schema-")) for path in FOLDER.glob("*.json"))


def unpack(schema: int, folder: Path) -> dict[str, Any]:
    """Put the file into a folder; give what it answered."""
    file, answers = paths_of(schema)
    (folder / FILE_NAME).write_bytes(lzma.decompress(file.read_bytes()))
    found: dict[str, Any] = json.loads(answers.read_text(encoding="utf-8"))
    return found


def record() -> str:
    """Record a ledger of today's schema unless there is one."""
    file, answers = paths_of(SCHEMA_VERSION)
    if file.exists():
        return f"{file.name} is there"
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        with closing(ProductLedger(Path(name))) as ledger:
            tell(ledger)
            text = json.dumps(answers_of(ledger), ensure_ascii=False)
        with closing(sqlite3.connect(Path(name) / FILE_NAME)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            database.execute("VACUUM")
        file.write_bytes(lzma.compress((Path(name) / FILE_NAME).read_bytes(), preset=9))
    answers.write_text(text + "\n", encoding="utf-8")
    return f"recorded {file.name}"


if __name__ == "__main__":
    sys.stdout.write(f"{record()}\n")
