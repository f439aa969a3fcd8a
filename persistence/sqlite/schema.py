"""The tables of the SQLite store, as its migrations made them.

A table that has been made is never edited here: a change is a new migration in `migrations.py`.
"""

from __future__ import annotations

APPLICATION_ID = 0x55534C47  # "USLG": tells our files from other SQLite files

# The position is declared, because VACUUM may renumber an implicit rowid.
LOG = """
CREATE TABLE stored_events (
    position INTEGER PRIMARY KEY,
    originator_id TEXT NOT NULL,
    originator_version INTEGER NOT NULL,
    topic TEXT NOT NULL,
    state BLOB NOT NULL,
    UNIQUE (originator_id, originator_version)
)
"""

INTAKE = """
CREATE TABLE sources (number INTEGER PRIMARY KEY, source TEXT NOT NULL UNIQUE);
CREATE TABLE inbox (
    source INTEGER NOT NULL,
    event_key BLOB NOT NULL,
    digest BLOB NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (source, event_key)
) WITHOUT ROWID;
CREATE TABLE personal (position INTEGER PRIMARY KEY, salt BLOB NOT NULL, fields BLOB NOT NULL);
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    received INTEGER NOT NULL DEFAULT 0,
    recorded INTEGER NOT NULL DEFAULT 0,
    repeated INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BLOB NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    delivery INTEGER NOT NULL,
    line INTEGER NOT NULL,
    reason TEXT NOT NULL,
    original BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    first_rejected INTEGER NOT NULL,
    last_rejected INTEGER NOT NULL,
    times INTEGER NOT NULL
);
CREATE TABLE jobs (
    name TEXT PRIMARY KEY,
    last_started INTEGER,
    last_finished INTEGER,
    last_error TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE projections (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    paused_at INTEGER,
    paused_reason TEXT
) WITHOUT ROWID;
"""

READ_MODEL = """
CREATE TABLE accrual (one INTEGER PRIMARY KEY CHECK (one = 1), instant INTEGER, position INTEGER);
CREATE TABLE open_instances (
    payer BLOB NOT NULL,
    entry_id BLOB NOT NULL,
    instance BLOB NOT NULL,
    user BLOB NOT NULL,
    workspace_class TEXT NOT NULL,
    workspace_type TEXT NOT NULL,
    workspace_id TEXT NOT NULL,
    creation INTEGER,
    started INTEGER,
    stopping INTEGER,
    stopped INTEGER,
    rate TEXT NOT NULL,
    start_position INTEGER NOT NULL,
    heard_at INTEGER NOT NULL,
    PRIMARY KEY (payer, entry_id)
) WITHOUT ROWID;
CREATE TABLE entries (
    start_position INTEGER PRIMARY KEY,
    payer BLOB NOT NULL,
    effective INTEGER NOT NULL,
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
    ended_position INTEGER NOT NULL
);
CREATE INDEX entries_by_payer ON entries (payer, effective, entry_id, cents);
CREATE INDEX entries_by_user ON entries (payer, user, effective, entry_id, cents) WHERE user <> x'';
CREATE TABLE accruals (
    payer BLOB NOT NULL,
    user BLOB NOT NULL,
    workspace_class TEXT NOT NULL,
    count INTEGER NOT NULL,
    cents INTEGER NOT NULL,
    seconds INTEGER NOT NULL,
    PRIMARY KEY (payer, user, workspace_class)
) WITHOUT ROWID;
CREATE TABLE other_entries (
    payer BLOB NOT NULL,
    effective INTEGER NOT NULL,
    entry_id BLOB NOT NULL,
    kind TEXT NOT NULL,
    cents INTEGER NOT NULL,
    user BLOB NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (payer, effective, entry_id)
) WITHOUT ROWID;
CREATE TABLE rollups (
    payer BLOB NOT NULL,
    user BLOB NOT NULL,
    unit INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    count INTEGER NOT NULL,
    cents INTEGER NOT NULL,
    PRIMARY KEY (payer, user, unit, bucket)
) WITHOUT ROWID;
CREATE TABLE balances (
    payer BLOB PRIMARY KEY,
    entries INTEGER NOT NULL,
    booked_cents INTEGER NOT NULL,
    running_cents INTEGER NOT NULL,
    live_events INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE cost_centers (
    payer BLOB PRIMARY KEY,
    spending_limit INTEGER NOT NULL,
    strategy TEXT NOT NULL,
    cycle_number INTEGER NOT NULL,
    cycle_start INTEGER NOT NULL,
    next_billing INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX cost_centers_due ON cost_centers (strategy, next_billing);
CREATE TABLE open_cycles (
    payer BLOB PRIMARY KEY,
    number INTEGER NOT NULL,
    start INTEGER,
    opened_position INTEGER NOT NULL,
    accrued_to INTEGER,
    accrual_position INTEGER NOT NULL,
    carried_cents INTEGER NOT NULL,
    note_count INTEGER NOT NULL,
    note_cents INTEGER NOT NULL,
    invoice_count INTEGER NOT NULL,
    invoice_cents INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE closed_cycles (
    payer BLOB NOT NULL,
    number INTEGER NOT NULL,
    start INTEGER,
    opened_position INTEGER NOT NULL,
    accrued_to INTEGER,
    accrual_position INTEGER NOT NULL,
    carried_cents INTEGER NOT NULL,
    note_count INTEGER NOT NULL,
    note_cents INTEGER NOT NULL,
    invoice_count INTEGER NOT NULL,
    invoice_cents INTEGER NOT NULL,
    closed_position INTEGER NOT NULL,
    PRIMARY KEY (payer, number)
) WITHOUT ROWID;
CREATE TABLE cycle_lines (
    payer BLOB NOT NULL,
    number INTEGER NOT NULL,
    workspace_class TEXT NOT NULL,
    late_for INTEGER NOT NULL,
    count INTEGER NOT NULL,
    cents INTEGER NOT NULL,
    seconds INTEGER NOT NULL,
    PRIMARY KEY (payer, number, workspace_class, late_for)
) WITHOUT ROWID;
CREATE TABLE cycle_bases (
    payer BLOB NOT NULL,
    workspace_class TEXT NOT NULL,
    count INTEGER NOT NULL,
    cents INTEGER NOT NULL,
    seconds INTEGER NOT NULL,
    PRIMARY KEY (payer, workspace_class)
) WITHOUT ROWID;
CREATE TABLE corrections (
    start_position INTEGER NOT NULL,
    number INTEGER NOT NULL,
    cents INTEGER NOT NULL,
    seconds INTEGER NOT NULL,
    PRIMARY KEY (start_position, number)
) WITHOUT ROWID;
CREATE TABLE clock (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    newest_recorded INTEGER NOT NULL,
    suspect_since INTEGER,
    agreed_at INTEGER
);
"""

BILLING = """
CREATE TABLE billing_accounts (
    payer BLOB PRIMARY KEY,
    state TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    subscription_id TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    holds INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX billing_accounts_by_state ON billing_accounts (state, payer);
CREATE INDEX billing_accounts_billed ON billing_accounts (payer)
    WHERE (state NOT IN ('', 'customer') OR subscription_id <> '' OR holds > 0);
CREATE INDEX billing_accounts_subscribed ON billing_accounts (payer) WHERE subscription_id <> '';
CREATE TABLE billing_reporting (
    payer BLOB PRIMARY KEY,
    unsettled_cents INTEGER NOT NULL,
    invoiced_cents INTEGER NOT NULL,
    requested_credits INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE billing_reported (
    subscription_id TEXT PRIMARY KEY,
    payer BLOB NOT NULL,
    seq INTEGER NOT NULL,
    requested_credits INTEGER NOT NULL,
    settled_cents INTEGER NOT NULL,
    waiting INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX billing_reported_unsettled ON billing_reported (payer)
    WHERE (settled_cents <> 100 * requested_credits OR waiting > 0);
CREATE TABLE billing_reports (
    subscription_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    payer BLOB NOT NULL,
    delta INTEGER NOT NULL,
    cumulative INTEGER NOT NULL,
    customer_id TEXT NOT NULL,
    event_name TEXT NOT NULL,
    identifier TEXT NOT NULL,
    state TEXT NOT NULL,
    stamped INTEGER,
    requested_at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (subscription_id, seq)
) WITHOUT ROWID;
CREATE INDEX billing_reports_unresolved ON billing_reports (payer, seq, subscription_id)
    WHERE state IN ('waiting', 'stamped', 'refused');
CREATE INDEX billing_reports_open ON billing_reports (subscription_id, seq)
    WHERE state IN ('waiting', 'stamped', 'refused');
CREATE INDEX billing_reports_stamped ON billing_reports (subscription_id, stamped);
CREATE TABLE billing_invoices (
    invoice_id TEXT PRIMARY KEY,
    payer BLOB NOT NULL,
    subscription_id TEXT NOT NULL,
    credit_cents INTEGER NOT NULL,
    corrected_cents INTEGER NOT NULL,
    finalized_at INTEGER NOT NULL,
    period_start INTEGER NOT NULL,
    period_end INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX billing_invoices_by_payer ON billing_invoices (payer, finalized_at, invoice_id);
CREATE TABLE billing_books (
    subscription_id TEXT NOT NULL,
    period_start INTEGER NOT NULL,
    period_end INTEGER NOT NULL,
    payer BLOB NOT NULL,
    invoice_id TEXT NOT NULL,
    sent_credits INTEGER NOT NULL,
    invoiced_credits INTEGER NOT NULL,
    shortfall_credits INTEGER NOT NULL,
    PRIMARY KEY (subscription_id, period_start)
) WITHOUT ROWID;
CREATE INDEX billing_books_by_payer ON billing_books (payer, period_start, subscription_id);
CREATE INDEX cost_centers_of_stripe ON cost_centers (payer) WHERE strategy = 'stripe';
CREATE TABLE webhooks (
    event_id TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    object_id TEXT NOT NULL,
    created INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    detail TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    tried_at INTEGER NOT NULL,
    error TEXT NOT NULL,
    hopeless_since INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX webhooks_by_time ON webhooks (received_at, event_id);
CREATE INDEX webhooks_by_state ON webhooks (state, received_at, event_id);
CREATE TABLE billing_troubles (
    payer BLOB PRIMARY KEY,
    reason TEXT NOT NULL,
    since INTEGER NOT NULL,
    tried_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE billing_run (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    done INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    error TEXT NOT NULL,
    succeeded_at INTEGER NOT NULL
);
"""

TREE = """
CREATE TABLE tree (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    origin TEXT NOT NULL,
    size INTEGER NOT NULL,
    fault TEXT NOT NULL
);
CREATE TABLE tree_tiles (
    level INTEGER NOT NULL,
    number INTEGER NOT NULL,
    first_position INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (level, number)
);
CREATE INDEX tree_tiles_by_position ON tree_tiles (first_position) WHERE level = 0;
CREATE TABLE tree_heads (
    number INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    recorded_at INTEGER NOT NULL,
    signed_at INTEGER NOT NULL,
    key_name TEXT NOT NULL,
    author TEXT NOT NULL,
    note TEXT NOT NULL
);
CREATE INDEX tree_heads_by_size ON tree_heads (size, number);
"""

# `IF NOT EXISTS`: a newer program may have built a generation beside an older one that still runs.
GENERATIONS = """
CREATE TABLE IF NOT EXISTS generations (
    number INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    structure TEXT,
    begun_at INTEGER NOT NULL,
    begun_by TEXT NOT NULL,
    compared_at INTEGER,
    compared_with INTEGER,
    compared_position INTEGER,
    differences TEXT NOT NULL,
    dropped_at INTEGER
);
CREATE TABLE IF NOT EXISTS promotions (
    number INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL,
    version INTEGER NOT NULL,
    promoted_at INTEGER NOT NULL,
    author TEXT NOT NULL,
    accepted TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS served (
    version INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL,
    coming INTEGER
);
CREATE TABLE IF NOT EXISTS acts (
    number INTEGER PRIMARY KEY,
    done_at INTEGER NOT NULL,
    author TEXT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL
);
"""

ERASURES = """
CREATE TABLE erasures (
    user BLOB PRIMARY KEY,
    number INTEGER NOT NULL,
    position INTEGER NOT NULL,
    looked_at INTEGER NOT NULL,
    letters_through INTEGER NOT NULL,
    letter INTEGER NOT NULL,
    personal_rows INTEGER NOT NULL,
    dead_letters INTEGER NOT NULL,
    texts BLOB NOT NULL,
    state TEXT NOT NULL
) WITHOUT ROWID;
"""
