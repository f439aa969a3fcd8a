"""Erasing as tests ask for it."""

import json
from collections.abc import Sequence
from typing import Any

from tests.contract.data.scene import USER, Scene
from usage_ledger.v1 import audit_erasure_pb2 as pb
from usage_ledger.v1 import queries_pb2

REASON = "request 17"


def steps(scene: Scene, user: str = USER, **asked: Any) -> list[pb.EraseUserResponse]:
    request = pb.EraseUserRequest(**{"user_id": user, "reason": REASON, **asked})
    return list(scene.calls.audit.EraseUser(request))


def erase(scene: Scene, user: str = USER, **asked: Any) -> pb.Erasure:
    """What became of it; it has to have come to its end."""
    erasure = steps(scene, user, **asked)[-1].erasure
    assert erasure.state in {pb.ERASURE_STATE_DONE, pb.ERASURE_STATE_COUNTED}
    return erasure


def erased(scene: Scene, user: str = USER, **asked: Any) -> tuple[int, int]:
    """Rows of personal data, and dead letters, that this erased."""
    erasure = erase(scene, user, **asked)
    return erasure.personal_rows, erasure.dead_letters


def erasures(scene: Scene) -> list[pb.Erasure]:
    return list(scene.calls.audit.ListErasures(pb.ListErasuresRequest()).erasures)


def metadata(scene: Scene, payer: str) -> list[tuple[str, str, str]]:
    """Name, avatar and context URL of the payer's usage, oldest first."""
    names = ("userName", "userAvatarURL", "contextURL")
    return [
        tuple(json.loads(entry.metadata)[name] for name in names) for entry in scene.usage(payer)
    ]


def descriptions(scene: Scene, payer: str) -> list[str]:
    """Of the payer's credit notes."""
    return [
        entry.description
        for entry in scene.calls.entries(payer)
        if entry.kind == queries_pb2.ENTRY_KIND_CREDIT_NOTE
    ]


def broken_laws(scene: Scene) -> list[str]:
    """Of `check`, with a fold of the whole log."""
    laws = scene.calls.queries.Check(queries_pb2.CheckRequest(fold_log=True)).laws
    return [f"{law.law}: {breach}" for law in laws for breach in law.breaches]


def laws(scene: Scene) -> Sequence[str]:
    return [law.law for law in scene.calls.queries.Check(queries_pb2.CheckRequest()).laws]


def log(scene: Scene, shard: int = 0) -> list[queries_pb2.LogEvent]:
    request = queries_pb2.TailLogRequest(from_position=1, shard=shard)
    return [event for page in scene.calls.queries.TailLog(request) for event in page.events]
