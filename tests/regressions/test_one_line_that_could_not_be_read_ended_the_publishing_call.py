"""Some lines raised what the reader did not expect: INTERNAL, and nothing after them was taken."""

import pytest

from tests.contract.data.scene import Scene, ran, started
from tests.oracle.events import line_of

GOOD = line_of(started("a", "06:00"))


@pytest.mark.parametrize(
    "line",
    [
        GOOD[:-1] + b',"odd":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        GOOD[:-2] + b',"odd":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        GOOD[:-1] + b',"odd":"\xfc"}',
        line_of(
            {
                "specversion": "1.0",
                "id": "1",
                "source": "/x",
                "type": "usage.workspace_instance.started.v1",
                "datacontenttype": "application/protobuf",
                "data_base64": "ü",
            }
        ),
    ],
    ids=["deep extension", "deep field", "extension without UTF-8", "base64 without ASCII"],
)
def test_a_line_that_cannot_be_read_is_a_dead_letter_and_the_rest_is_taken(line: bytes) -> None:
    with Scene() as scene:
        receipt = scene.publish(line, *ran("b", "06:00", "07:00"))

        assert (4, 3, 1) == (receipt.received, receipt.recorded, receipt.rejected)
        assert 1 == len(scene.dead_letters())


def test_a_number_with_5000_digits_that_nobody_asks_for_is_ignored() -> None:
    with Scene() as scene:
        scene.record(GOOD[:-1] + b',"odd":' + b"1" * 5_000 + b"}")
