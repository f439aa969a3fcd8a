"""Proofs as documents that others check; docs/proofs.md describes them."""

import base64
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cli.connection import READ_SECONDS, connected
from cli.exits import OK, USAGE, CommandFailed
from cli.values import printable
from usage_ledger.v1 import audit_proofs_pb2 as audit
from usage_ledger.v1.publishing_pb2 import Position

EVENT_FORMAT = "usage-ledger-event-proof-1"
CONSISTENCY_FORMAT = "usage-ledger-consistency-proof-1"
_POSITION = re.compile(r"(?:(\d{1,9}):)?(\d{1,18})", re.ASCII)
_POINT = re.compile(r"(size:)?(\d{1,18})", re.ASCII)


def prove_event(
    *,
    position: str,
    stream: str,
    version: int,
    source: str,
    event_id: str,
    head: int,
    output: Path | None,
    target: str,
) -> int:
    """Asks for a proof of inclusion and writes it."""
    named = [
        name
        for name, given in (
            ("--position", bool(position)),
            ("--stream", bool(stream or version)),
            ("--source", bool(source or event_id)),
        )
        if given
    ]
    if len(named) != 1:
        raise CommandFailed(
            "Name the event by one of --position, --stream with --version, and --source with --id.",
            exit_code=USAGE,
        )
    request = audit.GetEventProofRequest(head=head)
    if position:
        request.position.CopyFrom(_position(position))
    elif stream or version:
        request.stream_version.CopyFrom(audit.StreamVersion(stream=stream, version=version))
    else:
        request.recorded_id.CopyFrom(audit.RecordedId(source=source, id=event_id))
    with connected(target) as services:
        answer = services.audit.GetEventProof(request, timeout=READ_SECONDS)
    _write(event_document(answer), output)
    return OK


def prove_consistency(
    first: str, second: str, *, shard: int, output: Path | None, target: str
) -> int:
    """Asks for a proof of consistency and writes it."""
    request = audit.GetConsistencyProofRequest(
        shard=shard, first=_point(first), second=_point(second)
    )
    with connected(target) as services:
        answer = services.audit.GetConsistencyProof(request, timeout=READ_SECONDS)
    _write(consistency_document(answer), output)
    return OK


def event_document(proof: audit.GetEventProofResponse) -> dict[str, Any]:
    """A proof of inclusion as others read it."""
    event = proof.event
    return {
        "format": EVENT_FORMAT,
        "head": proof.head.note,
        "leaf_number": proof.leaf_number,
        "event": {
            "stream": event.stream,
            "version": event.version,
            "topic": event.topic,
            "recorded_ms": event.recorded.ToMilliseconds(),
            "state": _base64(event.state),
        },
        "hashes": _all_base64(proof.hashes),
        # For people: it is not hashed, so it is not proved.
        "position": {"shard": proof.position.shard, "number": proof.position.number},
    }


def consistency_document(proof: audit.GetConsistencyProofResponse) -> dict[str, Any]:
    """A proof of consistency as others read it."""
    return {
        "format": CONSISTENCY_FORMAT,
        "origin": proof.origin,
        "first": _tree(proof.first),
        "second": _tree(proof.second),
        "hashes": _all_base64(proof.hashes),
    }


def _tree(tree: audit.TreeAt) -> dict[str, Any]:
    return {
        "size": tree.size,
        "root": _base64(tree.root),
        "head": tree.head.note if tree.HasField("head") else None,
    }


def _position(text: str) -> Position:
    found = _POSITION.fullmatch(text)
    if found is None:
        raise CommandFailed(
            f'--position is "{printable(text)}", but it must be a number, or SHARD:NUMBER.',
            exit_code=USAGE,
        )
    return Position(shard=int(found[1] or 0), number=int(found[2]))


def _point(text: str) -> audit.TreePoint:
    found = _POINT.fullmatch(text)
    if found is None:
        raise CommandFailed(
            f'"{printable(text)}" must be the number of a head, or size:N.', exit_code=USAGE
        )
    number = int(found[2])
    return audit.TreePoint(size=number) if found[1] else audit.TreePoint(head=number)


def _write(document: dict[str, Any], output: Path | None) -> None:
    # Signs beyond ASCII are escaped, so that no terminal and no mail changes them.
    text = f"{json.dumps(document, indent=2)}\n"
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandFailed(
            f"--output {output} cannot be written: {error.strerror}.", exit_code=USAGE
        ) from None


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _all_base64(hashes: Iterable[bytes]) -> list[str]:
    return [_base64(each) for each in hashes]
