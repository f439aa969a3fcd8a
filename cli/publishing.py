"""`usage-ledger publish`: raw lines in blocks; the service parses, so there is one validator."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from cli.blocks import LongLine, Part, cut
from cli.connection import connected
from cli.reading import opened
from cli.receipts import run_delivery
from usage_ledger.v1.publishing_pb2 import OversizedLine, PublishRequest


def publish(path: str, *, target: str, rejects: Path | None, as_json: bool) -> int:
    """Publishes the file, or standard input for `-`; answers the exit code."""
    with opened(path) as source, connected(target) as services:
        return run_delivery(
            services.publishing.Publish,
            publish_requests(cut(source.read), delivery=source.name),
            name=source.name,
            target=target,
            size_bytes=source.size_bytes,
            rejects_path=rejects,
            as_json=as_json,
        )


def publish_requests(
    parts: Iterable[Part], *, delivery: str
) -> Iterator[tuple[PublishRequest, int]]:
    """One request for each part, with its size; the first names the delivery."""
    for part in parts:
        if isinstance(part, LongLine):
            request = PublishRequest(
                oversized=OversizedLine(
                    line=part.line,
                    size_bytes=part.line_bytes,
                    sha256=part.sha256,
                    head=part.head,
                )
            )
        else:
            request = PublishRequest(first_line=part.first_line, lines=part.lines)
        request.delivery = delivery
        yield request, part.size_bytes
        delivery = ""
