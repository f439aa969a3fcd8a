"""`usage-ledger replay`: the log folded into a fresh file, and compared with the live rows."""

import sys
from pathlib import Path
from typing import Any

from cli.configuration import read
from cli.exits import OK, REJECTED, USAGE, CommandFailed
from cli.garbage import collect_garbage_rarely
from cli.json_form import encode
from cli.progress import counting
from cli.projections import told
from cli.tables import note
from cli.values import credits_text
from ledger.failpoints import failpoint_of_environment
from ledger.identifiers import parse_payer
from ledger.rebuilding.comparing import Comparison, Difference
from ledger.rebuilding.replaying import Wanted
from ledger.rebuilding.replays import Asked, Replayed, replays


def run(
    config: Path | None,
    data_dir: Path | None,
    *,
    payer: str,
    first: int,
    last: int | None,
    into: Path | None,
    compares: bool,
    as_json: bool,
) -> int:
    """Folds, compares if it is wanted, and tells; answers the exit code."""
    settings = read(config, {"data_dir": data_dir}).settings
    asked = Asked(Wanted(_payer(payer), first, last), into, compares)
    differing: list[str] = []

    def differs(difference: Difference) -> None:
        if as_json:
            differing.append(difference.text)
        else:
            note(f"✗ {difference.text}")

    collect_garbage_rarely()
    found: list[Replayed] = []
    with told(), counting() as advance:

        def progressed(shard: int, what: str, done: int, of: int) -> None:
            where = f"shard {shard}: " if settings.shard_count > 1 else ""
            advance(f"{where}{what}", done, of)

        done = replays(
            settings,
            asked,
            progressed=progressed,
            differs=differs,
            failpoint=failpoint_of_environment(),
        )
        for one in done:
            found.append(one)
            if not as_json:
                _say(one, asked, shards=settings.shard_count)
    if as_json:
        shards = [_plain(one) for one in found]
        sys.stdout.write(f"{encode({'shards': shards, 'differing': differing}, indent=2)}\n")
    differ = any(one.comparison is not None and one.comparison.kinds for one in found)
    return REJECTED if differ else OK


def _payer(text: str) -> bytes:
    if not text:
        return b""
    payer = parse_payer(text)
    if payer is None:
        raise CommandFailed(
            f"--payer {text!r} is no attribution ID, such as"
            " team:0b1f6f6e-6d0c-5a52-9d2b-0d1c6f1f8a11.",
            exit_code=USAGE,
        )
    return payer


def _say(one: Replayed, asked: Asked, *, shards: int) -> None:
    where = f"shard {one.shard}: " if shards > 1 else ""
    rate = f", {one.folded / one.seconds:,.0f}/s" if one.seconds and one.folded else ""
    note(
        f"{where}{one.folded:,} events folded up to position {one.position:,} in"
        f" {one.seconds:,.1f} s{rate}"
    )
    if asked.into is not None:
        note(f"{where}the rows lie in {one.folder / 'ledger.db'}")
    if one.balance_cents is not None:
        note(f"{where}the payer owes {credits_text(one.balance_cents)} credits")
    if one.comparison is not None:
        _say_compared(where, one.comparison)


def _say_compared(where: str, comparison: Comparison) -> None:
    for reason in comparison.not_compared:
        note(f"{where}not compared: {reason}")
    for kind, count in sorted(comparison.kinds.items()):
        note(f"{where}{kind}: {count:,} rows differ")
    rows = sum(comparison.rows.values())
    if comparison.kinds:
        note(f"{where}✗ of {rows:,} rows of {len(comparison.rows)} tables some differ")
    else:
        note(f"{where}✓ {rows:,} rows of {len(comparison.rows)} tables are those of the live ones")


def _plain(one: Replayed) -> dict[str, Any]:
    comparison = one.comparison
    plain: dict[str, Any] = {
        "shard": one.shard,
        "position": one.position,
        "folded": one.folded,
        "seconds": round(one.seconds, 3),
    }
    if one.balance_cents is not None:
        plain["balance_cents"] = one.balance_cents
    if comparison is not None:
        plain["rows"] = dict(comparison.rows)
        plain["differences"] = dict(comparison.kinds)
        plain["not_compared"] = comparison.not_compared
    return plain
