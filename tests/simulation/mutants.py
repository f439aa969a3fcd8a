"""Bugs to plant, one statement each; the simulation must find every one of them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

import ledger.core
import ledger.intake
from aggregates import REPEATED, CostCenter, PriceBook, WorkspaceInstance
from events import PriceListPublished
from events.money import cents_per_second, runtime_cents, runtime_seconds
from ledger.core import Core
from ledger.group import Caches, Group
from persistence.sql import SqlRows, SqlTransaction
from projections._entry_rows import EntryRows
from projections.balances import BalanceFold
from projections.instances import InstanceFold
from projections.invoice_drafts import InvoiceDraftFold
from projections.rows import OWN_PERIOD, Amount

Mutant = Callable[[], contextlib.AbstractContextManager[None]]
MUTANTS: dict[str, Mutant] = {}


def planted(*places: tuple[Any, str]) -> Callable[[Callable[..., Any]], Mutant]:
    """Put a function in the place of others; it gets the one it replaces first."""

    def register(bug: Callable[..., Any]) -> Mutant:
        @contextlib.contextmanager
        def plant() -> Iterator[None]:
            originals = [(owner, name, getattr(owner, name)) for owner, name in places]
            for owner, name, original in originals:
                setattr(owner, name, _with(bug, original))
            try:
                yield
            finally:
                for owner, name, original in originals:
                    setattr(owner, name, original)

        MUTANTS[bug.__name__.replace("_", " ")] = plant
        return plant

    return register


def everywhere(function: Callable[..., Any]) -> list[tuple[Any, str]]:
    """Find the folds' modules that have imported a function."""
    name = function.__name__
    return [
        (module, name)
        for path, module in sorted(sys.modules.items())
        if path.startswith("projections.") and getattr(module, name, None) is function
    ]


def _with(bug: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    def replaced(*values: Any, **names: Any) -> Any:
        return bug(original, *values, **names)

    return replaced


# Intake -------------------------------------------------------------------------------------------


@planted((Group, "claim"))
def inbox_not_written(_original: Any, *_values: Any) -> None:
    """Nobody knows afterwards that the event was recorded."""


@planted((ledger.intake, "_decide"))
def repeat_counted_as_recorded(original: Any, *values: Any) -> str:
    original(*values)
    return ""


@planted((SqlTransaction, "dead_letter_repeated"))
def dead_letter_counter_not_raised(_original: Any, *_values: Any) -> None:
    """The same bytes came again, and nobody counted."""


@planted((ledger.intake, "_keep_rejects"))
def repeated_reject_counted_twice(original: Any, *values: Any) -> Any:
    rejects, again = original(*values)
    return rejects, again * 2


# Decisions ----------------------------------------------------------------------------------------


@planted((WorkspaceInstance, "stop_requested"))
def late_stopping_ignored(
    original: Any, state: WorkspaceInstance, *values: Any, **names: Any
) -> Any:
    event = original(state, *values, **names)
    return REPEATED if state.stopped is not None else event


@planted((CostCenter, "reset"))
def write_off_written_twice(original: Any, *values: Any, **names: Any) -> Any:
    closed, started = original(*values, **names)
    return msgspec.structs.replace(closed, write_off_cents=2 * closed.write_off_cents), started


@planted((CostCenter, "reset"))
def reset_drifts(original: Any, state: CostCenter, *values: Any, **names: Any) -> Any:
    """Months are added to the last boundary: 31 January, 28 February, 28 March."""
    state.anchor, state.periods = state.cycle_start, 0
    return original(state, *values, **names)


@planted((CostCenter, "reset"))
def limit_of_nothing_covers_nothing(
    original: Any, state: CostCenter, balance: int, **names: Any
) -> Any:
    return original(state, balance if state.spending_limit else 0, **names)


@planted((CostCenter, "_limit"))
def limit_under_stripe_remembered_for_other(
    _original: Any, state: CostCenter, spending_limit: int
) -> None:
    state.spending_limit = state.other_limit = spending_limit


@planted((PriceBook, "in_force"))
def newest_price_list_for_old_starts(_original: Any, book: PriceBook, _instant: int) -> Any:
    return book.newest


# The core -----------------------------------------------------------------------------------------


@planted((Group, "balance"))
def balance_without_what_is_not_folded_yet(_original: Any, group: Group, payer: bytes) -> int:
    return group.transaction.balance(payer)[0]


@planted((Caches, "clear"))
def caches_kept_after_rollback(_original: Any, _caches: Caches) -> None:
    """What was decided and never stored stays in memory."""


@planted((Core, "_context"))
def recorded_times_follow_the_clock_back(original: Any, core: Core) -> Any:
    return original(core)._replace(last_recorded=-(2**62))


@planted((ledger.core, "_refuse"))
def refusals_not_told(_original: Any, _works: Any) -> None:
    """The store refused, and everybody hears of success."""


@planted((Core, "_run_apart"))
def neighbours_of_a_crash_not_tried_again(_original: Any, _core: Core, _parts: Any) -> None:
    """They hear what the group had answered before it was rolled back."""


@planted((PriceBook, "add"))
def second_price_list_forgotten(
    original: Any, book: PriceBook, published: PriceListPublished
) -> None:
    if book.newest is None:
        original(book, published)


# Rows ---------------------------------------------------------------------------------------------


@planted((SqlRows, "advance"))
def position_greater_than_instead_of_compare_and_set(
    _original: Any, rows: SqlRows, name: str, *, position: int, **_expected: int
) -> None:
    rows._session.change(
        "UPDATE projections SET position = ? WHERE name = ? AND position < ?",
        (position, name, position),
    )


@planted((InstanceFold, "_unaccrue"))
def accrual_not_removed_at_stop(_original: Any, *_values: Any) -> None:
    """What ran and ended counts twice."""


@planted((SqlRows, "add_bases"))
def base_not_subtracted_when_an_instance_ends(_original: Any, *_values: Any) -> None:
    """The open cycle goes on subtracting what belongs to an instance that is gone."""


@planted((SqlRows, "add_rollups"))
def rollup_day_missed(
    original: Any, rows: SqlRows, deltas: Mapping[tuple[bytes, bytes, int, int], Any]
) -> None:
    """Only where an entry moves to another time."""
    original(rows, {k: v for k, v in deltas.items() if k[2] != 1 or v[0] > 0})


@planted((SqlRows, "put_corrections"))
def second_correction_in_a_cycle_measured_from_the_first(_original: Any, *_values: Any) -> None:
    """What an entry was at the boundary is forgotten."""


@planted((SqlRows, "replace_accruals"))
def accrual_instant_not_moved(
    original: Any, rows: SqlRows, accrual: Any, amounts: Mapping[Any, Any]
) -> None:
    original(rows, accrual._replace(instant=rows.accrual().instant), amounts)


@planted((SqlRows, "close_cycle"))
def running_instances_without_a_line_at_the_boundary(
    original: Any, rows: SqlRows, cycle: Any, *, closed_position: int, lines: Any
) -> None:
    original(
        rows, cycle, closed_position=closed_position, lines={k: Amount(0, 0, 0) for k in lines}
    )


# Voids --------------------------------------------------------------------------------------------


@planted((WorkspaceInstance, "_begin_anew"))
def void_frees_no_id(_original: Any, _state: WorkspaceInstance) -> None:
    """What was recorded goes on contradicting."""


@planted((WorkspaceInstance, "_not_of_a_voided_life"))
def late_stop_of_a_voided_life_begins_another(_original: Any, *_values: Any) -> None:
    """The payer it was taken from has the instance again."""


@planted((BalanceFold, "_take_away"))
def void_lowers_no_balance(_original: Any, *_values: Any) -> None:
    """The entry is gone, and is owed all the same."""


@planted((InvoiceDraftFold, "_voided"))
def void_changes_no_line(_original: Any, *_values: Any) -> None:
    """The open cycle goes on charging for it."""


@planted((InvoiceDraftFold, "_late_for"))
def void_of_a_closed_cycle_names_no_period(_original: Any, *_values: Any) -> int:
    return OWN_PERIOD


@planted((SqlRows, "correction"))
def void_after_a_correction_is_dated_by_it(original: Any, rows: SqlRows, *key: int) -> Any:
    """Only what a void takes back looks at the date."""
    kept = original(rows, *key)
    return None if kept is None else kept._replace(effective=2**45)


@planted((InvoiceDraftFold, "_voided_note"))
def voided_note_of_a_closed_cycle_is_taken_for_an_own(
    original: Any, fold: InvoiceDraftFold, note: Any
) -> None:
    original(fold, note._replace(position=2**62))


@planted((EntryRows, "supersede"))
def how_an_entry_stood_is_forgotten(_original: Any, *_values: Any) -> None:
    """Nobody can tell any more what was known before."""


@planted((EntryRows, "take"))
def voided_entry_stays_in_the_list(original: Any, entries: EntryRows, *key: Any) -> Any:
    entry = original(entries, *key)
    entries._removed.clear()
    return entry


# Arithmetic ---------------------------------------------------------------------------------------


@planted(*everywhere(runtime_cents))
def cents_rounded_half_to_even(_original: Any, rate: str, seconds: int) -> int:
    numerator, denominator = cents_per_second(rate)
    whole, rest = divmod(seconds * numerator, denominator)
    up = 2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1)
    return whole + up


@planted(*everywhere(runtime_seconds))
def seconds_cut_instead_of_rounded(_original: Any, start: int, end: int) -> int:
    return max(0, end - start) // 1000


@planted(*everywhere(runtime_seconds))
def stop_before_start_negative(_original: Any, start: int, end: int) -> int:
    return (end - start + 500) // 1000


def names() -> Sequence[str]:
    """Give the names of all planted bugs."""
    return tuple(MUTANTS)
