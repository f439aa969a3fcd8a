"""A follower that hung up just when the service began to wait left a coroutine never awaited."""

from typing import Any

from tests.contract.data.scene import Scene
from usage_ledger.v1 import queries_pb2


def test_cancelling_a_follower_of_the_log_leaves_nothing_behind() -> None:
    with Scene() as scene:
        for _ in range(30):
            request = queries_pb2.TailLogRequest(last=1, follow=True)
            answers: Any = scene.calls.queries.TailLog(request)
            next(answers)
            # The service begins to wait about now. Warnings are errors, this one too.
            answers.cancel()
