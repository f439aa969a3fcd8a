"""Live state as it is shown: what a reading of a payer's meters says."""

from __future__ import annotations

from typing import NamedTuple

from projections import meters
from projections.live import LiveState
from projections.meters import WINDOWS, WindowRow


class ClassReading(NamedTuple):
    """The meter of one workspace class."""

    workspace_class: str
    running: int
    nanocredits_per_hour: int
    windows: tuple[WindowRow, ...]  # short ones first, oldest first


class Reading(NamedTuple):
    """One payer's meters. Shard and position are those of the newest event that changed them."""

    payer: bytes
    shard: int
    position: int
    recorded_at: int
    balance_cents: int
    cycle: int
    spending_limit: int  # credits
    classes: tuple[ClassReading, ...]
    late: tuple[tuple[int, int], ...]  # length of the windows (ms), events that came too late
    early: int


def reading_of(state: LiveState) -> Reading:
    """Read a payer's meters."""
    measured = state.meters
    return Reading(
        state.payer,
        state.shard,
        state.position,
        state.recorded_at,
        state.balance_cents,
        state.spending.cycle,
        state.spending.spending_limit,
        tuple(
            ClassReading(name, meter.running, meter.nanocredits_per_hour, tuple(meters.rows(meter)))
            for name, meter in sorted(measured.classes.items())
        ),
        tuple(
            (length_ms, late)
            for (length_ms, _), late in zip(WINDOWS, measured.late, strict=True)
            if late
        ),
        measured.early,
    )
