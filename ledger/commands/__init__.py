"""The use cases that write: each decides inside the writer's transaction and fits on a screen."""

from ledger.commands.cost_centers import (
    Terms,
    claim,
    due_cost_centers,
    open_cost_center,
    reset_cost_center,
    set_cost_center,
    terms_of,
)
from ledger.commands.credit_notes import add_credit_note, check_credit_note, void_credit_note
from ledger.commands.erasures import (
    begin_erasure,
    end_erasure,
    erase_letters,
    erase_rows,
    finish_erasure,
    request_erasure,
)
from ledger.commands.imports import (
    claim_unclaimed,
    claims_of_first_member,
    decide_import,
    payer_of_import,
    payers_with_free_credit,
    read_import_lines,
    take_import,
)
from ledger.commands.instances import end_instance, void_instance
from ledger.commands.ledger import confirm_clock, publish_prices, reconcile_usage

__all__ = [
    "Terms",
    "add_credit_note",
    "begin_erasure",
    "check_credit_note",
    "claim",
    "claim_unclaimed",
    "claims_of_first_member",
    "confirm_clock",
    "decide_import",
    "due_cost_centers",
    "end_erasure",
    "end_instance",
    "erase_letters",
    "erase_rows",
    "finish_erasure",
    "open_cost_center",
    "payer_of_import",
    "payers_with_free_credit",
    "publish_prices",
    "read_import_lines",
    "reconcile_usage",
    "request_erasure",
    "reset_cost_center",
    "set_cost_center",
    "take_import",
    "terms_of",
    "void_credit_note",
    "void_instance",
]
