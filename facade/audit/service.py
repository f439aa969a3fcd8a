"""AuditService, put together from its parts."""

from __future__ import annotations

from facade.audit import clocks, corrections, erasure, proofs, why
from facade.boundary import Calls
from ledger.application import Ledger


def handler(ledger: Ledger) -> Calls:
    """Give the service's calls."""
    return Calls(
        "usage_ledger.v1.AuditService",
        {
            **clocks.methods(ledger),
            **corrections.methods(ledger),
            **erasure.methods(ledger),
            **proofs.methods(ledger),
            **why.methods(ledger),
        },
    )
