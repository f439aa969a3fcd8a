"""The tables of the read model, by projection; what a rebuild compares."""

from __future__ import annotations

TABLES = {
    "instances": (
        *("accrual", "open_instances", "entries", "accruals", "other_entries"),
        *("reconciles", "entry_versions", "voids"),
    ),
    "usage-totals": ("rollups",),
    "balances": ("balances",),
    "invoice-drafts": (
        *("open_cycles", "closed_cycles", "cycle_lines", "cycle_bases", "corrections"),
        "cycle_voided_notes",
    ),
    "cost-centers": ("cost_centers",),
    "clock": ("clock",),
    "billing": (
        "billing_accounts",
        "billing_reporting",
        "billing_reported",
        "billing_reports",
        "billing_invoices",
        "billing_books",
    ),
}

# Sums of entries, which a follower of the log keeps. Each generation has its own; nobody compares
# them, and without them answers are only slower.
SEALED_TABLES = ("sealed_blocks", "sealed_sums", "sealed_spans")

# What billing keeps beside the log: no fold writes it, and a rebuild leaves it alone.
BILLING_NOTES = ("webhooks", "billing_troubles", "billing_run")

# Which rows are a payer's, in tables that do not say so themselves.
OF_A_PAYER = {
    "corrections": "start_position IN (SELECT start_position FROM entries WHERE payer = ?"
    " UNION SELECT start_position FROM open_instances WHERE payer = ?"
    " UNION SELECT start_position FROM entry_versions WHERE payer = ?)",
}
