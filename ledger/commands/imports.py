"""Taking over the state of another ledger: docs/import.md describes the lines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from aggregates import REPEATED
from events import (
    OTHER,
    STRIPE,
    CostCenterTerms,
    EntryImported,
    FreeCreditClaimed,
    LedgerEvent,
    MemberImported,
    WorkspaceInstanceImported,
    decode,
)
from events.readable import attribution_id, uuid_bytes, uuid_text
from ledger import proto_json
from ledger.arrivals import DIGEST_BYTES, EVENT_BYTES_MAX, INT32_MAX, RejectedError, event_key
from ledger.commands.cost_centers import claims_of
from ledger.group import Group
from ledger.identifiers import parse_payer, parse_time, parse_uuid
from ledger.intake import Batch, Line, Receipt, read_lines, settle
from persistence import Reader
from projections import entry_id_of

CENTS_MAX = 2**43  # of one entry; a million such entries still add up within 64 bits

_canonical = msgspec.msgpack.Encoder().encode


class Importing(NamedTuple):
    """What an import needs to know beside its lines."""

    source: str
    for_users: int  # limit in credits that tells a grant of free credits
    email_hmac: Callable[[str], str]


class _Terms(msgspec.Struct, forbid_unknown_fields=True):
    spending_limit: int
    billing_strategy: Literal["stripe", "other"]
    created: str
    billing_cycle_start: str
    next_billing_time: str | None = None


class _CostCenter(msgspec.Struct, tag_field="kind", tag="cost_center", forbid_unknown_fields=True):
    id: str
    attribution_id: str
    history: list[_Terms]


class _Member(msgspec.Struct, tag_field="kind", tag="member", forbid_unknown_fields=True):
    id: str
    organization_id: str
    user_id: str
    joined: str
    email: str | None = None


class _Entry(msgspec.Struct, tag_field="kind", tag="entry", forbid_unknown_fields=True):
    id: str
    attribution_id: str
    entry_kind: Literal["workspace_instance", "invoice", "credit_note"]
    credit_cents: int
    effective_time: str
    description: str = ""
    draft: bool = False
    workspace_instance_id: str | None = None
    metadata: dict[str, Any] = {}


_decoder = msgspec.json.Decoder(_CostCenter | _Member | _Entry)


def read_import_lines(delivery: str, block: bytes, first_line: int) -> Batch:
    """Read a block of lines of an import; what cannot be read has a reason."""
    return read_lines(delivery, block, first_line, parse=_parse, kind="import")


def _parse(original: bytes) -> _CostCenter | _Member | _Entry:
    if len(original) > EVENT_BYTES_MAX:
        raise RejectedError(f"line of {len(original)} bytes: at most {EVENT_BYTES_MAX} are allowed")
    try:
        # The typed decoder would keep the last of two equal names.
        proto_json.load(original)
        line: _CostCenter | _Member | _Entry = _decoder.decode(original)
    except (ValueError, RecursionError) as error:
        raise RejectedError(f"not a line of an import: {error}") from None
    return line


def take_import(group: Group, batch: Batch, importing: Importing) -> Receipt:
    """Decide on a batch of lines.

    Payers that live already are looked up once, before any of them.
    """
    live: dict[bytes, bool] = {}
    for line in batch.lines:
        payer = _payer_of(line.content)
        if payer is not None and payer not in live:
            live[payer] = group.live_events(payer) > 0

    def decide(line: Line) -> str:
        if line.content is None:
            raise RejectedError(line.reason)
        return _decide(group, line.content, importing, live)

    return settle(group, batch, decide)


def payer_of_import(line: Line) -> bytes | None:
    """Give whose state a line tells; None when it could not be read."""
    return _payer_of(line.content)


def payers_with_free_credit(batch: Batch, importing: Importing) -> list[bytes]:
    """Give the payers whose cost centers, in this batch, began with the free credits' limit."""
    found = []
    for line in batch.lines:
        content = line.content
        if isinstance(content, _CostCenter) and content.history and importing.for_users > 0:
            payer = _payer_of(content)
            if payer is not None and content.history[0].spending_limit >= importing.for_users:
                found.append(payer)
    return found


def claims_of_first_member(reader: Reader, payer: bytes) -> list[str]:
    """Name the streams of the claims of a payer's first imported member."""
    stored = reader.stream("members:" + attribution_id(payer))
    return _claims([decode(event.topic, event.state) for event in stored])


def decide_import(group: Group, original: bytes, importing: Importing) -> str:
    """Decide on one line by itself."""
    content = _parse(original)
    payer = _payer_of(content)
    live = {payer: group.live_events(payer) > 0} if payer else {}
    return _decide(group, content, importing, live)


def _payer_of(content: object) -> bytes | None:
    match content:
        case _CostCenter() | _Entry():
            return parse_payer(content.attribution_id)
        case _Member():
            return parse_payer("team:" + content.organization_id)
        case _:
            return None


def _decide(group: Group, content: object, importing: Importing, live: dict[bytes, bool]) -> str:
    assert isinstance(content, _CostCenter | _Member | _Entry)
    payer = _payer_of(content)
    if payer is None:
        raise RejectedError("attribution_id or organization_id: must be team:<uuid> or a UUID")
    if not content.id:
        raise RejectedError("id must not be empty")
    source = group.source_number("import:" + importing.source)
    key = source, event_key(f"{type(content).__name__}:{content.id}")
    try:
        digest = hashlib.blake2b(_canonical(content), digest_size=DIGEST_BYTES).digest()
    except OverflowError:
        raise RejectedError("a number in credit_cents or metadata has more than 64 bits") from None
    inboxed = group.inbox([key]).get(key)
    if inboxed is not None:
        if inboxed.digest == digest:
            return REPEATED
        raise RejectedError(f"id {content.id[:80]!r} was imported with other content")
    if live[payer]:
        raise RejectedError(
            f"{attribution_id(payer)} has events that were not imported: import before it is used"
        )
    match content:
        case _CostCenter():
            position = _cost_center(group, payer, content, importing)
        case _Member():
            position = _member(group, payer, content, importing)
        case _Entry():
            position = _entry(group, payer, content, importing)
    group.claim(key, digest, position)
    return ""


def _time(name: str, text: str) -> int:
    try:
        return parse_time(text)
    except ValueError as error:
        raise RejectedError(f"{name} {text[:40]!r}: {error}") from None


def _cost_center(group: Group, payer: bytes, line: _CostCenter, importing: Importing) -> int:
    state = group.cost_center(payer)
    if state.version:
        raise RejectedError(f"{attribution_id(payer)} has a cost center already")
    if not line.history:
        raise RejectedError("history must not be empty")
    history = []
    for terms in line.history:
        if not 0 <= terms.spending_limit <= INT32_MAX:
            raise RejectedError(f"spending_limit {terms.spending_limit}: must be 0 to {INT32_MAX}")
        start = _time("billing_cycle_start", terms.billing_cycle_start)
        due = terms.next_billing_time
        history.append(
            CostCenterTerms(
                terms.spending_limit,
                STRIPE if terms.billing_strategy == "stripe" else OTHER,
                _time("created", terms.created),
                start,
                _time("next_billing_time", due) if due else None,
            )
        )
    cycles = len({terms.cycle_start for terms in history})
    event = state.take_over(
        payer,
        tuple(history),
        cycle_number=cycles,
        recorded_at=group.recorded_at,
        author=group.author,
    )
    position = group.append_cost_center(state, event, payer)
    if history[0].spending_limit >= importing.for_users > 0:
        _claim_for_first_member(group, payer)
    return position


def _claim_for_first_member(group: Group, payer: bytes) -> None:
    """Its first member brought the free credits to this cost center.

    They cannot bring them again.
    """
    if group.context.shard:
        return  # claims lie in the first shard: the application makes them there
    members = [recorded.event for recorded in group.stream("members:" + attribution_id(payer))]
    claim_unclaimed(group, payer, _claims(members))


def claim_unclaimed(group: Group, payer: bytes, claims: Sequence[str]) -> None:
    """Claim whatever of it nobody has claimed: the credits were brought here, long ago."""
    for stream in claims:
        if not group.stream(stream):
            group.append(stream, 1, FreeCreditClaimed(group.recorded_at, group.author, payer))


def _claims(events: Sequence[LedgerEvent]) -> list[str]:
    members = [event for event in events if isinstance(event, MemberImported)]
    if not members:
        return []
    first = min(members, key=lambda member: (member.joined, member.user))
    return claims_of(first.user, first.email_hmac)


def _member(group: Group, payer: bytes, line: _Member, importing: Importing) -> int:
    user = parse_uuid(line.user_id)
    if user is None:
        raise RejectedError(f"user_id {line.user_id[:80]!r}: must be a UUID")
    event = MemberImported(
        group.recorded_at,
        group.author,
        payer,
        uuid_bytes(user),
        _time("joined", line.joined),
        importing.email_hmac(line.email) if line.email else "",
    )
    return group.append_next("members:" + attribution_id(payer), event)


def _entry(group: Group, payer: bytes, line: _Entry, importing: Importing) -> int:
    if abs(line.credit_cents) > CENTS_MAX:
        raise RejectedError(f"credit_cents {line.credit_cents}: beyond {CENTS_MAX} either way")
    effective = _time("effective_time", line.effective_time)
    if line.entry_kind == "workspace_instance":
        return _instance_entry(group, payer, line, effective)
    user_id = _metadata(line, "userId")
    user = parse_uuid(user_id) if user_id else None
    if user_id and user is None:
        raise RejectedError(f"metadata.userId {user_id[:80]!r}: must be a UUID or empty")
    parsed = parse_uuid(line.id)
    entry_id = uuid_bytes(parsed) if parsed else entry_id_of(f"{importing.source}\0{line.id}")
    stream = "imported-entry:" + uuid_text(entry_id)
    if group.stream(stream):
        raise RejectedError(f"entry {uuid_text(entry_id)} was imported from another source")
    fields = group.pack((line.description,))
    salt, commitment = group.commit_to(fields)
    event = EntryImported(
        group.recorded_at,
        group.author,
        payer,
        entry_id,
        line.entry_kind,
        line.credit_cents,
        effective,
        uuid_bytes(user) if user else b"",
        commitment,
    )
    position = group.append(stream, 1, event)
    group.keep_personal(position, salt, fields)
    return position


def _metadata(line: _Entry, name: str) -> str:
    value = line.metadata.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 4096 or "\0" in value:
        raise RejectedError(f"metadata.{name}: must be a text of at most 4096 characters")
    return value


def _metadata_time(line: _Entry, name: str) -> int | None:
    text = _metadata(line, name)
    return _time(f"metadata.{name}", text) if text else None


def _instance_entry(group: Group, payer: bytes, line: _Entry, effective: int) -> int:
    instance = parse_uuid(line.workspace_instance_id or "")
    if instance is None:
        raise RejectedError("workspace_instance_id: must be a UUID for a workspace_instance entry")
    stream = "instance:" + instance
    state = group.instance(stream)
    if state.is_known:
        raise RejectedError(f"workspace instance {instance} is known already")
    user_id = _metadata(line, "userId")
    user = parse_uuid(user_id) if user_id else None
    if user_id and user is None:
        raise RejectedError(f"metadata.userId {user_id[:80]!r}: must be a UUID or empty")
    started = _metadata_time(line, "startTime")
    stopping = _metadata_time(line, "endTime")
    stopped = _metadata_time(line, "stoppedTime")
    running = line.draft and stopping is None and stopped is None
    if running and started is None:
        raise RejectedError("metadata.startTime is missing: an instance that runs must have one")
    if not running:
        # Its charge is final: no later stopping time may price it anew.
        stopping = effective if stopping is None else stopping
        stopped = effective if stopped is None and not line.draft else stopped
    workspace_class = _metadata(line, "workspaceClass") or "default"
    priced_at = effective if started is None else started
    revision, rate, _ = group.context.prices.price(workspace_class, priced_at)
    fields = group.pack([_metadata(line, n) for n in ("userName", "userAvatarURL", "contextURL")])
    salt, commitment = group.commit_to(fields)
    event = WorkspaceInstanceImported(
        group.recorded_at,
        group.author,
        payer,
        _metadata(line, "workspaceId"),
        workspace_class,
        _metadata(line, "workspaceType") or "regular",
        uuid_bytes(user) if user else b"",
        _metadata_time(line, "creationTime"),
        started,
        stopping,
        stopped,
        effective,
        None if running else line.credit_cents,
        revision,
        rate,
        commitment,
    )
    position = group.append_instance(stream, state, event)
    group.keep_personal(position, salt, fields)
    return position
