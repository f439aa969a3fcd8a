"""What counts no more: voiding instances and credit notes, and the list of what was voided."""

from cli.connection import READ_SECONDS, WRITE_SECONDS, connected
from cli.exits import OK
from cli.pages import show_listing, walk
from cli.payers import entry_kind_text
from cli.tables import note
from cli.values import credits_text, time_text
from usage_ledger.v1 import audit_corrections_pb2 as corrections


def void_instance(instance: str, *, payer: str, reason: str, target: str) -> int:
    """Lets nothing count that is recorded of an instance."""
    request = corrections.VoidInstanceRequest(
        workspace_instance_id=instance, attribution_id=payer, reason=reason
    )
    with connected(target) as services:
        answer = services.audit.VoidInstance(request, timeout=WRITE_SECONDS)
    note(f"{instance} counts no more for {answer.attribution_id}; its ID is free.")
    return OK


def void_credit_note(payer: str, entry: str, *, reason: str, target: str) -> int:
    """Lets a credit note not count."""
    request = corrections.VoidCreditNoteRequest(attribution_id=payer, entry_id=entry, reason=reason)
    with connected(target) as services:
        services.audit.VoidCreditNote(request, timeout=WRITE_SECONDS)
    note(f"Credit note {entry} counts no more for {payer}.")
    return OK


def list_voids(
    payer: str, *, page_size: int, cursor: str, every_page: bool, target: str, as_json: bool
) -> int:
    """What was voided of a payer."""
    with connected(target) as services:

        def ask(size: int, after: str) -> tuple[list[corrections.VoidedEntry], str]:
            request = corrections.ListVoidsRequest(
                attribution_id=payer, page_size=size, cursor=after
            )
            answer = services.audit.ListVoids(request, timeout=READ_SECONDS)
            return list(answer.voids), answer.next_cursor

        show_listing(
            walk(ask, page_size=page_size, cursor=cursor, every_page=every_page),
            key="voids",
            columns=("voided (UTC)", "by", "kind", "was dated (UTC)", ">credits", "what", "why"),
            row=_void_row,
            as_json=as_json,
        )
    return OK


def _void_row(void: corrections.VoidedEntry) -> tuple[str, ...]:
    dated = void.effective_time if void.HasField("effective_time") else None
    return (
        time_text(void.recorded),
        void.author,
        entry_kind_text(void.kind),
        time_text(dated),
        credits_text(void.credit_cents),
        void.workspace_instance_id or void.entry_id,
        void.reason,
    )
