"""Pieces of work for the core, each with what the oracle answers to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ledger import commands
from ledger.arrivals import RejectedError
from ledger.commands.cost_centers import Terms
from ledger.core import Work
from ledger.errors import LedgerError, UnavailableError
from ledger.group import Group
from ledger.identifiers import parse_payer
from ledger.intake import Receipt, decide_event, read_lines, retry, take
from tests.laws.acts import Act, act_of, due_after, reset_of
from tests.laws.adapter import CODES, STRATEGIES
from tests.oracle import CostCenter, Oracle
from tests.oracle.operations import Operation, apply

PLANTED = "planted"


@dataclass(frozen=True)
class Job:
    """`act()` gives the work anew for every try; `expect` tells the oracle and gives its answer."""

    name: str
    act: Callable[[], Act]
    expect: Callable[[Oracle, int], object]
    answer: Callable[[object], object] = lambda result: result


def said(job: Job, work: Work) -> object:
    """Give what the product answered, in the oracle's words."""
    if work.error is None:
        return job.answer(work.result)
    if isinstance(work.error, LedgerError):
        return CODES[type(work.error)]
    return f"{type(work.error).__name__}: {work.error}"


def refused(work: Work) -> bool:
    """Say whether the caller was told that nothing of it stays."""
    return isinstance(work.error, UnavailableError)


def publish(delivery: str, lines: Sequence[bytes]) -> Job:
    def act() -> Act:
        batch = read_lines(delivery, b"\n".join(lines), 1)
        return lambda group: take(group, batch)

    def expect(oracle: Oracle, now_ns: int) -> object:
        outcomes = [oracle.publish(line, now_ns, delivery=delivery) for line in lines]
        counts = (outcomes.count(each) for each in ("recorded", "repeated", "rejected"))
        return (len(lines), *counts)

    def answer(result: object) -> object:
        if not isinstance(result, Receipt):
            return f"no receipt: {result}"
        if len(result.rejects) != result.counts.rejected:
            return f"{len(result.rejects)} rejects for {result.counts}"
        return tuple(result.counts)

    return Job(f"publish {len(lines)} lines as {delivery}", act, expect, answer)


def call(operation: Operation) -> Job:
    """A command whose answer is a cost center, nothing, or a status code."""

    def expect(oracle: Oracle, now_ns: int) -> object:
        answered = apply(oracle, _at(operation, now_ns))
        return _terms_of(answered) if isinstance(answered, CostCenter) else _code(answered)

    return Job(str(operation), lambda: act_of(operation), expect, _answer)


def _at(operation: Operation, now_ns: int) -> Operation:
    return replace(operation, at_ns=now_ns)


def _code(answered: object) -> object:
    """What a call returns beside cost centers is nothing to its caller."""
    return answered if isinstance(answered, str) and answered.isupper() else None


def _answer(result: object) -> object:
    if isinstance(result, Terms):
        return (
            result.spending_limit,
            STRATEGIES[result.strategy],
            result.cycle_start,
            result.next_billing,
            result.cycle_number,
        )
    return None


def _terms_of(center: CostCenter) -> object:
    return (
        center.spending_limit,
        center.strategy,
        center.cycle_start_ms,
        center.next_billing_ms,
        center.cycle,
    )


def due() -> Job:
    """Which cost centers a reset run finds."""

    def expect(oracle: Oracle, now_ns: int) -> object:
        now_ms = now_ns // 1_000_000
        found = []
        for payer in oracle.payers():
            center = oracle.cost_center(payer)
            if center and center.strategy == "OTHER" and center.next_billing_ms <= now_ms:
                found.append(parse_payer(payer))
        return sorted(filter(None, found))

    return Job("due", lambda: due_after(b""), expect)


def reset(payer: str) -> Job:
    key = parse_payer(payer)
    assert key is not None

    def expect(oracle: Oracle, now_ns: int) -> object:
        return oracle._reset(payer, now_ns // 1_000_000)

    return Job(f"reset {payer}", lambda: reset_of(key), expect)


def retry_letter(line: bytes, letter_id: int) -> Job:
    """Try a dead letter again, as the application does."""

    def act(group: Group) -> object:
        letter = group.transaction.dead_letter(letter_id)
        if letter is None:
            return None
        try:
            outcome = retry(group, letter, lambda original: decide_event(group, original))
        except RejectedError:
            return "rejected"
        return outcome or "recorded"

    def expect(oracle: Oracle, now_ns: int) -> object:
        if line not in oracle.dead_letters:
            return None
        return oracle.retry(line, now_ns)

    return Job(f"retry dead letter {letter_id}", lambda: act, expect)


def crash() -> Job:
    """A mistake of ours in one piece of work, after it has appended."""

    def act(group: Group) -> object:
        commands.confirm_clock(group)
        raise RuntimeError(PLANTED)

    return Job("crash", lambda: act, lambda _oracle, _now: f"RuntimeError: {PLANTED}")
