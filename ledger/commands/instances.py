"""What operators do to workspace instances."""

from __future__ import annotations

from events.readable import time_text
from ledger.errors import InvalidArgumentError, NotFoundError
from ledger.group import Group
from ledger.identifiers import parse_uuid

REASON_CHARS_MAX = 255


def end_instance(group: Group, instance_id: str, ended_time: int, reason: str) -> None:
    """End an instance, or correct when it ended."""
    if not reason.strip() or len(reason) > REASON_CHARS_MAX:
        raise InvalidArgumentError(f"reason: say why, in 1 to {REASON_CHARS_MAX} characters")
    instance = parse_uuid(instance_id)
    if instance is None:
        raise InvalidArgumentError(f"workspace_instance_id {instance_id[:80]!r}: must be a UUID")
    stream = "instance:" + instance
    state = group.instance(stream)
    if state.started is None:
        raise NotFoundError(f"workspace instance {instance}: no start of it is recorded")
    if ended_time < state.started:
        raise InvalidArgumentError(
            f"at {time_text(ended_time)}: the instance started only at {time_text(state.started)}"
        )
    if ended_time > group.now:
        raise InvalidArgumentError(f"at {time_text(ended_time)}: must not be in the future")
    if ended_time in (state.ended, state.stopped) and state.end == ended_time:
        return  # said already: a retried call changes nothing
    fields = group.pack((reason,))
    salt, commitment = group.commit_to(fields)
    event = state.end_by_operator(
        ended_time, recorded_at=group.recorded_at, author=group.author, commitment=commitment
    )
    group.keep_personal(group.append_instance(stream, state, event), salt, fields)
