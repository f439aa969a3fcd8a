"""`usage-ledger what-if`: an alternative history beside the recorded one."""

import gc
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from cli.configuration import read
from cli.exits import FAILED, OK, REJECTED, USAGE, CommandFailed
from cli.json_form import encode
from cli.progress import counting
from cli.tables import note, print_table
from cli.values import credits_number, credits_text, parse_time
from events.money import AS_RECORDED
from events.readable import TIME_MAX, TIME_MIN, attribution_id
from ledger.audit.alternative import Outcome, try_rules
from ledger.audit.rules import Resets, Rules, parse_rounding, read_prices
from ledger.audit.what_if import Account, Both, Shown
from ledger.commands.credit_notes import payer_of
from ledger.errors import FailedPreconditionError, InvalidArgumentError, StartRefused
from ledger.stores import open_readers
from persistence import StoreError

# What is decoded leaves nothing cyclic behind; looking for it costs a fifth of the time.
GC_THRESHOLD = 50_000

PAYER_COLUMNS = (
    "payer", ">usage", ">would be", ">difference", ">written off", ">would be", ">balance by",
)  # fmt: skip
CLASS_COLUMNS = ("class", ">instances", ">usage", ">would be", ">difference")


def what_if(
    config: Path | None,
    options: dict[str, Any],
    *,
    prices: Path | None,
    rounding: str | None,
    spending_limit: int | None,
    resets: Resets,
    payers: Sequence[str],
    start: str | None,
    end: str | None,
    top: int,
    as_json: bool,
) -> int:
    """Answers the exit code: 3 when the log does not add up to the balances that are shown."""
    settings = read(config, {name: value for name, value in options.items() if value}).settings
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 50, 100)
    try:
        rules = Rules(
            read_prices(prices) if prices is not None else None,
            parse_rounding(rounding) if rounding is not None else AS_RECORDED,
            spending_limit,
            resets,
        )
        shown = Shown(
            _ms(start, "--from", TIME_MIN),
            _ms(end, "--to", TIME_MAX + 1),
            frozenset(payer_of(payer, field="--payer") for payer in payers),
        )
        with ExitStack() as stack:
            readers = open_readers(settings)
            for reader in readers:
                stack.callback(reader.close)
            tell = stack.enter_context(counting(quiet=as_json))
            outcome = try_rules(readers, rules, shown, partial(tell, "folding"))
    except InvalidArgumentError as error:
        raise CommandFailed(str(error), exit_code=USAGE) from None
    except (FailedPreconditionError, StartRefused, StoreError) as error:
        raise CommandFailed(str(error), exit_code=FAILED) from None
    if as_json:
        _print_json(outcome, top)
    else:
        _print_tables(outcome, top)
    return REJECTED if outcome.breaches else OK


def _ms(text: str | None, option: str, otherwise: int) -> int:
    time: Timestamp | None = parse_time(text, option=option)
    return otherwise if time is None else time.ToMilliseconds()


def _shown_accounts(outcome: Outcome, top: int) -> list[Account]:
    return outcome.accounts[:top] if top else outcome.accounts


def _totals(accounts: Sequence[Account]) -> tuple[Both, Both, Both, dict[str, tuple[int, Both]]]:
    usage, written_off, balance = Both(), Both(), Both()
    classes: dict[str, tuple[int, Both]] = {}
    for account in accounts:
        for total, both in (
            (usage, account.usage),
            (written_off, account.written_off),
            (balance, account.balance),
        ):
            total.add(both.recorded, both.what_if)
        for name, both in account.classes.items():
            count, total = classes.setdefault(name, (0, Both()))
            total.add(both.recorded, both.what_if)
            classes[name] = count + account.instances[name], total
    return usage, written_off, balance, classes


def _print_tables(outcome: Outcome, top: int) -> None:
    accounts = _shown_accounts(outcome, top)
    usage, written_off, balance, classes = _totals(outcome.accounts)
    rows = [
        _row(attribution_id(each.payer), each.usage, each.written_off, each.balance)
        for each in accounts
    ]
    if len(accounts) < len(outcome.accounts):
        rest = _totals(outcome.accounts[len(accounts) :])
        rows.append(_row(f"{len(outcome.accounts) - len(accounts):,} more", *rest[:3]))
    rows.append(_row("all", usage, written_off, balance))
    print_table("", PAYER_COLUMNS, rows)
    print_table(
        "By class",
        CLASS_COLUMNS,
        [
            (
                name,
                f"{count:,}",
                credits_text(both.recorded),
                credits_text(both.what_if),
                _signed(both.difference),
            )
            for name, (count, both) in sorted(
                classes.items(), key=lambda item: (-abs(item[1][1].difference), item[0])
            )
        ],
    )
    _tell_compared(outcome)


def _row(name: str, usage: Both, written_off: Both, balance: Both) -> tuple[str, ...]:
    return (
        name,
        credits_text(usage.recorded),
        credits_text(usage.what_if),
        _signed(usage.difference),
        credits_text(-written_off.recorded),
        credits_text(-written_off.what_if),
        _signed(balance.difference),
    )


def _signed(cents: int) -> str:
    return f"{'+' if cents > 0 else ''}{credits_text(cents)}"


def _tell_compared(outcome: Outcome) -> None:
    for breach in outcome.breaches:
        note(f"✗ {breach}")
    if outcome.breaches:
        note("The log does not add up to what is shown: run `usage-ledger check --fold-log`.")
    elif outcome.compared:
        note(
            f"✓ {outcome.events:,} events as they were recorded add up to the {outcome.compared:,}"
            " balances that are shown"
        )
    else:
        note("The balances that are shown are behind the log, so they were not compared with it.")


def _print_json(outcome: Outcome, top: int) -> None:
    usage, written_off, balance, classes = _totals(outcome.accounts)
    answer = {
        "events": outcome.events,
        "balances_compared": outcome.compared,
        "breaches": outcome.breaches,
        "total": _sums(usage, written_off, balance),
        "classes": [
            {"class": name, "instances": count, **_both("usage", both)}
            for name, (count, both) in sorted(classes.items())
        ],
        "payers": [
            {
                "attribution_id": attribution_id(each.payer),
                **_sums(each.usage, each.written_off, each.balance),
                "credit_notes_cents": each.note_cents,
                "invoices_cents": each.invoice_cents,
                "classes": [
                    {"class": name, "instances": each.instances[name], **_both("usage", both)}
                    for name, both in sorted(each.classes.items())
                ],
            }
            for each in _shown_accounts(outcome, top)
        ],
    }
    sys.stdout.write(f"{encode(answer, indent=2)}\n")


def _sums(usage: Both, written_off: Both, balance: Both) -> dict[str, Any]:
    return {
        **_both("usage", usage),
        **_both("write_offs", written_off),
        **_both("balance", balance),
    }


def _both(name: str, both: Both) -> dict[str, Any]:
    """Cents, as everywhere in JSON, and the difference in credits, too."""
    return {
        f"{name}_cents": both.recorded,
        f"{name}_what_if_cents": both.what_if,
        f"{name}_difference_cents": both.difference,
        f"{name}_difference_credits": credits_number(both.difference),
    }
