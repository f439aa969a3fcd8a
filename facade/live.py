"""ListMeters, ListAlerts and CheckMeters of QueryService, whoever folds the views."""

from __future__ import annotations

from facade.answers import duration
from facade.boundary import Calls, Context, unary
from facade.queries import page_size, read_cursor, write_cursor
from facade.translate import timestamp
from ledger.application import Ledger
from ledger.commands.credit_notes import payer_of
from ledger.live_check import MetersCheck
from ledger.live_views import (
    Alert,
    AlertPlace,
    ClassReading,
    LiveViews,
    Reading,
    credits_text,
    place_of,
)
from ledger.views import attribution_id
from usage_ledger.v1 import live_views_pb2, publishing_pb2
from usage_ledger.v1 import queries_pb2 as pb

_TIME_BYTES, _PAYER_BYTES, _CYCLE_BYTES = 8, 16, 8
_PLACE_BYTES = _TIME_BYTES + _PAYER_BYTES + _CYCLE_BYTES + 1


class LiveServicer:
    """Reads; no call here ever writes."""

    def __init__(self, ledger: Ledger, views: LiveViews) -> None:
        """Answer from views; compare them with a ledger."""
        self._ledger = ledger
        self._views = views

    async def list_meters(
        self, request: pb.ListMetersRequest, _context: Context
    ) -> pb.ListMetersResponse:
        """List meters by attribution ID."""
        payer = payer_of(request.attribution_id) if request.attribution_id else None
        size = page_size(request.page_size)
        after = read_cursor(request.cursor, _PAYER_BYTES) or b""
        applied = await self._applied()  # before the numbers: they are at least as new
        readings = await self._views.meters(payer, after=after, limit=size + 1)
        return pb.ListMetersResponse(
            meters=[meters_message(reading) for reading in readings[:size]],
            next_cursor=write_cursor(readings[size - 1].payer) if len(readings) > size else "",
            applied=applied,
        )

    async def list_alerts(
        self, request: pb.ListAlertsRequest, _context: Context
    ) -> pb.ListAlertsResponse:
        """List alerts, newest first."""
        payer = payer_of(request.attribution_id) if request.attribution_id else None
        size = page_size(request.page_size)
        raw = read_cursor(request.cursor, _PLACE_BYTES)
        before = None if raw is None else _place(raw)
        applied = await self._applied()
        alerts = await self._views.alerts(payer, before=before, limit=size + 1)
        return pb.ListAlertsResponse(
            alerts=[alert_message(alert) for alert in alerts[:size]],
            next_cursor=_cursor(alerts[size - 1]) if len(alerts) > size else "",
            applied=applied,
        )

    async def check_meters(
        self, _request: pb.CheckMetersRequest, _context: Context
    ) -> pb.CheckMetersResponse:
        """Compare the meters with the ledger."""
        ledger = self._ledger
        laws = await MetersCheck(ledger.shards, ledger.placing, self._views).run()
        return pb.CheckMetersResponse(
            laws=[
                pb.LawResult(law=law, checked=checked, breaches=breaches)
                for law, checked, breaches in laws
            ]
        )

    async def _applied(self) -> list[publishing_pb2.Position]:
        applied = await self._views.applied()
        return [
            publishing_pb2.Position(shard=shard, number=number)
            for shard, number in sorted(applied.items())
        ]


def _place(raw: bytes) -> AlertPlace:
    time, rest = raw[:_TIME_BYTES], raw[_TIME_BYTES:]
    payer, rest = rest[:_PAYER_BYTES], rest[_PAYER_BYTES:]
    return AlertPlace(
        int.from_bytes(time, signed=True), payer, int.from_bytes(rest[:_CYCLE_BYTES]), rest[-1]
    )


def _cursor(alert: Alert) -> str:
    place = place_of(alert)
    return write_cursor(
        place.recorded_at.to_bytes(_TIME_BYTES, signed=True)
        + place.payer
        + place.cycle.to_bytes(_CYCLE_BYTES)
        + place.threshold.to_bytes(1)
    )


def meters_message(reading: Reading) -> live_views_pb2.PayerMeters:
    """Write a payer's meters."""
    return live_views_pb2.PayerMeters(
        attribution_id=attribution_id(reading.payer),
        position=publishing_pb2.Position(shard=reading.shard, number=reading.position),
        recorded=timestamp(reading.recorded_at),
        balance_cents=reading.balance_cents,
        cycle_number=reading.cycle,
        spending_limit=reading.spending_limit,
        classes=[_class_message(each) for each in reading.classes],
        late=[
            live_views_pb2.LateEvents(window_length=duration(length_ms), events=events)
            for length_ms, events in reading.late
        ],
        early_events=reading.early,
    )


def _class_message(reading: ClassReading) -> live_views_pb2.ClassMeter:
    return live_views_pb2.ClassMeter(
        workspace_class=reading.workspace_class,
        running_instances=reading.running,
        credits_per_hour=credits_text(reading.nanocredits_per_hour),
        windows=[
            live_views_pb2.MeterWindow(
                start=timestamp(window.start),
                length=duration(window.length_ms),
                started=window.started,
                ended=window.ended,
                credit_cents=window.credit_cents,
            )
            for window in reading.windows
        ],
    )


def alert_message(alert: Alert) -> live_views_pb2.SpendingAlert:
    """Write an alert."""
    return live_views_pb2.SpendingAlert(
        attribution_id=attribution_id(alert.payer),
        cycle_number=alert.cycle,
        threshold_percent=alert.threshold,
        balance_cents=alert.balance_cents,
        spending_limit=alert.spending_limit,
        position=publishing_pb2.Position(shard=alert.shard, number=alert.position),
        recorded=timestamp(alert.recorded_at),
    )


def handler(servicer: LiveServicer) -> Calls:
    """Give the calls; they stand beside the others of the service."""
    return Calls(
        "usage_ledger.v1.QueryService",
        {
            "ListMeters": unary(pb.ListMetersRequest, servicer.list_meters),
            "ListAlerts": unary(pb.ListAlertsRequest, servicer.list_alerts),
            "CheckMeters": unary(pb.CheckMetersRequest, servicer.check_meters),
        },
    )
