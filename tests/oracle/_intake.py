"""Whether a published fact is new, says the same as before, or contradicts (section 6)."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ._facts import CreditNote, InstanceFact, OperatorEnded, Published, Started, Stopped, Stopping
from ._wire import Key, LineError

MAY_DIFFER_UNDER_ANOTHER_ID = frozenset({"workspace_id", "project_id", "creation_ms"})


@dataclass
class Receipt:
    """received = recorded + repeated + rejected, of one source of delivery."""

    received: int = 0
    recorded: int = 0
    repeated: int = 0
    rejected: int = 0


@dataclass
class DeadLetter:
    line: bytes
    reason: str
    rejected_at_ms: int
    delivery: str
    times: int = 1


@dataclass
class Intake:
    """What was recorded so far, by event and by instance."""

    by_key: dict[Key, Published] = field(default_factory=dict)
    by_instance: dict[str, list[InstanceFact]] = field(default_factory=dict)
    """Those that count; an empty list of an instance that is void."""
    voided_for: dict[str, set[str]] = field(default_factory=dict)
    """The payers for whom an instance was voided."""

    def is_new(self, key: Key, fact: Published) -> bool:
        """True: record it. False: it says the same again. Raises LineError where it contradicts.

        Reading: only recorded events claim their key: neither a reject nor a repeat under another
        ID does.
        """
        known = self.by_key.get(key)
        if known is not None:
            if known != fact:
                raise LineError("other content under an ID that is recorded")
            return False
        if isinstance(fact, CreditNote):
            return True
        facts = self.by_instance.get(fact.instance_id, [])
        is_late = fact.payer in self.voided_for.get(fact.instance_id, ())
        if is_late and not facts and not isinstance(fact, Started):
            # Reading: late for what was voided, it must not claim the free ID.
            raise LineError("a stop of a payer for whom the instance was voided")
        return _is_new_to_instance(facts, fact)

    def void(self, instance_id: str) -> None:
        facts = self.by_instance[instance_id]
        self.voided_for.setdefault(instance_id, set()).add(facts[0].payer)
        self.by_instance[instance_id] = []

    def remember(self, key: Key, fact: Published) -> None:
        self.by_key[key] = fact
        if not isinstance(fact, CreditNote):
            self.by_instance.setdefault(fact.instance_id, []).append(fact)


def _is_new_to_instance(
    recorded: Iterable[InstanceFact], fact: Started | Stopping | Stopped
) -> bool:
    """As `Intake.is_new`, within the facts of the instance.

    Reading: an operator's end is a stopped time that the instance has, unless a stopped event was
    recorded, which then stays the one to compare with.
    """
    operator_end_ms: int | None = None
    for other in recorded:
        if other.payer != fact.payer:
            raise LineError(f"the instance's payer is {other.payer}")
        if isinstance(other, OperatorEnded):
            operator_end_ms = other.ended_ms
        elif type(other) is type(fact):
            if _meaning(other) != _meaning(fact):
                raise LineError("another content than the instance's recorded event of this type")
            return False
    if isinstance(fact, Stopped) and operator_end_ms is not None:
        if fact.stopped_ms != operator_end_ms:
            raise LineError("another stopped time than the operator's")
        return False
    return True


def _meaning(fact: InstanceFact) -> dict[str, object]:
    """What two events of one instance have to agree on."""
    personal = {"context_url", "user_name", "user_avatar_url"}
    left_out = MAY_DIFFER_UNDER_ANOTHER_ID | personal
    return {name: value for name, value in vars(fact).items() if name not in left_out}
