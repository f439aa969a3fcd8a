"""What operators look at and do: instances, reconcile, reset, the log, status, the laws."""

import sys

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from cli.connection import READ_SECONDS, WRITE_SECONDS, connected
from cli.exits import FAILED, OK, REJECTED
from cli.json_form import encode, plain
from cli.pages import show_listing, walk
from cli.payers import ENTRY_COLUMNS, entry_row
from cli.tables import note, print_pairs, print_table
from cli.values import credits_text, duration_text, parse_time, printable, time_text
from usage.v1 import usage_pb2 as usage
from usage_ledger.v1 import admin_pb2 as admin
from usage_ledger.v1 import audit_proofs_pb2 as audit
from usage_ledger.v1 import queries_pb2 as queries
from usage_ledger.v1.publishing_pb2 import Position

_SUSPECT_REASONS = {
    queries.SuspectInstance.REASON_RUNS_LONG: "runs longer than expected",
    queries.SuspectInstance.REASON_STOP_WITHOUT_START: "stopped, but its start is not known",
}


def show_instance(instance: str, *, target: str, as_json: bool) -> int:
    """What is known of one workspace instance, with its entry, cycles and events."""
    with connected(target) as services:
        request = queries.GetInstanceRequest(workspace_instance_id=instance)
        answer = services.queries.GetInstance(request, timeout=READ_SECONDS)
    if as_json:
        _print_json(plain(answer))
        return OK
    pairs = (
        ("workspace instance", answer.workspace_instance_id),
        ("payer", answer.attribution_id),
        ("class and type", f"{answer.workspace_class} {answer.workspace_type}"),
        ("user", answer.user_id),
        ("workspace, project", f"{answer.workspace_id} {answer.project_id}"),
        ("created", _time(answer, "creation_time")),
        ("started", _time(answer, "started_time")),
        ("stopping", _time(answer, "stopping_time")),
        ("stopped", _time(answer, "stopped_time")),
        ("ended by an operator", _time(answer, "ended_time")),
        ("credits a minute", f"{answer.credits_per_minute} (prices {answer.price_revision})"),
    )
    print_pairs("", pairs)
    _print_voids(answer)
    if answer.HasField("entry"):
        print_table("Entry", ENTRY_COLUMNS, [entry_row(answer.entry)])
    if answer.lines:
        cycle_columns = ("payer", ">cycle", ">seconds", ">credits")
        print_table("Cycles", cycle_columns, map(_cycle_row, answer.lines))
    columns = (">position", "recorded (UTC)", "topic", "author", "fields")
    print_table("Events", columns, map(_event_row, answer.events))
    return OK


def _print_voids(answer: queries.GetInstanceResponse) -> None:
    if not answer.voids:
        return
    columns = ("voided (UTC)", "by", "for", "why", ">position")
    print_table("Voids", columns, map(_void_row, answer.voids))
    if answer.is_void:
        note("It counts no more, and its ID is free.")


def _void_row(void: queries.InstanceVoid) -> tuple[str, ...]:
    return (
        time_text(void.recorded),
        void.author,
        void.attribution_id,
        void.reason,
        _position(void.position),
    )


def _cycle_row(line: queries.CycleLine) -> tuple[str, ...]:
    return (
        line.attribution_id,
        f"{line.cycle_number}",
        f"{line.seconds:,}",
        credits_text(line.credit_cents),
    )


def _event_row(event: queries.LogEvent) -> tuple[str, ...]:
    return (
        _position(event.position),
        time_text(event.recorded),
        event.topic,
        event.author,
        event.json + _erased(event),
    )


def _erased(event: queries.LogEvent) -> str:
    """What became of an event's personal fields, where they are gone."""
    if not event.HasField("erased"):
        return ""
    return f" (personal data erased at {time_text(event.erased)} by {event.erased_by})"


def end_instance(instance: str, *, at: str, reason: str, target: str) -> int:
    """Ends a running instance, or corrects when one ended."""
    request = admin.EndInstanceRequest(
        workspace_instance_id=instance, at=parse_time(at, option="--at"), reason=reason
    )
    with connected(target) as services:
        services.admin.EndInstance(request, timeout=WRITE_SECONDS)
    note(f"{instance} ended at {time_text(request.at)} UTC.")
    return OK


def list_suspects(
    *, page_size: int, cursor: str, every_page: bool, target: str, as_json: bool
) -> int:
    """Instances that run for very long, and stops without a start."""
    with connected(target) as services:

        def ask(size: int, after: str) -> tuple[list[queries.SuspectInstance], str]:
            request = queries.ListSuspectInstancesRequest(page_size=size, cursor=after)
            answer = services.queries.ListSuspectInstances(request, timeout=READ_SECONDS)
            return list(answer.instances), answer.next_cursor

        show_listing(
            walk(ask, page_size=page_size, cursor=cursor, every_page=every_page),
            key="instances",
            columns=("workspace instance", "payer", "why", "since (UTC)"),
            row=_suspect_row,
            as_json=as_json,
        )
    return OK


def _suspect_row(suspect: queries.SuspectInstance) -> tuple[str, ...]:
    return (
        suspect.workspace_instance_id,
        suspect.attribution_id,
        _SUSPECT_REASONS.get(suspect.reason, "unknown"),
        _time(suspect, "since"),
    )


def reconcile(*, target: str) -> int:
    """Accrues running instances; takes as long as it takes, so it has no deadline."""
    with connected(target) as services:
        services.usage.ReconcileUsage(usage.ReconcileUsageRequest())
    note("Running instances are accrued to now.")
    return OK


def reset(*, confirm: bool, target: str) -> int:
    """Resets the cycles that have ended; with `confirm` although the clock seems to have jumped."""
    with connected(target) as services:
        if not confirm:
            services.usage.ResetUsage(usage.ResetUsageRequest())
            note("Cost centers whose cycle has ended are reset.")
            return OK
        answer = services.admin.ConfirmReset(admin.ConfirmResetRequest())
    note(f"The clock is confirmed: {answer.reset:,} cost centers reset, {answer.failed:,} failed.")
    return FAILED if answer.failed else OK


def accept_gap(source: str, *, lost_from: int, go_on_at: int, target: str) -> int:
    """Lets the intake of a partition go on behind messages that are lost."""
    request = admin.AcceptGapRequest(source=source, lost_from=lost_from, go_on_at=go_on_at)
    with connected(target) as services:
        services.admin.AcceptGap(request, timeout=WRITE_SECONDS)
    note(f"{source} goes on at offset {go_on_at:,}; the intake takes it up within seconds.")
    return OK


def tail_log(
    *, from_position: int, last: int, limit: int, follow: bool, target: str, as_json: bool
) -> int:
    """Recorded events, a line each; with `follow` until it is interrupted."""
    request = queries.TailLogRequest(
        from_position=from_position, last=last, limit=limit, follow=follow
    )
    try:
        with connected(target) as services:
            for answer in services.queries.TailLog(request):
                for event in answer.events:
                    sys.stdout.write(f"{log_line(event, as_json=as_json)}\n")
                sys.stdout.flush()
    except KeyboardInterrupt:
        if not follow:
            raise
    return OK


def log_line(event: queries.LogEvent, *, as_json: bool) -> str:
    """An event of the log on one line."""
    if as_json:
        return encode(plain(event))
    shard = f"{event.position.shard}:" if event.position.shard else ""
    return printable(
        f"{shard}{event.position.number}  {time_text(event.recorded)}  {event.topic}  "
        f"{event.stream}/{event.version}  {event.author}  {event.json}{_erased(event)}"
    )


def check(*, target: str, fold_log: bool, meters: bool, as_json: bool) -> int:
    """Recomputes every law on the live store; takes as long as it takes."""
    with connected(target) as services:
        answer = services.queries.Check(queries.CheckRequest(fold_log=fold_log))
        if meters:
            answer.laws.extend(services.queries.CheckMeters(queries.CheckMetersRequest()).laws)
    if as_json:
        _print_json(plain(answer))
    else:
        for law in answer.laws:
            note(f"{'✗' if law.breaches else '✓'} {law.law} ({law.checked:,} compared)")
            for breach in law.breaches:
                note(f"    {breach}")
    return REJECTED if any(law.breaches for law in answer.laws) else OK


def show_status(*, target: str, as_json: bool) -> int:
    """How the ledger is."""
    with connected(target) as services:
        answer = services.queries.GetStatus(queries.GetStatusRequest(), timeout=READ_SECONDS)
    if as_json:
        _print_json(plain(answer))
        return OK
    total = answer.total
    equation = (
        f"received {total.received:,} = recorded {total.recorded:,} + "
        f"repeated {total.repeated:,} + rejected {total.rejected:,}"
    )
    pairs = (
        ("version", answer.version),
        ("newest position", _position(answer.head)),
        ("newest recorded", _time(answer, "newest_recorded")),
        ("events", equation),
        ("dead letters", f"{answer.dead_letters:,}"),
        ("cost centers", f"{answer.cost_centers:,}"),
        ("instances", f"{answer.running_instances:,} running, {answer.ended_instances:,} ended"),
        ("accrued to", _time(answer, "accrued_to")),
        ("runs longer than expected", f"{answer.runs_long:,}"),
        ("stops without a start", f"{answer.stops_without_start:,}"),
        ("price revision", f"{answer.price_revision}"),
        ("ledger interval", duration_text(answer.ledger_interval)),
        ("resets held", answer.resets_held or "no"),
        ("writes refused", answer.writes_refused or "no"),
        ("heads held", answer.heads_held or "no"),
    )
    print_pairs("", pairs)
    columns: tuple[str, ...] = ("name", ">version", ">position", "state")
    print_table("Projections", columns, map(_projection_row, answer.projections))
    columns = ("name", "every", "last run (UTC)", "next (UTC)", "state")
    print_table("Jobs", columns, map(_job_row, answer.jobs))
    columns = ("tree", ">events", ">in a head", "head signed (UTC)", "key", "state")
    print_table("Trees", columns, map(_tree_row, answer.trees))
    if answer.acts:
        columns = ("done (UTC)", "by", "what", "detail", ">shard")
        print_table("By operators, beside the log", columns, map(_act_row, answer.acts))
    columns = ("delivery", ">received", ">recorded", ">repeated", ">rejected")
    print_table("Deliveries, newest first", columns, map(_delivery_row, answer.deliveries))
    return OK


def _projection_row(projection: queries.ProjectionStatus) -> tuple[str, ...]:
    return (
        projection.name,
        f"{projection.version}",
        _position(projection.position),
        projection.paused or "runs",
    )


def _delivery_row(counts: queries.DeliveryCounts) -> tuple[str, ...]:
    numbers = (counts.received, counts.recorded, counts.repeated, counts.rejected)
    return (counts.delivery, *(f"{number:,}" for number in numbers))


def _job_row(job: queries.JobStatus) -> tuple[str, ...]:
    state = job.last_error or ("on" if job.enabled else "switched off")
    return (
        job.name,
        duration_text(job.every),
        _time(job, "last_started"),
        _time(job, "next"),
        state,
    )


def _tree_row(tree: audit.TreeStatus) -> tuple[str, ...]:
    head = tree.newest_head
    return (
        tree.origin,
        f"{tree.size:,}",
        f"{head.size:,}",
        time_text(head.signed if tree.HasField("newest_head") else None),
        head.key_name or "-",
        f"broken: {tree.fault}" if tree.fault else "whole",
    )


def _act_row(act: queries.Act) -> tuple[str, ...]:
    return time_text(act.time), act.author or "-", act.what, act.detail, f"{act.shard}"


def _position(position: Position) -> str:
    return f"{position.shard}:{position.number}" if position.shard else f"{position.number}"


def _time(message: Message, name: str) -> str:
    """A time of the message as text; a dash where it is not set."""
    time = getattr(message, name)
    assert isinstance(time, Timestamp)
    return time_text(time if message.HasField(name) else None)


def _print_json(value: object) -> None:
    sys.stdout.write(f"{encode(value, indent=2)}\n")
