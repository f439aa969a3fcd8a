"""With `clock` paused a leap went unnoticed, with `cost-centers` paused due cycles did.

ResetUsage answered OK. It must refuse rather than decide on old rows.
"""

import grpc
import pytest

from tests.contract.calls.asking import get_cost_center, owe, reset
from tests.harness import InProcessService, ManualClock, settings_for


class Fault:
    """Fails the fold of the projection it names."""

    projection = ""

    def __call__(self, projection: str) -> None:
        if projection == self.projection:
            raise RuntimeError("planted")


@pytest.mark.parametrize("projection", ["clock", "cost-centers"])
def test_it_is_unavailable(projection: str) -> None:
    clock, fault = ManualClock("2026-11-01T08:00:00Z"), Fault()
    with InProcessService(settings_for(None), clock=clock, before_fold=fault) as service:
        fault.projection = projection
        get_cost_center(service.calls)
        owe(service.calls, 5)
        clock.set("2026-12-01T08:00:00Z")
        with pytest.raises(grpc.RpcError) as caught:
            reset(service.calls)
        assert grpc.StatusCode.UNAVAILABLE == caught.value.code()
        assert projection in (caught.value.details() or "")
