"""`usage-ledger migrate`: applies, tells or finishes the migrations of every shard."""

import sys
from pathlib import Path
from typing import Any

from cli.configuration import read
from cli.exits import FAILED, OK, CommandFailed
from cli.json_form import encode
from cli.tables import print_table
from ledger.errors import StartRefused
from ledger.migrating import ShardSchema, finish, migrate, schemas
from ledger.operator import operator
from ledger.settings import Settings


def run(
    config: Path | None, options: dict[str, Any], *, check: bool, finishes: bool, as_json: bool
) -> int:
    """Answers the exit code: with `check` a failure while something is missing."""
    settings = read(config, options).settings
    try:
        if check:
            return _tell(schemas(settings), as_json=as_json)
        changed = (finish if finishes else migrate)(settings, operator())
        return _tell_changes(settings, changed, "finished" if finishes else "applied", as_json)
    except StartRefused as refusal:
        raise CommandFailed(str(refusal), exit_code=FAILED) from None


def _tell(looked: list[ShardSchema], *, as_json: bool) -> int:
    lacking = any(schema.missing or schema.indexes for schema in looked)
    if as_json:
        shards = [
            {
                "shard": schema.shard,
                "migrations": [
                    {
                        "number": row.number,
                        "note": row.note,
                        "applied": row.applied_at is not None,
                        "finished": row.finished_at is not None,
                    }
                    for row in schema.migrations
                ],
                "missing_indexes": list(schema.indexes),
            }
            for schema in looked
        ]
        _print_json({"shards": shards})
    else:
        rows = [
            (str(schema.shard), str(row.number), row.note, _state(schema, row.number))
            for schema in looked
            for row in schema.migrations
        ]
        print_table("", ("shard", ">migration", "note", "state"), rows)
        for schema in looked:
            for index in schema.indexes:
                sys.stdout.write(f"shard {schema.shard}: index {index} is missing\n")
    return FAILED if lacking else OK


def _state(schema: ShardSchema, number: int) -> str:
    if number in {row.number for row in schema.missing}:
        return "missing"
    unfinished = number in {row.number for row in schema.unfinished}
    return "applied, not finished" if unfinished else "finished"


def _tell_changes(settings: Settings, changed: list[ShardSchema], done: str, as_json: bool) -> int:
    if as_json:
        shards = [
            {"shard": schema.shard, done: [row.number for row in schema.migrations]}
            for schema in changed
        ]
        _print_json({"shards": shards})
        return OK
    for schema in changed:
        for row in schema.migrations:
            sys.stdout.write(f"shard {schema.shard}: {done} migration {row.number}, {row.note}\n")
        for index in schema.indexes:
            sys.stdout.write(f"shard {schema.shard}: made index {index}\n")
    if not any(schema.migrations or schema.indexes for schema in changed):
        sys.stdout.write(f"Nothing to do: every migration is {done}.\n")
    if any(schema.unfinished for schema in schemas(settings)):
        sys.stdout.write(
            "Once every role runs this version: `usage-ledger migrate --finish`. Until then no"
            " newer form of an event is written.\n"
        )
    return OK


def _print_json(answer: dict[str, Any]) -> None:
    sys.stdout.write(f"{encode(answer, indent=2)}\n")
