"""Why a number is what it is: asked, opened further, printed as a tree or as JSON."""

import sys
from collections.abc import Callable
from typing import Any

from cli.connection import READ_SECONDS, Services, connected
from cli.exits import OK
from cli.json_form import encode, plain
from cli.pages import PAGE_SIZE_MAX
from cli.why_tree import lines_of
from usage_ledger.v1 import audit_why_pb2 as pb

Ask = Callable[[Services], Any]


def explain_balance(payer: str, *, page_size: int, **shown: Any) -> int:
    """What a payer owes."""
    request = pb.ExplainBalanceRequest(attribution_id=payer, page_size=page_size)
    return _show(lambda on: on.audit.ExplainBalance(request, timeout=READ_SECONDS), **shown)


def explain_entry(entry: str, *, payer: str, page_size: int, **shown: Any) -> int:
    """One entry of a payer by its ID."""
    request = pb.ExplainEntryRequest(attribution_id=payer, entry_id=entry, page_size=page_size)
    return _show(lambda on: on.audit.ExplainEntry(request, timeout=READ_SECONDS), **shown)


def explain_instance(instance: str, *, payer: str, page_size: int, **shown: Any) -> int:
    """The entry of an instance."""
    request = pb.ExplainEntryRequest(
        attribution_id=payer, workspace_instance_id=instance, page_size=page_size
    )
    return _show(lambda on: on.audit.ExplainEntry(request, timeout=READ_SECONDS), **shown)


def explain_draft_line(
    payer: str,
    workspace_class: str,
    *,
    late_for: int | None,
    cycle: int | None,
    page_size: int,
    **shown: Any,
) -> int:
    """A line of an invoice draft, or of a closed cycle."""
    request = pb.ExplainDraftLineRequest(
        attribution_id=payer,
        workspace_class=workspace_class,
        late_for=late_for,
        cycle_number=cycle,
        page_size=page_size,
    )
    return _show(lambda on: on.audit.ExplainDraftLine(request, timeout=READ_SECONDS), **shown)


def explain_invoice(invoice: str, *, page_size: int, **shown: Any) -> int:
    """A settled invoice of Stripe's."""
    request = pb.ExplainInvoiceRequest(invoice_id=invoice, page_size=page_size)
    return _show(lambda on: on.audit.ExplainInvoice(request, timeout=READ_SECONDS), **shown)


def explain_more(cursor: str, *, page_size: int, **shown: Any) -> int:
    """The parts of a number that an answer before left closed."""
    request = pb.ExplainPartsRequest(cursor=cursor, page_size=page_size)
    return _show(lambda on: on.audit.ExplainParts(request, timeout=READ_SECONDS), **shown)


def _show(ask: Ask, *, every_part: bool, target: str, as_json: bool) -> int:
    with connected(target) as services:
        explanation = ask(services).explanation
        if every_part:
            _open(services, explanation.number)
    if as_json:
        sys.stdout.write(f"{encode({'explanation': plain(explanation)}, indent=2)}\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in lines_of(explanation))
    return OK


def _open(services: Services, number: pb.ExplainedNumber) -> None:
    """Opens what an answer left closed, to the last part."""
    while number.cursor:
        request = pb.ExplainPartsRequest(cursor=number.cursor, page_size=PAGE_SIZE_MAX)
        page = services.audit.ExplainParts(request, timeout=READ_SECONDS).explanation.number
        number.parts.extend(page.parts)
        number.cursor = page.cursor
    for part in (*number.parts, *number.beside):
        _open(services, part)
