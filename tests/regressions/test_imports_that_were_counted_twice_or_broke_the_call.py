"""What an import took that it must not, and what ended its call with INTERNAL."""

import json

import grpc
import pytest

from tests.contract.data.scene import PAYER, Scene, started, stopped
from tests.importing.lines import entry, refused, taken, times
from usage_ledger.v1 import admin_pb2


def test_a_start_after_an_import_without_one_was_charged_again() -> None:
    with Scene() as scene:
        taken(scene, entry(100))
        scene.reject(started("a", "10-20 10:00"))
        scene.reconcile()

        assert 100 == scene.cents()
        assert [100] == [each.credit_cents for each in scene.calls.entries(PAYER)]


def test_a_payer_with_nothing_but_an_imported_instance_that_runs_owed_nothing() -> None:
    with Scene() as scene:
        taken(scene, entry(77, draft=True, metadata=times("06:00")))
        scene.reconcile("08:00")
        assert [] == scene.calls.breaches()
        assert 2000 == scene.cents()

        scene.record(stopped("a", "07:00"))
        assert 1000 == scene.cents()


def test_lines_nested_too_deeply_or_with_numbers_too_large_ended_the_call() -> None:
    deep = json.dumps(entry(1)).replace('"metadata": {}', '"metadata": {"x": 0}')
    with Scene() as scene:
        refused(
            scene,
            deep.replace('"x": 0', '"x": ' + "[" * 90_000 + "]" * 90_000).encode(),
            entry(1, metadata={"x": 10**30}),
            entry(10**30),
        )


def test_a_name_twice_in_a_line_kept_the_last() -> None:
    with Scene() as scene:
        twice = json.dumps(entry(1))[:-1].encode() + b', "credit_cents": 2}'
        assert "twice" in refused(scene, twice)


def test_more_lines_than_a_batch_may_have_answered_internal() -> None:
    request = admin_pb2.ImportOpeningStateRequest(source="x", lines=b"x\n" * 10_001)
    with Scene() as scene, pytest.raises(grpc.RpcError) as error:
        list(scene.calls.admin.ImportOpeningState(iter([request])))
    assert grpc.StatusCode.INVALID_ARGUMENT == error.value.code()
