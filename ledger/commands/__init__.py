"""The use cases that write: each decides inside the writer's transaction and fits on a screen."""

from ledger.commands.cost_centers import (
    Terms,
    due_cost_centers,
    open_cost_center,
    reset_cost_center,
    set_cost_center,
    terms_of,
)
from ledger.commands.credit_notes import add_credit_note, check_credit_note
from ledger.commands.imports import decide_import, read_import_lines, take_import
from ledger.commands.instances import end_instance
from ledger.commands.ledger import confirm_clock, publish_prices, reconcile_usage

__all__ = [
    "Terms",
    "add_credit_note",
    "check_credit_note",
    "confirm_clock",
    "decide_import",
    "due_cost_centers",
    "end_instance",
    "open_cost_center",
    "publish_prices",
    "read_import_lines",
    "reconcile_usage",
    "reset_cost_center",
    "set_cost_center",
    "take_import",
    "terms_of",
]
