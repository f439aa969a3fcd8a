"""`kill -9` between the steps of an erasure: it goes on, and is counted once."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest

from ledger.failpoints import OF_ERASURE
from tests.cluster.processes import wait_until
from tests.contract.data.scene import USER, note, ran
from tests.harness import Calls, ServiceProcess
from tests.oracle.events import line_of, payer_of
from usage_ledger.v1 import audit_erasure_pb2 as pb
from usage_ledger.v1 import queries_pb2

NAME = "Needle-Of-Ada"
PAYERS = [payer_of(f"payer {n}") for n in range(5)]


def fill(calls: Calls) -> int:
    """Something in every shard, and a dead letter in the first; how many rows there are."""
    for n, payer in enumerate(PAYERS):
        lines = ran(f"i{n}", "06:00", "07:00", payer=payer, userName=NAME)
        issued = note(1, event_id=f"{n}", payer=payer, userId=USER, description=NAME)
        calls.publish([line_of(each) for each in (*lines, issued)])
    calls.publish([line_of({"userId": USER, "userName": NAME})])
    return 2 * len(PAYERS)


def erase(calls: Calls) -> pb.Erasure:
    request = pb.EraseUserRequest(user_id=USER, reason="request 17")
    return list(calls.audit.EraseUser(request))[-1].erasure


def listed(calls: Calls) -> list[pb.Erasure]:
    return list(calls.audit.ListErasures(pb.ListErasuresRequest()).erasures)


def check(calls: Calls, data_dir: Path, *, rows: int, cents: Sequence[int]) -> None:
    (erasure,) = listed(calls)
    assert (rows, 1, pb.ERASURE_STATE_DONE) == (
        erasure.personal_rows,
        erasure.dead_letters,
        erasure.state,
    )
    assert list(cents) == [calls.balance_cents(payer) for payer in PAYERS]
    laws = calls.queries.Check(queries_pb2.CheckRequest(fold_log=True)).laws
    assert [] == [breach for law in laws for breach in law.breaches]
    files = [path for path in data_dir.rglob("*") if path.is_file()]
    assert 0 == sum(path.read_bytes().count(NAME.encode()) for path in files)


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a ledger with two shards."""
    monkeypatch.setenv("USAGE_LEDGER_SHARDS__COUNT", "2")
    return tmp_path / "ledger"


# The second time is in the first shard, when the other one is done.
POINTS = [f"{name}:{n}" for name in OF_ERASURE for n in (1, 2) if (name, n) != (OF_ERASURE[0], 2)]


@pytest.mark.parametrize("failpoint", POINTS)
def test_killed_it_goes_on_when_it_is_asked_again(data_dir: Path, failpoint: str) -> None:
    with ServiceProcess(data_dir) as service:
        rows = fill(service.calls)
        cents = [service.calls.balance_cents(payer) for payer in PAYERS]
    dying = ServiceProcess(data_dir, failpoint=failpoint).start()
    with contextlib.suppress(grpc.RpcError):
        erase(dying.calls)
    assert -9 == dying.wait_dead()
    with ServiceProcess(data_dir) as service:
        erase(service.calls)
        check(service.calls, data_dir, rows=rows, cents=cents)


def test_killed_it_goes_on_by_itself(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ServiceProcess(data_dir) as service:
        rows = fill(service.calls)
        cents = [service.calls.balance_cents(payer) for payer in PAYERS]
    dying = ServiceProcess(data_dir, failpoint="erased-rows:2").start()
    with contextlib.suppress(grpc.RpcError):
        erase(dying.calls)
    assert -9 == dying.wait_dead()
    monkeypatch.setenv("USAGE_LEDGER_JOBS__RESET_EVERY", "1s")
    with ServiceProcess(data_dir, options=()) as service:
        (under_way,) = listed(service.calls)
        assert under_way.state in {pb.ERASURE_STATE_ERASING, pb.ERASURE_STATE_DONE}
        wait_until(lambda: listed(service.calls)[0].state == pb.ERASURE_STATE_DONE)
        check(service.calls, data_dir, rows=rows, cents=cents)
