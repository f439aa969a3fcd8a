"""What tests start and talk to.

A real service in this process under a clock of their own, or as a process.
"""

from tests.harness.clock import ManualClock
from tests.harness.process import ServiceProcess
from tests.harness.service import (
    Calls,
    InProcessService,
    health_stub,
    reflection_stub,
    settings_for,
)

__all__ = [
    "Calls",
    "InProcessService",
    "ManualClock",
    "ServiceProcess",
    "health_stub",
    "reflection_stub",
    "settings_for",
]
