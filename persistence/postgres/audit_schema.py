"""The tables of the PostgreSQL store that auditors need, as migration 5 made them.

A table that has been made is never edited here: a change is a new migration in `migrations.py`.
"""

from __future__ import annotations

# How entries stood before, so that an answer can be given as of an older state of the log. It is
# part of the read model: new columns of older tables are filled when the log is folded anew.
VERSIONS = """
CREATE TABLE reconciles (position bigint PRIMARY KEY, instant bigint NOT NULL);
CREATE TABLE entry_versions (
    start_position bigint NOT NULL,
    payer bytea NOT NULL,
    effective bigint,
    entry_id bytea NOT NULL,
    "user" bytea NOT NULL,
    instance bytea NOT NULL,
    workspace_class text COLLATE "C" NOT NULL,
    workspace_type text COLLATE "C" NOT NULL,
    workspace_id text COLLATE "C" NOT NULL,
    creation bigint,
    started bigint,
    stopping bigint,
    stopped bigint,
    rate text COLLATE "C" NOT NULL,
    cents bigint NOT NULL,
    seconds bigint NOT NULL,
    draft bigint NOT NULL,
    ended_position bigint NOT NULL,
    changed_position bigint NOT NULL,
    final_position bigint NOT NULL,
    known_to bigint NOT NULL,
    PRIMARY KEY (payer, known_to)
);
CREATE TABLE voids (
    payer bytea NOT NULL,
    position bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    entry_id bytea NOT NULL,
    instance bytea NOT NULL,
    "user" bytea NOT NULL,
    effective bigint,
    cents bigint NOT NULL,
    made_position bigint NOT NULL,
    PRIMARY KEY (payer, position)
);
CREATE TABLE cycle_voided_notes (
    payer bytea NOT NULL,
    number bigint NOT NULL,
    late_for bigint NOT NULL,
    count bigint NOT NULL,
    cents bigint NOT NULL,
    PRIMARY KEY (payer, number, late_for)
)
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
    payer bytea NOT NULL,
    position bigint NOT NULL,
    sums bytea NOT NULL,
    PRIMARY KEY (payer, position)
);
CREATE TABLE sealed_sums (
    payer bytea NOT NULL,
    level bigint NOT NULL,
    bucket bigint NOT NULL,
    position bigint NOT NULL,
    sums bytea NOT NULL,
    PRIMARY KEY (payer, level, bucket, position)
);
CREATE TABLE sealed_spans (
    payer bytea NOT NULL,
    axis bigint NOT NULL,
    node bigint NOT NULL,
    upper bigint NOT NULL,
    lower bigint NOT NULL,
    start_position bigint NOT NULL,
    changed_position bigint NOT NULL,
    known_to bigint NOT NULL,
    entry_id bytea NOT NULL,
    "user" bytea NOT NULL,
    workspace_class text COLLATE "C" NOT NULL,
    rate text COLLATE "C" NOT NULL,
    started bigint NOT NULL,
    PRIMARY KEY (payer, axis, node, upper, start_position, changed_position)
);
CREATE INDEX sealed_spans_by_lower ON sealed_spans (payer, axis, node, lower)
"""
# What a ledger lacks because the pack that it was taken over from did not have it.
PACKS = """
CREATE TABLE taken_over (
    one bigint PRIMARY KEY CHECK (one = 1),
    personal_left_through bigint NOT NULL
)
"""
COLUMNS = """
ALTER TABLE corrections ADD COLUMN effective bigint NOT NULL DEFAULT 0;
ALTER TABLE entries ADD COLUMN changed_position bigint NOT NULL DEFAULT 0;
ALTER TABLE entries ADD COLUMN final_position bigint NOT NULL DEFAULT 0;
CREATE INDEX entries_by_change ON entries (payer, changed_position)
"""
# Under which source and id an event was published is asked by its position. It is made behind the
# migrations, while events are taken in: what was published may be much.
WHY_INDEX = "inbox_by_position"
WHY = f"{WHY_INDEX} ON inbox (position)"
