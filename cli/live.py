"""Live meters and spending alerts: what runs now, what it costs, and who nears a limit."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from cli.connection import READ_SECONDS, connected
from cli.exits import OK
from cli.json_form import print_listing
from cli.pages import Page, walk
from cli.tables import note, print_table
from cli.values import credits_text, duration_text, time_text
from usage_ledger.v1 import publishing_pb2 as publishing
from usage_ledger.v1 import queries_pb2 as queries

METER_COLUMNS = ("payer", ">balance", "class", ">running", ">credits/hour")
WINDOW_COLUMNS = ("class", "window (UTC)", "length", ">started", ">ended", ">credits")
ALERT_COLUMNS = ("recorded (UTC)", "payer", ">cycle", "alert", ">balance", ">limit")


def show_meters(
    payer: str, *, page_size: int, cursor: str, every_page: bool, target: str, as_json: bool
) -> int:
    """The meters of a payer with their windows, or those of every payer without."""
    applied: list[publishing.Position] = []
    with connected(target) as services:

        def ask(size: int, after: str) -> Page:
            request = queries.ListMetersRequest(attribution_id=payer, page_size=size, cursor=after)
            answer = services.queries.ListMeters(request, timeout=READ_SECONDS)
            applied[:] = answer.applied
            return list(answer.meters), answer.next_cursor

        pages = walk(ask, page_size=page_size, cursor=cursor, every_page=every_page)
        if as_json:
            print_listing(sys.stdout, "meters", pages)
            return OK
        cursor = ""
        for meters, cursor in pages:  # noqa: B007 - the last page's cursor is printed
            print_table("", METER_COLUMNS, _meter_rows(meters))
            if payer:
                for one in meters:
                    _print_windows(one)
    _print_end(cursor, applied)
    return OK


def _meter_rows(meters: Iterable[Any]) -> Iterator[tuple[str, ...]]:
    for one in meters:
        owner = (one.attribution_id, credits_text(one.balance_cents))
        running = [each for each in one.classes if each.running_instances]
        if not running:
            yield (*owner, "", "0", "0")
        for each in running:
            yield (
                *owner,
                each.workspace_class,
                f"{each.running_instances:,}",
                each.credits_per_hour,
            )
            owner = ("", "")


def _print_windows(meters: Any) -> None:
    rows = [
        (
            each.workspace_class,
            time_text(window.start),
            duration_text(window.length),
            f"{window.started:,}",
            f"{window.ended:,}",
            credits_text(window.credit_cents),
        )
        for each in meters.classes
        for window in each.windows
    ]
    if rows:
        print_table("Windows", WINDOW_COLUMNS, rows)
    late = ", ".join(
        f"{each.events:,} for windows of {duration_text(each.window_length)}"
        for each in meters.late
    )
    if late:
        note(f"Too late: {late}.")
    if meters.early_events:
        note(f"Dated ahead of their recording, and in no window: {meters.early_events:,}.")


def show_alerts(
    payer: str, *, page_size: int, cursor: str, every_page: bool, target: str, as_json: bool
) -> int:
    """Alerts, newest first."""
    applied: list[publishing.Position] = []
    with connected(target) as services:

        def ask(size: int, after: str) -> Page:
            request = queries.ListAlertsRequest(attribution_id=payer, page_size=size, cursor=after)
            answer = services.queries.ListAlerts(request, timeout=READ_SECONDS)
            applied[:] = answer.applied
            return list(answer.alerts), answer.next_cursor

        pages = walk(ask, page_size=page_size, cursor=cursor, every_page=every_page)
        if as_json:
            print_listing(sys.stdout, "alerts", pages)
            return OK
        cursor = ""
        for alerts, cursor in pages:  # noqa: B007 - the last page's cursor is printed
            print_table("", ALERT_COLUMNS, map(_alert_row, alerts))
    _print_end(cursor, applied)
    return OK


def _alert_row(alert: Any) -> tuple[str, ...]:
    return (
        time_text(alert.recorded),
        alert.attribution_id,
        f"{alert.cycle_number}",
        f"{alert.threshold_percent} %",
        credits_text(alert.balance_cents),
        f"{alert.spending_limit:,}",
    )


def _print_end(cursor: str, applied: Iterable[publishing.Position]) -> None:
    positions = ", ".join(f"{each.number:,} of shard {each.shard}" for each in applied)
    note(f"Up to position {positions or 'none'}.")
    if cursor:
        note(f"There is more: --cursor {cursor}, or --all.")
