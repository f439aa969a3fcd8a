"""What payers owed at a moment, as it was known at another; and what lies between two answers."""

import itertools
import re
import sys
from collections.abc import Sequence

from cli.connection import READ_SECONDS, connected
from cli.exits import OK, USAGE, CommandFailed
from cli.json_form import encode, plain
from cli.pages import show_listing, walk
from cli.payers import (
    ENTRY_COLUMNS,
    cost_center_pairs,
    entry_kind_text,
    entry_row,
    print_invoice_draft,
)
from cli.tables import note, print_pairs, print_table
from cli.values import credits_text, parse_time, printable, time_text
from usage_ledger.v1 import audit_clocks_pb2 as clocks
from usage_ledger.v1 import publishing_pb2

_POSITION = re.compile(r"(?:([0-9]{1,9})/)?([0-9]{1,18})", re.ASCII)
_PERSONAL = "Names, texts and links are those of today."
_DIFFERENCE_COLUMNS = (
    *("what", "cause", ">first", ">second", ">difference"),
    *("dated (UTC)", "position"),
)
_CAUSES = {
    clocks.EntryDifference.CAUSE_RECORDED: "recorded",
    clocks.EntryDifference.CAUSE_ENDED: "ended",
    clocks.EntryDifference.CAUSE_CORRECTED: "corrected",
    clocks.EntryDifference.CAUSE_VOIDED: "voided",
    clocks.EntryDifference.CAUSE_TIME: "time",
}


def moment(as_of: str | None, known_at: str | None, *, prefix: str = "--") -> clocks.Moment:
    """Reads a moment; `known_at` is a time, a position, or SHARD/POSITION."""
    message = clocks.Moment(as_of=parse_time(as_of, option=f"{prefix}as-of"))
    if known_at is None:
        return message
    position = _POSITION.fullmatch(known_at)
    if position is None:
        try:
            time = parse_time(known_at, option=f"{prefix}known-at")
        except CommandFailed:
            raise CommandFailed(
                f'{prefix}known-at is "{printable(known_at)}", but it must be a time with its zone,'
                " such as 2026-11-01T08:00:00Z, a day in UTC, a position of the log, such as 4711,"
                " or one of a shard, such as 1/4711.",
                exit_code=USAGE,
            ) from None
        assert time is not None
        message.known_at_time.CopyFrom(time)
        return message
    shard, number = position.groups()
    message.known_at_position.CopyFrom(
        publishing_pb2.Position(shard=int(shard or 0), number=int(number))
    )
    return message


def show_balances(payers: Sequence[str], at: clocks.Moment, *, target: str, as_json: bool) -> int:
    """One balance for each payer."""
    answers: list[clocks.GetBalanceAtResponse] = []
    with connected(target) as services:
        for payer in payers:
            request = clocks.GetBalanceAtRequest(attribution_id=payer, moment=at)
            answers.append(services.audit.GetBalanceAt(request, timeout=READ_SECONDS))
    if as_json:
        balances = [
            {"attribution_id": payer, **plain(answer)}
            for payer, answer in zip(payers, answers, strict=True)
        ]
        _print_json({"balances": balances})
        return OK
    rows = [
        (payer, credits_text(answer.credit_cents), _moment_text(answer.moment))
        for payer, answer in zip(payers, answers, strict=True)
    ]
    print_table("", ("payer", ">balance", "moment"), rows)
    return OK


def list_usage(
    payer: str,
    at: clocks.Moment,
    *,
    start: str | None,
    end: str | None,
    user: str,
    page_size: int,
    cursor: str,
    ascending: bool,
    target: str,
    as_json: bool,
) -> int:
    """One page of workspace instances, with the totals over the whole range."""
    request = clocks.ListUsageAtRequest(
        attribution_id=payer,
        moment=at,
        to=parse_time(end, option="--to"),
        user_id=user,
        ascending=ascending,
        page_size=page_size,
        cursor=cursor,
    )
    beginning = parse_time(start, option="--from")
    if beginning is not None:
        # `from` is a word of Python's own.
        getattr(request, "from").CopyFrom(beginning)
    with connected(target) as services:
        answer = services.audit.ListUsageAt(request, timeout=READ_SECONDS)
    if as_json:
        _print_json(plain(answer))
        return OK
    print_table("", ENTRY_COLUMNS, map(entry_row, answer.entries))
    note(f"{answer.total:,} instances, {credits_text(answer.credit_cents)} credits in all.")
    _note_moment(answer.moment)
    note(_PERSONAL)
    if answer.next_cursor:
        note(f"There is more: --cursor {answer.next_cursor}")
    return OK


def show_cost_center(payer: str, at: clocks.Moment, *, target: str, as_json: bool) -> int:
    """The cost center's terms; nothing is opened or reset."""
    request = clocks.GetCostCenterAtRequest(attribution_id=payer, moment=at)
    with connected(target) as services:
        answer = services.audit.GetCostCenterAt(request, timeout=READ_SECONDS)
    if as_json:
        _print_json(plain(answer))
        return OK
    if answer.HasField("cost_center"):
        print_pairs("", cost_center_pairs(answer.cost_center))
    else:
        note(f"{payer} had no cost center.")
    _note_moment(answer.moment)
    return OK


def show_invoice_draft(payer: str, at: clocks.Moment, *, target: str, as_json: bool) -> int:
    """The cycle that was open."""
    request = clocks.GetInvoiceDraftAtRequest(attribution_id=payer, moment=at)
    with connected(target) as services:
        answer = services.audit.GetInvoiceDraftAt(request, timeout=READ_SECONDS)
    if as_json:
        _print_json(plain(answer))
        return OK
    print_invoice_draft(answer.invoice_draft)
    _note_moment(answer.moment)
    return OK


def compare(
    payer: str,
    *,
    first: clocks.Moment,
    second: clocks.Moment,
    page_size: int,
    cursor: str,
    every_page: bool,
    target: str,
    as_json: bool,
) -> int:
    """Both answers, and what lies between them."""
    answers: list[clocks.CompareMomentsResponse] = []
    with connected(target) as services:

        def ask(size: int, after: str) -> tuple[list[clocks.EntryDifference], str]:
            request = clocks.CompareMomentsRequest(
                attribution_id=payer, first=first, second=second, page_size=size, cursor=after
            )
            answer = services.audit.CompareMoments(request, timeout=READ_SECONDS)
            answers[:] = [answer]
            return list(answer.differences), answer.next_cursor

        show_listing(
            walk(ask, page_size=page_size, cursor=cursor, every_page=every_page),
            key="differences",
            columns=(
                "what",
                "cause",
                ">first",
                ">second",
                ">difference",
                "dated (UTC)",
                "position",
            ),
            row=_difference_row,
            as_json=as_json,
            beside=lambda: _both(answers[0]),
        )
        if not as_json:
            _print_both(answers[0])
    return OK


def _both(answer: clocks.CompareMomentsResponse) -> dict[str, object]:
    beside = plain(answer)
    return {
        name: beside[name]
        for name in ("first", "second", "first_balance_cents", "second_balance_cents")
        if name in beside
    }


def _print_both(answer: clocks.CompareMomentsResponse) -> None:
    first, second = answer.first_balance_cents, answer.second_balance_cents
    rows = (
        ("first", credits_text(first), _moment_text(answer.first)),
        ("second", credits_text(second), _moment_text(answer.second)),
        ("difference", credits_text(second - first), ""),
    )
    print_table("Balances", ("answer", ">credits", "moment"), rows)


def _difference_row(each: clocks.EntryDifference) -> tuple[str, ...]:
    sides = [each.first] if each.HasField("first") else []
    if each.HasField("second"):
        sides.append(each.second)
    dates = [time_text(side.effective_time) + (" (ran)" if side.running else "") for side in sides]
    return (
        each.workspace_instance_id or f"{entry_kind_text(each.kind)} {each.entry_id}",
        _CAUSES.get(each.cause, "unknown"),
        credits_text(each.first.credit_cents) if each.HasField("first") else "-",
        credits_text(each.second.credit_cents) if each.HasField("second") else "-",
        credits_text(each.difference_cents),
        " → ".join(date for date, _ in itertools.groupby(dates)),
        _position_text(each.position) if each.HasField("position") else "-",
    )


def _position_text(position: publishing_pb2.Position) -> str:
    return f"{position.shard}/{position.number}" if position.shard else f"{position.number}"


def _moment_text(at: clocks.AnsweredMoment) -> str:
    known = f"known at position {_position_text(at.position)}"
    if at.HasField("recorded"):
        known += f", recorded {time_text(at.recorded)}"
    as_of = f"as of {time_text(at.as_of)}, " if at.HasField("as_of") else ""
    return as_of + known


def _note_moment(at: clocks.AnsweredMoment) -> None:
    text = _moment_text(at)
    note(f"{text[0].upper()}{text[1:]}.")


def _print_json(value: object) -> None:
    sys.stdout.write(f"{encode(value, indent=2)}\n")
