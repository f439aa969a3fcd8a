"""The real service as a process of its own, for clients in other languages."""

import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2

from tests.servers.ports import free_ports

# A cold start on a loaded machine; on an idle one it takes a second or two.
START_SECONDS_MAX = 60
# Draining has nothing to wait for here.
STOP_SECONDS_MAX = 30


@contextmanager
def running_service(
    folder: Path, *options: str, credentials: grpc.ChannelCredentials | None = None
) -> Iterator[str]:
    """Starts `usage-ledger serve` on a data directory in `folder`; gives its address, HOST:PORT.

    With credentials it is asked over TLS whether it serves.
    """
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    log = folder / "service.log"
    # Without jobs nothing changes but what the client changes.
    command = [find_command(), "serve", "--data-dir", str(folder / "data"), "--no-jobs"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--listen", address, *options],
            cwd=folder,
            env={k: v for k, v in os.environ.items() if not k.startswith("USAGE_LEDGER_")},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_serving(address, process, log, credentials)
        yield address
    finally:
        stop(process)


def find_command() -> str:
    # The one installed beside this Python first: it is the one under test.
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    command = shutil.which("usage-ledger", path=path)
    assert command is not None, "usage-ledger is not installed: run scripts/test"
    return command


def wait_until_serving(
    address: str,
    process: subprocess.Popen[bytes],
    log: Path,
    credentials: grpc.ChannelCredentials | None = None,
) -> None:
    give_up = time.monotonic() + START_SECONDS_MAX
    with (
        grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address)
    ) as channel:
        while not is_serving(channel):
            ended = process.poll()
            assert ended is None, f"the service ended with {ended}:\n{log.read_text()}"
            assert time.monotonic() < give_up, f"the service does not serve:\n{log.read_text()}"
            time.sleep(0.05)


def is_serving(channel: grpc.Channel) -> bool:
    # By its path: the published types of the health service's stub lack its methods.
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        response = check(health_pb2.HealthCheckRequest(), timeout=1)
    except grpc.RpcError:
        return False
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
