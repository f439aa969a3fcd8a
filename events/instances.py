"""Workspace instances: one stream `instance:<uuid>` each. All of these may arrive in any order."""

from __future__ import annotations

from typing import ClassVar

from events.base import LedgerEvent


class WorkspaceInstanceStarted(LedgerEvent, frozen=True, array_like=True, gc=False):
    """An instance began to run; its price was decided here and no later event changes it."""

    TOPIC: ClassVar[str] = "instance-started"

    payer: bytes
    workspace_id: str
    workspace_class: str
    workspace_type: str
    user: bytes  # 16 bytes, or empty
    project_id: str
    creation_time: int | None
    started_time: int
    price_revision: int
    rate: str  # credits per minute: a decimal, or the fraction `1/6`
    commitment: bytes  # to user name, avatar and context URL; empty without any


class WorkspaceInstanceStopping(LedgerEvent, frozen=True, array_like=True, gc=False):
    """An instance was asked to stop; usage ends here."""

    TOPIC: ClassVar[str] = "instance-stopping"

    payer: bytes
    stopping_time: int
    # Where the entry that this corrects is dated, when the instance had already stopped: readers
    # keep no table of final instances by id.
    corrects: int | None = None


class WorkspaceInstanceStopped(LedgerEvent, frozen=True, array_like=True, gc=False):
    """An instance is gone; its entry is final."""

    TOPIC: ClassVar[str] = "instance-stopped"

    payer: bytes
    stopped_time: int


class WorkspaceInstanceEnded(LedgerEvent, frozen=True, array_like=True, gc=False):
    """An operator ended an instance, or corrected when it had ended."""

    TOPIC: ClassVar[str] = "instance-ended"

    payer: bytes
    ended_time: int
    corrects: int | None  # the date of the final entry it corrects, if the instance had one
    commitment: bytes  # to the reason


class WorkspaceInstanceImported(LedgerEvent, frozen=True, array_like=True, gc=False):
    """An instance taken over from another ledger, at what that ledger had charged for it."""

    TOPIC: ClassVar[str] = "instance-imported"

    payer: bytes
    workspace_id: str
    workspace_class: str
    workspace_type: str
    user: bytes
    creation_time: int | None
    started_time: int | None
    stopping_time: int | None
    stopped_time: int | None
    effective_time: int
    credit_cents: int | None  # None while it runs: then it is priced like any other
    price_revision: int
    rate: str
    commitment: bytes


class WorkspaceInstanceVoided(LedgerEvent, frozen=True, array_like=True, gc=False):
    """An operator found that what is recorded of an instance must not count.

    From here on nothing before it in the stream does, and the instance begins anew: its ID is free.
    """

    TOPIC: ClassVar[str] = "instance-voided"

    payer: bytes  # whose instance it was
    corrects: int | None  # the date of the entry that it takes away, if the instance had one
    commitment: bytes  # to the reason
