"""A clock that failed was met before the writer had taken any work.

Nobody was told, so callers waited for ever, and the writer tried again without a pause.
"""

import grpc
import pytest

from tests.contract.calls.asking import PAYER, add_note
from tests.harness import InProcessService, ManualClock, settings_for


class ClockThatMayFail(ManualClock):
    fails = False

    def now_ns(self) -> int:
        if self.fails:
            raise ZeroDivisionError("there is no time")
        return super().now_ns()


@pytest.mark.timeout(20)
def test_the_first_that_waits_hears_it_and_the_next_call_is_served() -> None:
    clock = ClockThatMayFail()
    with InProcessService(settings_for(None), clock=clock) as service:
        clock.fails = True
        with pytest.raises(grpc.RpcError) as caught:
            add_note(service.calls, 5)
        assert grpc.StatusCode.INTERNAL == caught.value.code()
        clock.fails = False
        add_note(service.calls, 1)
        assert -100 == service.calls.balance_cents(PAYER)
