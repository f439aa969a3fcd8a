"""Whatever the size of the file: bounded memory on both sides, and a file sent again."""

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.data.scene import Scene
from tests.harness import InProcessService, ManualClock, ServiceProcess, settings_for
from tests.oracle.synthetic import synthetic_lines
from tests.publishing.command import command_line, environment, publish
from usage_ledger.v1 import publishing_pb2, queries_pb2

STREAM_BYTES = 200_000_000
PADDING_BYTES = 4_000
# Measured: 60 MiB and 170 MiB. A side that keeps the stream would be far beyond.
CLIENT_MIB_MAX = 130
SERVICE_MIB_MAX = 330
# Read ahead by the service, and what gRPC's windows hold, in requests of half a megabyte.
# Of 150: ten that the service holds, and what the transport's own windows take, which grow with the
# speed of the machine. Without back-pressure all 150 are read.
READ_AHEAD_MAX = 75


def resident_mib_max(process_id: int) -> int:
    """The most memory that the process has ever had resident."""
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise AssertionError("this system does not tell a process's memory")


def padded_lines() -> Iterator[bytes]:
    """Real events with an unknown field, so that the stream is long and the ledger is not."""
    padding = b',"padding":"' + b"x" * PADDING_BYTES + b'"}}\n'
    for line in synthetic_lines(3, 1_000_000, 100):
        yield line[:-2] + padding


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_stream_of_200_mb_leaves_client_and_service_small(tmp_path: Path) -> None:
    with ServiceProcess(tmp_path / "ledger") as service:
        client = subprocess.Popen(
            command_line("publish", "-", "--target", service.target, "--json"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
        )
        assert client.stdin is not None
        sent = lines = 0
        for line in padded_lines():
            client.stdin.write(line)
            sent += len(line)
            lines += 1
            if sent >= STREAM_BYTES:
                break
        client_mib = resident_mib_max(client.pid)
        client.stdin.close()
        assert client.stdout is not None
        client.stdout.read()
        client.stdout.close()
        assert 0 == client.wait(60)

        assert service.process is not None
        service_mib = resident_mib_max(service.process.pid)
        total = service.calls.queries.GetStatus(queries_pb2.GetStatusRequest()).total
        assert (lines, lines) == (total.received, total.recorded)
    assert client_mib <= CLIENT_MIB_MAX
    assert service_mib <= SERVICE_MIB_MAX


def test_the_service_stops_reading_when_it_falls_behind(tmp_path: Path) -> None:
    go_on = threading.Event()
    go_on.set()
    read: list[int] = []
    block = b"".join(b"garbage %d %s\n" % (n, b"x" * 1_000) for n in range(500))

    def requests() -> Iterator[publishing_pb2.PublishRequest]:
        lines = [line + b"\n" for line in synthetic_lines(5, 1, 1)]
        for number in range(150):
            read.append(number)
            yield publishing_pb2.PublishRequest(lines=lines[0] + block if number == 0 else block)

    service = InProcessService(
        settings_for(tmp_path), clock=ManualClock(), before_fold=lambda _name: _wait(go_on)
    )
    with service:
        go_on.clear()
        answers = service.calls.publishing.Publish(requests())
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline and len(read) <= READ_AHEAD_MAX:
            time.sleep(0.05)
        waiting = len(read)
        go_on.set()
        receipts = [answer.receipt for answer in answers]

    assert waiting <= READ_AHEAD_MAX
    assert 150 == len(receipts) == len(read)
    assert 150 * 500 + 1 == sum(receipt.received for receipt in receipts)


def _wait(event: threading.Event) -> None:
    assert event.wait(30)


def test_a_file_sent_again_is_all_repeated_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"".join(line + b"\n" for line in synthetic_lines(7, 3_000, 20)))
    with Scene(tmp_path / "ledger") as scene:
        assert (9_000, 9_000, 0, 0) == publish(scene.service.target, path).counts
        before = scene.status()
        assert (9_000, 0, 9_000, 0) == publish(scene.service.target, path).counts
        after = scene.status()

        assert (before.head, before.ended_instances) == (after.head, after.ended_instances)
        assert (18_000, 9_000, 9_000, 0) == scene.counts()
