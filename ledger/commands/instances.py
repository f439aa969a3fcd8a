"""What operators do to workspace instances: end them, and void them."""

from __future__ import annotations

from events.readable import attribution_id, time_text
from ledger.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from ledger.group import Group
from ledger.identifiers import parse_uuid

REASON_CHARS_MAX = 255


def end_instance(group: Group, instance_id: str, ended_time: int, reason: str) -> None:
    """End an instance, or correct when it ended."""
    check_reason(reason)
    instance = _instance(instance_id)
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


def void_instance(
    group: Group, instance_id: str, reason: str, *, payer: bytes | None
) -> tuple[bytes, int]:
    """Let nothing count that is recorded of an instance; give whose it was, and the position.

    With a payer only if it is theirs: whoever asks again after an answer was lost must not void
    what the right payer has recorded since.
    """
    check_reason(reason)
    instance = _instance(instance_id)
    stream = "instance:" + instance
    state = group.instance(stream)
    if not state.version:
        raise NotFoundError(f"workspace instance {instance}: no event of it is recorded")
    if not state.is_known:
        newest = group.stream(stream)[-1].event
        raise FailedPreconditionError(
            f"workspace instance {instance} is void already, by {newest.author} at"
            f" {time_text(newest.recorded_at)}"
        )
    if payer is not None and payer != state.payer:
        raise FailedPreconditionError(
            f"workspace instance {instance} is recorded for {attribution_id(state.payer)}, not"
            f" {attribution_id(payer)}"
        )
    was_of = state.payer
    fields = group.pack((reason,))
    salt, commitment = group.commit_to(fields)
    event = state.void(recorded_at=group.recorded_at, author=group.author, commitment=commitment)
    position = group.append_instance(stream, state, event)
    group.keep_personal(position, salt, fields)
    return was_of, position


def check_reason(reason: str) -> None:
    """Ask for a reason, and for a short one."""
    if not reason.strip() or len(reason) > REASON_CHARS_MAX:
        raise InvalidArgumentError(f"reason: say why, in 1 to {REASON_CHARS_MAX} characters")


def _instance(instance_id: str) -> str:
    instance = parse_uuid(instance_id)
    if instance is None:
        raise InvalidArgumentError(f"workspace_instance_id {instance_id[:80]!r}: must be a UUID")
    return instance
