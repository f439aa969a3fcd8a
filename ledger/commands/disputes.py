"""Disputes: who is to be blocked is decided once, and each block is done once."""

from __future__ import annotations

from collections.abc import Sequence

from events import DisputeOpened, DisputingUserBlocked
from ledger.group import Group


def open_dispute(
    group: Group, payer: bytes, *, dispute_id: str, customer_id: str, owners: Sequence[str]
) -> list[str]:
    """Give the users that are still to be blocked for a dispute.

    They are those who owned the organisation when the dispute was first heard of.
    """
    stream = dispute_stream(dispute_id)
    booked = [recorded.event for recorded in group.stream(stream)]
    if not booked:
        event = DisputeOpened(
            group.recorded_at, group.author, payer, dispute_id, customer_id, tuple(owners)
        )
        group.append(stream, 1, event)
        return list(owners)
    opened = booked[0]
    assert isinstance(opened, DisputeOpened)
    blocked = {event.user_id for event in booked if isinstance(event, DisputingUserBlocked)}
    return [user for user in opened.user_ids if user not in blocked]


def user_blocked(group: Group, payer: bytes, *, dispute_id: str, user_id: str) -> None:
    """Note that the directory has blocked a user for a dispute."""
    stream = dispute_stream(dispute_id)
    booked = [recorded.event for recorded in group.stream(stream)]
    if not any(isinstance(e, DisputingUserBlocked) and e.user_id == user_id for e in booked):
        event = DisputingUserBlocked(group.recorded_at, group.author, payer, dispute_id, user_id)
        group.append_next(stream, event)


def dispute_stream(dispute_id: str) -> str:
    """Name the stream of a dispute."""
    return "dispute:" + dispute_id
