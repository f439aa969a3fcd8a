"""Explanations as messages."""

from __future__ import annotations

from fractions import Fraction

from facade.answers import recorded_event
from facade.boundary import shown_reason
from facade.translate import fill, timestamp
from ledger.audit.why import (
    BY_OPERATOR,
    Explanation,
    Number,
    Price,
    Record,
    Runtime,
    Stated,
    Step,
    WriteOff,
    cursor_text,
)
from ledger.views import attribution_id, uuid_text
from usage_ledger.v1 import audit_why_pb2 as pb
from usage_ledger.v1 import publishing_pb2


def explanation(found: Explanation, shard: int) -> pb.Explanation:
    """Translate an explanation."""
    return pb.Explanation(
        position=_position(shard, found.position),
        accrued_to=timestamp(found.accrued_to),
        number=_number(found.number, shard),
    )


def _number(number: Number, shard: int) -> pb.ExplainedNumber:
    kind = pb.NumberKind.Value(f"NUMBER_KIND_{number.kind.upper()}")
    answer = pb.ExplainedNumber(
        kind=kind,
        title=number.title,
        credit_cents=number.cents,
        in_whole_credits=number.whole_credits,
        is_taken_away=number.taken_away,
        part_count=number.part_count,
        parts=[_number(part, shard) for part in number.parts],
        earlier_part_count=number.earlier_count,
        earlier_part_cents=number.earlier_cents,
        cursor="" if number.more is None else cursor_text(number.more),
        events=[_event(step, shard) for step in number.steps],
        attribution_id=attribution_id(number.payer) if number.payer else "",
        entry_id=uuid_text(number.entry_id) if number.entry_id else "",
        workspace_instance_id=uuid_text(number.instance) if number.instance else "",
        effective_time=timestamp(number.effective),
        is_draft=number.draft,
        workspace_class=number.workspace_class,
        invoice_id=number.invoice_id,
        subscription_id=number.subscription_id,
        remarks=number.remarks,
        beside=[_number(one, shard) for one in number.beside],
    )
    if number.cycle is not None:
        answer.cycle_number = number.cycle
    _fill_arithmetic(answer, number, shard)
    _fill_periods(answer, number)
    return answer


def _fill_periods(answer: pb.ExplainedNumber, number: Number) -> None:
    begin, end = number.period
    if number.late_for is not None:
        answer.late_for.cycle_number = number.late_for
        target_begin, target_end = answer.late_for.start, answer.late_for.end
    elif begin is None and end is None:
        return
    else:
        target_begin, target_end = answer.period.start, answer.period.end
    if begin is not None:
        fill(target_begin, begin)
    if end is not None:
        fill(target_end, end)


def _fill_arithmetic(answer: pb.ExplainedNumber, number: Number, shard: int) -> None:
    match number.arithmetic:
        case Runtime() as runtime:
            answer.runtime.CopyFrom(_runtime(runtime, shard))
        case Stated(position, cents):
            answer.stated.CopyFrom(
                pb.StatedAmount(position=_position(shard, position), credit_cents=cents)
            )
        case WriteOff(reason, balance, limit, unsettled, cents):
            answer.write_off.CopyFrom(
                pb.WriteOffArithmetic(
                    reason=reason,
                    balance_cents=balance,
                    spending_limit_cents=limit,
                    unsettled_cents=unsettled,
                    credit_cents=cents,
                )
            )
        case Record(seq, target, delta, state, stamped, identifier):
            answer.usage_record.CopyFrom(
                pb.UsageRecordArithmetic(
                    sequence=seq,
                    target_credits=target,
                    delta_credits=delta,
                    state=state,
                    stamped=timestamp(stamped),
                    identifier=identifier,
                )
            )
        case None:
            pass


def _runtime(runtime: Runtime, shard: int) -> pb.RuntimeArithmetic:
    stretch = runtime.stretch
    return pb.RuntimeArithmetic(
        started=timestamp(stretch.started),
        ended=timestamp(stretch.ended),
        ended_by=pb.RuntimeEnd.Value(f"RUNTIME_END_{stretch.ended_by.upper()}"),
        milliseconds=stretch.ended - stretch.started,
        seconds=stretch.seconds,
        credits_per_minute=stretch.rate,
        cents_per_second=_fraction(runtime.cents_per_second),
        exact_fraction=_fraction(runtime.exact_cents),
        credit_cents=stretch.cents,
        price=_price(runtime.price, shard),
    )


def _price(price: Price, shard: int) -> pb.PriceUsed:
    return pb.PriceUsed(
        revision=price.revision,
        position=None if price.position is None else _position(shard, price.position),
        in_force_from=timestamp(price.in_force_from),
        workspace_class=price.workspace_class,
        is_fallback=price.is_fallback,
    )


def _event(step: Step, shard: int) -> pb.ExplainedEvent:
    return pb.ExplainedEvent(
        event=recorded_event(step.recorded, shard, step.erased),
        cause=pb.EventCause.Value(f"EVENT_CAUSE_{step.cause.upper()}"),
        source=step.source,
        event_id=step.event_id,
        effective_time=timestamp(step.effective),
        role=pb.EventRole.Value(f"EVENT_ROLE_{step.role.upper()}"),
        before_cents=step.before_cents,
        after_cents=step.after_cents,
        # What a credit note was for stands in ListEntries, too.
        reason=shown_reason(step.reason) if step.cause == BY_OPERATOR else step.reason,
        reason_is_erased=step.reason_is_erased,
    )


def _fraction(fraction: Fraction) -> str:
    return f"{fraction.numerator}/{fraction.denominator}"


def _position(shard: int, number: int) -> publishing_pb2.Position:
    return publishing_pb2.Position(shard=shard, number=number)
