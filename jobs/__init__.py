"""The clock: the ledger job and the reset job on their schedules."""

from jobs.scheduler import Scheduler

__all__ = ["Scheduler"]
