"""How Stripe fails, and the status that the last paragraph of section 5 gives for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import grpc
import pytest

from tests.billing.scene import BillingScene
from tests.stripe_double import Fault

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
ALREADY_EXISTS = grpc.StatusCode.ALREADY_EXISTS
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
INTERNAL = grpc.StatusCode.INTERNAL
LATE = grpc.StatusCode.DEADLINE_EXCEEDED

OTHER_KEY = "Bearer sk_test_of_another_account"


class Failure(NamedTuple):
    """A way in which Stripe fails whatever it is asked; no fault: it does not take our key."""

    fault: Fault | None
    code: grpc.StatusCode

    @contextmanager
    def of(self, scene: BillingScene, path: str = "*", method: str = "*") -> Iterator[None]:
        """Let Stripe fail so for as long as the block lasts."""
        account = scene.double._account
        key = account._authorization
        if self.fault is None:
            account._authorization = OTHER_KEY
        else:
            scene.double.faults.add(self.fault, method=method, path=path)
        try:
            yield
        finally:
            account._authorization = key
            scene.double.faults.clear()


DOWN = Failure(Fault.UNREACHABLE, UNAVAILABLE)
FAILURES = [
    pytest.param(DOWN, id="down"),
    pytest.param(Failure(Fault.ANSWER_LOST, UNAVAILABLE), id="answer lost"),
    pytest.param(Failure(Fault.TIMEOUT, LATE), id="slow"),
    pytest.param(Failure(Fault.TIMEOUT_AFTER, LATE), id="slow to answer"),
    pytest.param(Failure(Fault.RATE_LIMITED, UNAVAILABLE), id="429"),
    pytest.param(Failure(Fault.SERVER_ERROR, UNAVAILABLE), id="500"),
    pytest.param(Failure(None, INTERNAL), id="wrong key"),
]
each_failure = pytest.mark.parametrize("failure", FAILURES)
