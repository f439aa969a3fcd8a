"""The tables of the SQLite store that auditors need, as migration 5 made them.

A table that has been made is never edited here: a change is a new migration in `migrations.py`.
"""

from __future__ import annotations

# How entries stood before, so that an answer can be given as of an older state of the log. It is
# part of the read model: new columns of older tables are filled when the log is folded anew.
VERSIONS = """
ALTER TABLE entries ADD COLUMN changed_position INTEGER NOT NULL DEFAULT 0;
ALTER TABLE entries ADD COLUMN final_position INTEGER NOT NULL DEFAULT 0;
CREATE INDEX entries_by_change ON entries (payer, changed_position);
ALTER TABLE corrections ADD COLUMN effective INTEGER NOT NULL DEFAULT 0;
CREATE TABLE reconciles (position INTEGER PRIMARY KEY, instant INTEGER NOT NULL);
CREATE TABLE entry_versions (
    start_position INTEGER NOT NULL,
    payer BLOB NOT NULL,
    effective INTEGER,
    entry_id BLOB NOT NULL,
    user BLOB NOT NULL,
    instance BLOB NOT NULL,
    workspace_class TEXT NOT NULL,
    workspace_type TEXT NOT NULL,
    workspace_id TEXT NOT NULL,
    creation INTEGER,
    started INTEGER,
    stopping INTEGER,
    stopped INTEGER,
    rate TEXT NOT NULL,
    cents INTEGER NOT NULL,
    seconds INTEGER NOT NULL,
    draft INTEGER NOT NULL,
    ended_position INTEGER NOT NULL,
    changed_position INTEGER NOT NULL,
    final_position INTEGER NOT NULL,
    known_to INTEGER NOT NULL,
    PRIMARY KEY (payer, known_to)
) WITHOUT ROWID;
CREATE TABLE voids (
    payer BLOB NOT NULL,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    entry_id BLOB NOT NULL,
    instance BLOB NOT NULL,
    user BLOB NOT NULL,
    effective INTEGER,
    cents INTEGER NOT NULL,
    made_position INTEGER NOT NULL,
    PRIMARY KEY (payer, position)
) WITHOUT ROWID;
CREATE TABLE cycle_voided_notes (
    payer BLOB NOT NULL,
    number INTEGER NOT NULL,
    late_for INTEGER NOT NULL,
    count INTEGER NOT NULL,
    cents INTEGER NOT NULL,
    PRIMARY KEY (payer, number, late_for)
) WITHOUT ROWID;
"""

# Ways to the states of entries by what auditors ask for, and sums of them that a follower of the
# log keeps. No answer depends on those: without them it is only slower.
CLOCKS = """
CREATE INDEX entry_versions_by_date ON entry_versions (payer, effective, entry_id);
CREATE INDEX entry_versions_by_change ON entry_versions (payer, changed_position);
CREATE INDEX entry_versions_by_start ON entry_versions (start_position);
CREATE INDEX other_entries_by_position ON other_entries (payer, position);
CREATE INDEX voids_by_note ON voids (payer, made_position);
CREATE INDEX voids_by_date ON voids (payer, effective, entry_id) WHERE kind = 'credit_note';
CREATE TABLE sealed_blocks (
    payer BLOB NOT NULL,
    position INTEGER NOT NULL,
    sums BLOB NOT NULL,
    PRIMARY KEY (payer, position)
) WITHOUT ROWID;
CREATE TABLE sealed_sums (
    payer BLOB NOT NULL,
    level INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    position INTEGER NOT NULL,
    sums BLOB NOT NULL,
    PRIMARY KEY (payer, level, bucket, position)
) WITHOUT ROWID;
CREATE TABLE sealed_spans (
    payer BLOB NOT NULL,
    axis INTEGER NOT NULL,
    node INTEGER NOT NULL,
    upper INTEGER NOT NULL,
    lower INTEGER NOT NULL,
    start_position INTEGER NOT NULL,
    changed_position INTEGER NOT NULL,
    known_to INTEGER NOT NULL,
    entry_id BLOB NOT NULL,
    user BLOB NOT NULL,
    workspace_class TEXT NOT NULL,
    rate TEXT NOT NULL,
    started INTEGER NOT NULL,
    PRIMARY KEY (payer, axis, node, upper, start_position, changed_position)
) WITHOUT ROWID;
CREATE INDEX sealed_spans_by_lower ON sealed_spans (payer, axis, node, lower)
"""
# What a ledger lacks because the pack that it was taken over from did not have it.
PACKS = """
CREATE TABLE taken_over (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    personal_left_through INTEGER NOT NULL
)
"""
# Under which source and id an event was published is asked by its position.
WHY = "CREATE INDEX inbox_by_position ON inbox (position)"
