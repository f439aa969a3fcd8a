"""Trees, heads, proofs and findings as messages."""

from __future__ import annotations

from facade.translate import timestamp
from ledger.audit.findings import Finding
from ledger.audit.proofs import ConsistencyProof, EventProof, Point
from ledger.audit.status import TreeStanding
from ledger.audit.verifying import Progress, Summary, Told
from ledger.views import Head, recorded_time
from usage_ledger.v1 import audit_proofs_pb2 as pb
from usage_ledger.v1 import publishing_pb2


def head_message(shard: int, head: Head) -> pb.SignedHead:
    """Translate a head."""
    return pb.SignedHead(
        shard=shard,
        number=head.number,
        size=head.size,
        root=head.root,
        recorded=timestamp(head.recorded_at),
        signed=timestamp(head.signed_at),
        key_name=head.key_name,
        author=head.author,
        note=head.note,
    )


def tree_message(shard: int, tree: TreeStanding) -> pb.TreeStatus:
    """Translate how a tree is."""
    answer = pb.TreeStatus(
        shard=shard,
        origin=tree.state.origin,
        size=tree.state.size,
        position=publishing_pb2.Position(shard=shard, number=tree.position),
        fault=tree.state.fault,
    )
    if tree.newest_head is not None:
        answer.newest_head.CopyFrom(head_message(shard, tree.newest_head))
    return answer


def event_proof(shard: int, proof: EventProof) -> pb.GetEventProofResponse:
    """Translate a proof of inclusion."""
    event = proof.event
    return pb.GetEventProofResponse(
        position=publishing_pb2.Position(shard=shard, number=event.position),
        origin=proof.origin,
        event=pb.StoredEvent(
            stream=event.stream,
            version=event.version,
            topic=event.topic,
            recorded=timestamp(recorded_time(event.state)),
            state=event.state,
        ),
        leaf_number=proof.leaf,
        head=head_message(shard, proof.head),
        hashes=proof.hashes,
    )


def consistency_proof(shard: int, proof: ConsistencyProof) -> pb.GetConsistencyProofResponse:
    """Translate a proof of consistency."""
    return pb.GetConsistencyProofResponse(
        origin=proof.origin,
        first=_tree_at(shard, proof.first),
        second=_tree_at(shard, proof.second),
        hashes=proof.hashes,
    )


def _tree_at(shard: int, point: Point) -> pb.TreeAt:
    answer = pb.TreeAt(size=point.size, root=point.root)
    if point.head is not None:
        answer.head.CopyFrom(head_message(shard, point.head))
    return answer


def told_message(shard: int, told: Told) -> pb.VerifyResponse:
    """Translate what a verification tells."""
    match told:
        case Progress():
            progress = pb.VerifyProgress(shard=shard, verified=told.verified, size=told.size)
            return pb.VerifyResponse(progress=progress)
        case Finding():
            finding = pb.VerifyFinding(shard=shard, kind=told.kind, text=told.text)
            if told.position is not None:
                finding.position.CopyFrom(
                    publishing_pb2.Position(shard=shard, number=told.position)
                )
            if told.leaf is not None:
                finding.leaf_number = told.leaf
            return pb.VerifyResponse(finding=finding)
        case Summary():
            return pb.VerifyResponse(summary=pb.VerifySummary(shard=shard, **told._asdict()))
