"""What may happen in a life, and how often."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Plan:
    """`acts` are steps of the simulation with their weights; the rest are probabilities."""

    name: str
    days: int
    residents_max: int
    acts: dict[str, float]
    usage: float = 1.0
    drops: float = 0.05  # of webhooks that never come, nor again
    twice: float = 0.15  # of calls that are made twice at once
    kills: float = 0.0  # of steps in which power fails
    signs_up: bool = True
    graces: tuple[int, ...] = field(default=())  # beside an hour, in seconds


# The reporter alone, as in its first form: four cycles, one payer who has signed up.
REPORTER = Plan(
    name="reporter",
    days=125,
    residents_max=1,
    acts={
        "job": 10,
        "reconcile": 4,
        "fault": 1.6,
        "straddle": 1.2,
        "credit": 0.6,
        "correct": 1.0,
        "anchor": 0.15,
    },
    drops=0.3,
    twice=0.0,
    signs_up=False,
)

EVERYTHING = Plan(
    name="everything",
    days=150,
    residents_max=3,
    acts={
        "job": 9,
        "reconcile": 4,
        "accrue": 1,
        "fault": 1.2,
        "straddle": 0.8,
        "late_refusal": 0.15,
        "credit": 0.5,
        "correct": 0.6,
        "outside": 1.2,
        "dispute": 0.15,
        "finalize": 0.8,
        "subscribe": 2.5,
        "cancel": 0.35,
        "leave": 0.15,
        "anchor": 0.25,
        "fee": 0.25,
        "meanwhile": 0.5,
        "refuse": 0.25,
        "resume": 0.25,
        "delete": 0.2,
        "move": 0.6,
        "reset": 0.4,
        "restart": 0.3,
    },
    drops=0.15,
    kills=0.2,
    graces=(7_200, 72 * 3_600),
)
