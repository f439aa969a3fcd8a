"""Credit notes: added by call, and voided."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from events import CreditNoteIssued, CreditNoteVoided, decode
from events.readable import attribution_id, time_text, uuid_bytes, uuid_text
from ledger.arrivals import INT32_MAX, INT32_MIN
from ledger.commands.instances import check_reason
from ledger.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from ledger.group import Group
from ledger.identifiers import parse_payer, parse_uuid
from persistence import StreamEvent
from projections import OtherEntry

DESCRIPTION_CHARS_MAX = 255  # the contract's limit
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class CreditNote(NamedTuple):
    """A checked request."""

    payer: bytes
    credits: int
    description: str
    user: bytes
    key: str | None  # idempotency key


def check_credit_note(
    attribution: str, credits: int, description: str, user_id: str, idempotency_key: str | None
) -> CreditNote:
    """Check a request, in the contract's order."""
    payer = payer_of(attribution)
    description = description.strip()
    if not description:
        raise InvalidArgumentError("description is blank: say what the credits are for")
    if len(description) > DESCRIPTION_CHARS_MAX:
        raise InvalidArgumentError(
            f"description of {len(description)} characters: at most {DESCRIPTION_CHARS_MAX}"
        )
    user = b""
    if user_id:
        parsed = parse_uuid(user_id)
        if parsed is None:
            raise InvalidArgumentError(f"user_id {user_id[:80]!r}: must be a UUID or empty")
        user = uuid_bytes(parsed)
    if not INT32_MIN <= credits <= INT32_MAX:
        raise InvalidArgumentError(
            f"credits {credits}: must be between {INT32_MIN} and {INT32_MAX}"
        )
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        raise InvalidArgumentError(
            f"metadata idempotency-key of {len(idempotency_key)} characters:"
            " must be 1 to 255 visible ASCII characters"
        )
    return CreditNote(payer, credits, description, user, idempotency_key)


def payer_of(attribution: str, *, field: str = "attribution_id") -> bytes:
    """Read an attribution ID or say what is wrong with it."""
    payer = parse_payer(attribution)
    if payer is None:
        raise InvalidArgumentError(f"{field} {attribution[:80]!r}: must be team:<uuid>")
    return payer


def add_credit_note(group: Group, note: CreditNote) -> None:
    """Record a credit note; the same idempotency key with the same content is the same note."""
    name = f"key:{note.key}" if note.key else "call:" + uuid_text(group.context.entropy(16))
    stream = f"credit-note:{attribution_id(note.payer)}:{name}"
    fields = group.pack((note.description,))
    if note.key is not None:
        recorded = group.stream(stream)
        if recorded:
            group.flush()  # so that the personal row of a note in this group can be compared
            _same_note(group, note, recorded[0].event, recorded[0].position, fields)
            return
    salt, commitment = group.commit_to(fields)
    event = CreditNoteIssued(
        group.recorded_at,
        group.author,
        note.payer,
        -100 * note.credits,
        group.now,
        note.user,
        commitment,
    )
    group.keep_personal(group.append(stream, 1, event), salt, fields)


def _same_note(group: Group, note: CreditNote, event: object, position: int, fields: bytes) -> None:
    assert isinstance(event, CreditNoteIssued)
    personal = group.transaction.personal(position)
    # Once the description was erased only the rest can be compared.
    same_text = (
        personal is None or hashlib.sha256(personal.salt + fields).digest() == event.commitment
    )
    if event.credit_cents != -100 * note.credits or event.user != note.user or not same_text:
        raise AlreadyExistsError(
            f"idempotency-key {note.key!r} names another credit note of"
            f" {attribution_id(note.payer)}: send the same content, or a new key"
        )


def void_credit_note(group: Group, payer: bytes, entry_id: str, reason: str) -> int:
    """Let a credit note not count, whoever brought it; give the position."""
    check_reason(reason)
    parsed = parse_uuid(entry_id)
    if parsed is None:
        raise InvalidArgumentError(f"entry_id {entry_id[:80]!r}: must be a UUID")
    name = f"entry {parsed} of {attribution_id(payer)}"
    note = _note(group, payer, uuid_bytes(parsed), name)
    if note.kind != "credit_note":
        raise FailedPreconditionError(f"{name} is an invoice: only a credit note can be voided")
    fields = group.pack((reason,))
    salt, commitment = group.commit_to(fields)
    event = CreditNoteVoided(
        group.recorded_at,
        group.author,
        payer,
        note.entry_id,
        note.cents,
        note.effective,
        commitment,
    )
    position = group.append_next(_event_at(group, note.position).stream, event)
    group.keep_personal(position, salt, fields)
    return position


def _note(group: Group, payer: bytes, entry_id: bytes, name: str) -> OtherEntry:
    """Find an entry by the rows, which hold everything before this command."""
    group.fold()
    if "instances" in group.paused:
        raise UnavailableError(
            f"voids of credit notes wait: projection 'instances' is paused at position"
            f" {group.paused['instances'].position}; see `usage-ledger status`"
        )
    found = group.transaction.other_entry_of(payer, entry_id)
    if found is not None:
        return found
    voided = group.transaction.void_of(payer, entry_id)
    if voided is None:
        raise NotFoundError(f"{name}: there is no such credit note")
    stored = _event_at(group, voided)
    event = decode(stored.topic, stored.state)
    raise FailedPreconditionError(
        f"{name} is void already, by {event.author} at {time_text(event.recorded_at)}"
    )


def _event_at(group: Group, position: int) -> StreamEvent:
    (stored,) = group.transaction.log(after=position - 1, limit=1)
    return stored
