"""Publishing that is cut short: it says so, and run again it counts nothing twice."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.contract.data.scene import PAYER, Scene, bytes_of, ran
from tests.harness import Calls, ServiceProcess
from tests.oracle.synthetic import synthetic_lines
from tests.publishing.command import command_line, environment, publish
from usage_ledger.v1 import queries_pb2

INSTANCES = 4_000
LINES = list(synthetic_lines(11, INSTANCES, 40))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "events.ndjson"
    path.write_bytes(b"".join(line + b"\n" for line in LINES))
    return path


@pytest.fixture(scope="module")
def expected() -> dict[str, int]:
    """Balances as if nothing had happened."""
    with Scene() as scene:
        scene.calls.publish(LINES)
        return balances(scene.calls, payers())


def payers() -> list[str]:
    found = {line.split(b'"attributionId":"')[1][:41].decode() for line in LINES}
    return sorted(found)


def balances(calls: Calls, of: list[str]) -> dict[str, int]:
    answer = calls.queries.GetBalances(queries_pb2.GetBalancesRequest(attribution_ids=of))
    return {balance.attribution_id: balance.credit_cents for balance in answer.balances}


def counts(service: ServiceProcess) -> tuple[int, int, int, int]:
    total = service.calls.queries.GetStatus(queries_pb2.GetStatusRequest()).total
    return total.received, total.recorded, total.repeated, total.rejected


class TestServiceKilled:
    @pytest.mark.parametrize(
        "failpoint", ["before-append:2", "after-append:3", "before-commit:2", "after-commit:2"]
    )
    def test_1_then_again_0_and_nothing_is_counted_twice(
        self, tmp_path: Path, file: Path, expected: dict[str, int], failpoint: str
    ) -> None:
        with ServiceProcess(tmp_path / "ledger", failpoint=failpoint) as service:
            cut_short = publish(service.target, file)
            service.wait_dead()
        assert (1, False) == (cut_short.code, cut_short.answer["finished"])
        assert "Run it again: nothing counts twice" in cut_short.err

        with ServiceProcess(tmp_path / "ledger") as service:
            received, recorded, repeated, rejected = counts(service)
            # What was acknowledged is there; what is there was perhaps not acknowledged.
            assert cut_short.answer["recorded"] <= recorded == received
            again = publish(service.target, file)

            assert 0 == again.code
            assert (len(LINES), len(LINES) - recorded, recorded, 0) == again.counts
            assert expected == balances(service.calls, payers())
            received, recorded, repeated, rejected = counts(service)
            assert (len(LINES), received) == (recorded, recorded + repeated + rejected)
            assert [] == service.calls.breaches()

    def test_at_any_moment(self, tmp_path: Path, file: Path, expected: dict[str, int]) -> None:
        for delay in (0.35, 0.5):
            with ServiceProcess(tmp_path / "ledger") as service:
                client = start_publishing(service.target, file)
                time.sleep(delay)
                service.kill()
                assert client.wait(60) in {0, 1}  # a fast one was through
        with ServiceProcess(tmp_path / "ledger") as service:
            assert 0 == publish(service.target, file).code
            assert expected == balances(service.calls, payers())
            assert INSTANCES * 3 == counts(service)[1]
            assert [] == service.calls.breaches()

    def test_what_was_reported_as_done_survives_a_kill_at_once(self, tmp_path: Path) -> None:
        lines = b"\n".join(bytes_of(ran("a", "06:00", "07:00")))
        with ServiceProcess(tmp_path / "ledger") as service:
            assert 0 == publish(service.target, lines).code
            service.kill()
        with ServiceProcess(tmp_path / "ledger") as service:
            assert 1000 == service.calls.balance_cents(PAYER)
            assert (3, 3, 0, 0) == counts(service)


class TestClientKilled:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
    def test_run_again_it_counts_nothing_twice(
        self, tmp_path: Path, expected: dict[str, int], number: signal.Signals
    ) -> None:
        half = b"".join(line + b"\n" for line in LINES[: len(LINES) // 2])
        rest = b"".join(line + b"\n" for line in LINES[len(LINES) // 2 :])
        with ServiceProcess(tmp_path / "ledger") as service:
            client = start_publishing(service.target, "-", stdin=subprocess.PIPE)
            assert client.stdin is not None
            client.stdin.write(half)
            client.stdin.flush()
            while counts(service)[1] == 0:
                time.sleep(0.01)
            client.send_signal(number)
            code = client.wait(60)
            client.stdin.close()

            assert (1 if number == signal.SIGINT else -number) == code
            again = publish(service.target, half + rest)
            assert 0 == again.code
            assert len(LINES) == sum(again.counts[1:3])
            assert expected == balances(service.calls, payers())


def start_publishing(
    target: str, file: Path | str, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command_line("publish", file, "--target", target),
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
