"""Live meters and alerts as the messages of `usage.meters` and `usage.alerts`, and back.

Also what goes with a correction on `ledger.events`.
"""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from events.readable import attribution_id, uuid_bytes
from projections.alerts import Alert
from projections.corrections import Correction
from projections.meters import WindowRow, credits_text, nanocredits_of
from projections.readings import ClassReading, Reading
from usage_ledger.v1 import ledger_events_pb2
from usage_ledger.v1.live_views_pb2 import (
    ClassMeter,
    LateEvents,
    MeterWindow,
    PayerMeters,
    SpendingAlert,
)
from usage_ledger.v1.publishing_pb2 import Position

ALERT_ID_HEADER = "alert-id"
_PAYER_PREFIX = "team:"


def key_of(payer: bytes) -> bytes:
    """Give the key of a payer's messages."""
    return attribution_id(payer).encode("ascii")


def payer_of_key(key: bytes) -> bytes:
    """Give the payer of a key."""
    return _payer(key.decode("ascii"))


def alert_id(alert: Alert) -> bytes:
    """Give the header by which a reader knows an alert that comes again."""
    return f"{attribution_id(alert.payer)}:{alert.cycle}:{alert.threshold}".encode("ascii")


def meters_message(reading: Reading) -> PayerMeters:
    """Write a payer's meters."""
    return PayerMeters(
        attribution_id=attribution_id(reading.payer),
        position=Position(shard=reading.shard, number=reading.position),
        recorded=_timestamp(reading.recorded_at),
        balance_cents=reading.balance_cents,
        cycle_number=reading.cycle,
        spending_limit=reading.spending_limit,
        classes=[
            ClassMeter(
                workspace_class=each.workspace_class,
                running_instances=each.running,
                credits_per_hour=credits_text(each.nanocredits_per_hour),
                windows=[
                    MeterWindow(
                        start=_timestamp(window.start),
                        length=_duration(window.length_ms),
                        started=window.started,
                        ended=window.ended,
                        credit_cents=window.credit_cents,
                    )
                    for window in each.windows
                ],
            )
            for each in reading.classes
        ],
        late=[
            LateEvents(window_length=_duration(length_ms), events=events)
            for length_ms, events in reading.late
        ],
        early_events=reading.early,
    )


def reading_of_message(message: PayerMeters) -> Reading:
    """Read a payer's meters."""
    return Reading(
        _payer(message.attribution_id),
        message.position.shard,
        message.position.number,
        _milliseconds(message.recorded),
        message.balance_cents,
        message.cycle_number,
        message.spending_limit,
        tuple(
            ClassReading(
                each.workspace_class,
                each.running_instances,
                nanocredits_of(each.credits_per_hour),
                tuple(
                    WindowRow(
                        _milliseconds(window.start),
                        window.length.ToMilliseconds(),
                        window.started,
                        window.ended,
                        window.credit_cents,
                    )
                    for window in each.windows
                ),
            )
            for each in message.classes
        ),
        tuple((each.window_length.ToMilliseconds(), each.events) for each in message.late),
        message.early_events,
    )


def alert_message(alert: Alert) -> SpendingAlert:
    """Write an alert."""
    return SpendingAlert(
        attribution_id=attribution_id(alert.payer),
        cycle_number=alert.cycle,
        threshold_percent=alert.threshold,
        balance_cents=alert.balance_cents,
        spending_limit=alert.spending_limit,
        position=Position(shard=alert.shard, number=alert.position),
        recorded=_timestamp(alert.recorded_at),
    )


def alert_of_message(message: SpendingAlert) -> Alert:
    """Read an alert."""
    return Alert(
        _payer(message.attribution_id),
        message.cycle_number,
        message.threshold_percent,
        message.balance_cents,
        message.spending_limit,
        message.position.shard,
        message.position.number,
        _milliseconds(message.recorded),
    )


def correction_message(correction: Correction) -> ledger_events_pb2.EntryCorrection:
    """Write what a correction corrects."""
    message = ledger_events_pb2.EntryCorrection(
        workspace_class=correction.workspace_class,
        before_cents=correction.before_cents,
        after_cents=correction.after_cents,
        dated=_timestamp(correction.dated_at),
    )
    if correction.started is not None:
        message.started.CopyFrom(_timestamp(correction.started))
        message.start_recorded.CopyFrom(_timestamp(correction.started_at))
    return message


def correction_in(message: ledger_events_pb2.RecordedEvent) -> Correction | None:
    """Read what an event corrects; None when it corrects nothing."""
    if not message.HasField("correction"):
        return None
    correction = message.correction
    return Correction(
        correction.workspace_class,
        correction.before_cents,
        correction.after_cents,
        _milliseconds(correction.dated),
        _milliseconds(correction.started) if correction.HasField("started") else None,
        _milliseconds(correction.start_recorded),
    )


def _payer(attribution: str) -> bytes:
    return uuid_bytes(attribution.removeprefix(_PAYER_PREFIX))


def _timestamp(ms: int) -> Timestamp:
    seconds, rest = divmod(ms, 1000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000_000)


def _milliseconds(timestamp: Timestamp) -> int:
    return timestamp.seconds * 1000 + timestamp.nanos // 1_000_000


def _duration(ms: int) -> Duration:
    seconds, rest = divmod(ms, 1000)
    return Duration(seconds=seconds, nanos=rest * 1_000_000)
