"""The tables of the read model, by projection; what a rebuild compares."""

from __future__ import annotations

TABLES = {
    "instances": ("accrual", "open_instances", "entries", "accruals", "other_entries"),
    "usage-totals": ("rollups",),
    "balances": ("balances",),
    "invoice-drafts": ("open_cycles", "closed_cycles", "cycle_lines", "cycle_bases", "corrections"),
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

# What billing keeps beside the log: no fold writes it, and a rebuild leaves it alone.
BILLING_NOTES = ("webhooks", "billing_troubles", "billing_run")
