"""What `usage-ledger projections` does: generations built beside the service, and promoted."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli.configuration import read
from cli.exits import FAILED, OK, REJECTED, CommandFailed
from cli.garbage import collect_garbage_rarely
from cli.json_form import encode
from cli.progress import counting
from cli.tables import note, print_table
from events.readable import time_text
from ledger.errors import LedgerError
from ledger.failpoints import failpoint_of_environment
from ledger.operator import operator
from ledger.rebuilding.building import Builder
from ledger.rebuilding.promoting import Outcome
from ledger.rebuilding.shards import (
    ShardGenerations,
    accepting,
    build_all,
    builders,
    drop_all,
    look,
    promote_all,
    roll_back_all,
)
from ledger.settings import Settings
from persistence import StoreError
from projections import VERSION


def show(config: Path | None, data_dir: Path | None, *, as_json: bool) -> int:
    """Every generation of every shard."""
    with told():
        shards = look(_settings(config, data_dir))
    if as_json:
        _print_json({"version": VERSION, "shards": [_plain(shard) for shard in shards]})
        return OK
    rows = [row for shard in shards for row in _rows(shard)]
    columns: tuple[str, ...] = (
        "shard",
        ">generation",
        ">version",
        "state",
        ">position",
        "compared",
        "differences",
    )
    print_table("", columns, rows)
    promotions = [
        (
            str(shard.shard),
            time_text(each.promoted_at),
            str(each.generation),
            each.author or "-",
            each.accepted or "-",
        )
        for shard in shards
        for each in shard.promotions
    ]
    columns = ("shard", "when (UTC)", ">generation", "by", "accepted")
    print_table("Promotions", columns, promotions)
    return OK


def rebuild(
    config: Path | None, data_dir: Path | None, *, promotes: bool, if_needed: bool, as_json: bool
) -> int:
    """Builds the next generation of every shard and compares it."""
    if if_needed:
        with told():
            shards = look(_settings(config, data_dir))
        if all(VERSION in shard.served for shard in shards):
            if as_json:
                _print_json({"shards": []})
            else:
                note(f"Nothing to do: version {VERSION} of the folds serves a generation.")
            return OK
    with _working(config, data_dir) as made:
        outcomes = build_all(made)
        if promotes and not any(outcome.refused for outcome in outcomes.values()):
            outcomes = promote_all(made, [])
    return _tell(outcomes, len(made), wanted=promotes, as_json=as_json)


def promote(
    config: Path | None, data_dir: Path | None, *, accepted: list[str], as_json: bool
) -> int:
    """Serves the newest generation of every shard, unless a number differs."""
    with _working(config, data_dir) as made:
        outcomes = promote_all(made, accepted)
    return _tell(outcomes, len(made), wanted=True, as_json=as_json)


def roll_back(config: Path | None, data_dir: Path | None) -> int:
    """Serves the generation that was served before."""
    with _working(config, data_dir) as made:
        for shard, number in roll_back_all(made):
            note(f"{_where(shard, len(made))}generation {number} is served again.")
    return OK


def drop(number: int, config: Path | None, data_dir: Path | None, *, force: bool) -> int:
    """Forgets the rows of a generation."""
    with _working(config, data_dir) as made:
        for shard in drop_all(made, number, force=force):
            note(f"{_where(shard, len(made))}generation {number} is dropped.")
    return OK


@contextmanager
def _working(config: Path | None, data_dir: Path | None) -> Iterator[list[Builder]]:
    """Claims every shard's generations, draws the bar, and tells what goes wrong."""
    settings = _settings(config, data_dir)
    collect_garbage_rarely()
    with told(), counting() as advance:

        def progressed(shard: int, what: str, done: int, of: int) -> None:
            advance(f"{_where(shard, settings.shard_count)}{what}", done, of)

        with builders(
            settings,
            author=operator(),
            progressed=progressed,
            failpoint=failpoint_of_environment(),
        ) as made:
            yield made


@contextmanager
def told() -> Iterator[None]:
    """Turns what goes wrong into the sentence that the command ends with."""
    try:
        yield
    except (LedgerError, StoreError) as error:
        raise CommandFailed(str(error), exit_code=FAILED) from None
    except KeyboardInterrupt:
        raise CommandFailed(
            "Interrupted: what was folded stays, and the same command goes on.", exit_code=FAILED
        ) from None


def _settings(config: Path | None, data_dir: Path | None) -> Settings:
    return read(config, {"data_dir": data_dir}).settings


def _where(shard: int, of: int) -> str:
    return f"shard {shard}: " if of > 1 else ""


def _tell(outcomes: dict[int, Outcome], shards: int, *, wanted: bool, as_json: bool) -> int:
    """Say what was compared and promoted; `wanted`: it was to be promoted."""
    if as_json:
        _print_json({"shards": [_outcome(shard, one) for shard, one in outcomes.items()]})
    else:
        for shard, outcome in outcomes.items():
            _say(_where(shard, shards), outcome, wanted=wanted)
    return REJECTED if any(outcome.refused for outcome in outcomes.values()) else OK


def _say(where: str, outcome: Outcome, *, wanted: bool) -> None:
    comparison = outcome.comparison
    note(
        f"{where}generation {outcome.generation} was compared with generation {outcome.served} at"
        f" position {comparison.position:,}: {sum(comparison.rows.values()):,} rows of"
        f" {len(comparison.rows)} tables."
    )
    for reason in comparison.not_compared:
        note(f"    not compared: {reason}")
    for kind, count in sorted(comparison.kinds.items()):
        accepted = "" if kind in outcome.refused or not wanted else ", which is meant"
        note(f"  {kind}: {count:,} rows differ{accepted}")
        for example in comparison.examples.get(kind, ()):
            note(f"    {example}")
    if outcome.promoted:
        note(f"{where}generation {outcome.generation} is served.")
    elif outcome.refused:
        note(
            f"{where}a number differs, so nothing was promoted. If all of it is meant:\n"
            f"  usage-ledger projections promote {accepting(outcome)}"
        )
    elif wanted:
        note(f"{where}nothing was promoted, because a number differs in another shard.")
    else:
        note(f"{where}no number differs. To serve it: usage-ledger projections promote")


def _outcome(shard: int, outcome: Outcome) -> dict[str, Any]:
    comparison = outcome.comparison
    return {
        "shard": shard,
        "generation": outcome.generation,
        "compared_with": outcome.served,
        "position": comparison.position,
        "rows": dict(comparison.rows),
        "differences": dict(comparison.kinds),
        "examples": comparison.examples,
        "not_compared": comparison.not_compared,
        "promoted": outcome.promoted,
    }


def _rows(shard: ShardGenerations) -> Iterator[tuple[str, ...]]:
    for each in shard.generations:
        positions = shard.progress[each.number].standing.values()
        differences = json.loads(each.differences) if each.differences else {}
        compared = each.compared_position
        yield (
            str(shard.shard),
            str(each.number),
            str(each.version),
            _state(shard, each.number),
            f"{min(positions):,}" if positions else "-",
            "-" if compared is None else f"at {compared:,} with {each.compared_with}",
            ", ".join(f"{kind} {count:,}" for kind, count in differences.items())
            or ("-" if compared is None else "none"),
        )


def _state(shard: ShardGenerations, number: int) -> str:
    """What a generation is there for."""
    generation = next(each for each in shard.generations if each.number == number)
    if generation.dropped_at is not None:
        return "dropped"
    progress = shard.progress[number]
    paused = f", paused: {', '.join(sorted(progress.paused))}" if progress.paused else ""
    if shard.served.get(generation.version) == number:
        whose = "served" if generation.version == VERSION else "served by its version"
        return whose + paused
    if any(each.generation == number for each in shard.promotions):
        return "kept" + paused
    return "compared" if generation.compared_at is not None else "being built"


def _plain(shard: ShardGenerations) -> dict[str, Any]:
    return {
        "shard": shard.shard,
        "generations": [
            {
                "number": each.number,
                "version": each.version,
                "state": _state(shard, each.number),
                "position": min(shard.progress[each.number].standing.values(), default=None),
                "begun_by": each.begun_by or None,
                "compared_with": each.compared_with,
                "compared_position": each.compared_position,
                "differences": json.loads(each.differences) if each.differences else {},
            }
            for each in shard.generations
        ],
        "promotions": [
            {
                "generation": each.generation,
                "version": each.version,
                "time": time_text(each.promoted_at),
                "author": each.author or None,
                "accepted": each.accepted.split(",") if each.accepted else [],
            }
            for each in shard.promotions
        ],
    }


def _print_json(value: dict[str, Any]) -> None:
    sys.stdout.write(f"{encode(value, indent=2)}\n")
