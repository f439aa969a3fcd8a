"""A fact that was copied late into another shard had a later time than what came after it there.

A clock leapt and was set right again while only the first shard recorded something. The next price
list bore the leapt time, as did its copy in the second shard; what the second shard recorded after
it did not. A moment of such a log could not be found by its time, and how the clock was folded
depended on where batches were cut.
"""

from __future__ import annotations

from pathlib import Path

from events import decode
from tests.contract.data.scene import Scene, started
from tests.oracle.events import payer_of
from usage_ledger.v1 import queries_pb2

TWO_SHARDS = {"count": 2, "open": []}
NEW_PRICES = {
    "revision": 2,
    "effective_from": "2026-11-01T00:00:00Z",
    "credits_per_minute": {"default": "0.5"},
}


def shard_of(scene: Scene, payer: str) -> int | None:
    first = scene.service.ledger.shards[0].queries.reader
    return first.placement(bytes.fromhex(payer.removeprefix("team:").replace("-", "")))


def test_times_never_go_back_along_any_shards_log(tmp_path: Path) -> None:
    payers = [payer_of(f"payer {number}") for number in range(12)]
    with Scene(tmp_path, shards=TWO_SHARDS) as scene:
        for number, payer in enumerate(payers):
            scene.record(started(f"r{number}", "07:00", payer=payer))
        first, second = (
            next(payer for payer in payers if shard_of(scene, payer) == shard) for shard in (0, 1)
        )
        scene.reconcile("08:00")
        scene.clock.set("2026-12-20T08:00:00Z")
        scene.record(started("leapt", "07:01", payer=first))
    with Scene(tmp_path, shards=TWO_SHARDS, prices=NEW_PRICES) as scene:
        for word in ("one", "two"):
            scene.record(started(word, "07:02", payer=second))
        for shard in scene.service.ledger.shards:
            log = shard.queries.reader.log(after=0, limit=100)
            times = [decode(event.topic, event.state).recorded_at for event in log]
            assert sorted(times) == times
        told = scene.calls.queries.Check(queries_pb2.CheckRequest(fold_log=True))
        assert {law.law: [] for law in told.laws} == {
            law.law: list(law.breaches) for law in told.laws
        }
