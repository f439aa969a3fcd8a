"""Credit notes that are added by call."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from events import CreditNoteIssued
from events.readable import attribution_id, uuid_bytes, uuid_text
from ledger.arrivals import INT32_MAX, INT32_MIN
from ledger.errors import AlreadyExistsError, InvalidArgumentError
from ledger.group import Group
from ledger.identifiers import parse_payer, parse_uuid

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
