"""A number and what makes it, as a tree of lines."""

from collections.abc import Iterator

from cli.values import credits_text, printable, time_json, time_text
from usage_ledger.v1 import audit_why_pb2 as pb

_BRANCH, _LAST, _LINE, _SPACE = "├─ ", "└─ ", "│  ", "   "
_CAUSES = {
    pb.EVENT_CAUSE_PUBLISHED: "published",
    pb.EVENT_CAUSE_IMPORTED: "imported",
    pb.EVENT_CAUSE_OPERATOR: "by an operator",
    pb.EVENT_CAUSE_CALL_OR_JOB: "by a call or a job",
    pb.EVENT_CAUSE_STRIPE: "told by Stripe",
}
_COUNTS_LATER = {pb.EVENT_ROLE_BEGINS, pb.EVENT_ROLE_ENDS}
_ENDS = {
    pb.RUNTIME_END_STOPPING: "it was asked to stop",
    pb.RUNTIME_END_STOPPED: "it stopped",
    pb.RUNTIME_END_OPERATOR: "an operator ended it",
    pb.RUNTIME_END_ACCRUAL: "the last reconcile",
}


def lines_of(explanation: pb.Explanation) -> Iterator[str]:
    """Gives the tree line by line."""
    number = explanation.number
    yield _headline(number)
    where = explanation.position
    accrued = ""
    if explanation.HasField("accrued_to"):
        accrued = f"; what runs is accrued to {time_json(explanation.accrued_to)}"
    yield f"as of position {where.number:,} of shard {where.shard}{accrued}"
    yield from _below(number, "")


def _headline(number: pb.ExplainedNumber) -> str:
    since = ""
    if number.HasField("late_for") and number.late_for.HasField("start"):
        since = f", which began {time_text(number.late_for.start)}"
    return f"{credits_text(number.credit_cents)}  {number.title}{since}"


def _below(number: pb.ExplainedNumber, indent: str) -> Iterator[str]:
    """Gives what stands under a number: words, arithmetic, events, parts."""
    branches: list[tuple[str, pb.ExplainedNumber | pb.ExplainedEvent | None]] = []
    branches += [(f"note: {remark}", None) for remark in number.remarks]
    branches += [(text, None) for text in _arithmetic(number)]
    branches += [(_event(event), event) for event in number.events]
    if number.earlier_part_count:
        earlier = credits_text(number.earlier_part_cents)
        parts = "part" if number.earlier_part_count == 1 else "parts"
        branches.append((f"{number.earlier_part_count:,} {parts} before: {earlier}", None))
    branches += [(_headline(part), part) for part in number.parts]
    if number.cursor:
        branches.append((_rest(number), None))
    branches += [(f"beside it: {_headline(one)}", one) for one in number.beside]
    for at, (text, what) in enumerate(branches):
        is_last = at == len(branches) - 1
        below = indent + (_SPACE if is_last else _LINE)
        yield f"{indent}{_LAST if is_last else _BRANCH}{printable(text)}"
        if isinstance(what, pb.ExplainedNumber):
            yield from _below(what, below)
        elif isinstance(what, pb.ExplainedEvent):
            yield from (f"{below}{printable(detail)}" for detail in _details(what))


def _rest(number: pb.ExplainedNumber) -> str:
    shown = number.earlier_part_count + len(number.parts)
    cents = number.credit_cents - number.earlier_part_cents
    cents -= sum(part.credit_cents for part in number.parts)
    parts = "part" if number.part_count - shown == 1 else "parts"
    return (
        f"{number.part_count - shown:,} {'more ' if shown else ''}{parts}: {credits_text(cents)}."
        f" usage-ledger why more {number.cursor}"
    )


def _arithmetic(number: pb.ExplainedNumber) -> Iterator[str]:
    match number.WhichOneof("arithmetic"):
        case "runtime":
            yield from _runtime(number.runtime)
        case "stated":
            yield f"stated by the event at position {number.stated.position.number:,}"
        case "write_off":
            yield _write_off(number.write_off)
        case "usage_record":
            record = number.usage_record
            yield (
                f"{record.delta_credits:,} credits, so that {record.target_credits:,} were reported"
                f" in all; {record.state}, as {record.identifier}"
            )


def _runtime(said: pb.RuntimeArithmetic) -> Iterator[str]:
    yield f"from {time_json(said.started)} to {time_json(said.ended)}: {_ENDS[said.ended_by]}"
    yield f"{said.milliseconds:,} ms, rounded {said.seconds:,} s"
    price = said.price
    since = "the beginning"
    if price.HasField("in_force_from"):
        since = time_json(price.in_force_from)
    listed = f"price list {price.revision}, in force from {since}"
    if price.HasField("position"):
        listed += f", at position {price.position.number:,}"
    else:
        listed = f"the rate it came with, of price list {price.revision}"
    fallback = f", which has no rate for {price.workspace_class}" if price.is_fallback else ""
    yield f"{said.credits_per_minute} credits a minute: {listed}{fallback}"
    per_second, exact = (
        text.removesuffix("/1") for text in (said.cents_per_second, said.exact_fraction)
    )
    yield (
        f"{said.seconds:,} s x {per_second} cents/s = {exact} cents,"
        f" rounded {said.credit_cents:,} cents"
    )


def _write_off(said: pb.WriteOffArithmetic) -> str:
    balance = credits_text(said.balance_cents)
    if said.reason == "upgrade":
        unsettled = credits_text(said.unsettled_cents)
        return f"upgrade: -max({balance} owed - {unsettled} not settled yet, 0)"
    if not said.spending_limit_cents:
        return f"{said.reason}: -{balance} owed; a limit of 0 covers everything"
    return f"{said.reason}: -min({balance} owed, {credits_text(said.spending_limit_cents)} limit)"


def _event(event: pb.ExplainedEvent) -> str:
    recorded, changed = event.event, "changes nothing"
    if event.role in _COUNTS_LATER:
        changed = "changes nothing yet"
    if event.before_cents != event.after_cents:
        changed = f"{credits_text(event.before_cents)} -> {credits_text(event.after_cents)}"
    at = f" at {time_json(event.effective_time)}" if event.HasField("effective_time") else ""
    return f"event {recorded.position.number:,}, {recorded.topic}{at}: {changed}"


def _details(event: pb.ExplainedEvent) -> Iterator[str]:
    recorded, cause = event.event, _CAUSES.get(event.cause, "")
    if event.source or event.event_id:
        cause = f"{cause} as {event.event_id} of {event.source}"
    yield f"{cause}, recorded {time_json(recorded.recorded)} by {recorded.author}"
    yield f"version {recorded.version} of {recorded.stream}"
    if event.reason:
        yield f'"{event.reason}"'
    elif event.reason_is_erased:
        yield "its text is erased"
