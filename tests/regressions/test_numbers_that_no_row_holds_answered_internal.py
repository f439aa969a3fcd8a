"""Line numbers, sizes and cursors beyond 63 bits broke on their way into SQLite: INTERNAL."""

import base64

import grpc
import pytest

from tests.contract.data.scene import Scene
from usage_ledger.v1 import admin_pb2, publishing_pb2, queries_pb2

BEYOND = 2**64 - 1


@pytest.mark.parametrize(
    "request_",
    [
        publishing_pb2.PublishRequest(lines=b"x", first_line=BEYOND),
        publishing_pb2.PublishRequest(
            oversized=publishing_pb2.OversizedLine(line=BEYOND, sha256=bytes(32))
        ),
        publishing_pb2.PublishRequest(
            oversized=publishing_pb2.OversizedLine(size_bytes=BEYOND, sha256=bytes(32))
        ),
    ],
)
def test_a_line_number_or_size_beyond_reason_is_refused(
    request_: publishing_pb2.PublishRequest,
) -> None:
    with Scene() as scene, pytest.raises(grpc.RpcError) as refused:
        list(scene.calls.publishing.Publish(iter([request_])))
    assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()


def test_the_number_of_an_imports_line_too() -> None:
    request = admin_pb2.ImportOpeningStateRequest(source="x", lines=b"x", first_line=BEYOND)
    with Scene() as scene, pytest.raises(grpc.RpcError) as refused:
        list(scene.calls.admin.ImportOpeningState(iter([request])))
    assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()


def test_a_made_up_cursor_of_dead_letters_is_a_place_like_any_other() -> None:
    cursor = base64.urlsafe_b64encode(b"\xff" * 8).decode()
    with Scene() as scene:
        scene.reject(b"x")
        request = queries_pb2.ListDeadLettersRequest(cursor=cursor)
        assert 1 == len(scene.calls.queries.ListDeadLetters(request).dead_letters)
