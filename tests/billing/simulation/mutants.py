"""Bugs to plant, one decision each; the simulation must find every one of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import billing._failures
import ledger.commands.billing_accounts
import ledger.commands.corrections
import ledger.commands.cost_centers
import ledger.commands.settlements
import ledger.commands.usage_reports
import ledger.invoicing.periods
import ledger.invoicing.reports
from billing.gateway import Gateway
from ledger.invoicing.customers import Customers
from tests.billing.simulation.plans import EVERYTHING, REPORTER, Plan

Bug = Callable[..., Any]


@dataclass(frozen=True)
class Mutant:
    """A function that stands in the place of another; it gets the one that it replaces first.

    Or a number in the place of another.
    """

    owner: Any
    name: str
    bug: Bug | int
    plan: Plan

    @contextlib.contextmanager
    def plant(self) -> Iterator[None]:
        """Put it there for a while."""
        original = getattr(self.owner, self.name)
        bug = self.bug

        def stand_in(*given: Any, **more: Any) -> Any:
            assert not isinstance(bug, int)
            return bug(original, *given, **more)

        setattr(self.owner, self.name, bug if isinstance(bug, int) else stand_in)
        try:
            yield
        finally:
            setattr(self.owner, self.name, original)


MUTANTS: dict[str, Mutant] = {}


def planted(owner: Any, name: str, plan: Plan = REPORTER) -> Callable[[Bug], Bug]:
    """Note a bug under the name of its function."""

    def register(bug: Bug) -> Bug:
        MUTANTS[bug.__name__] = Mutant(owner, name, bug, plan)
        return bug

    return register


@planted(ledger.commands.usage_reports, "target_credits")
def credits_are_rounded_down(_: Bug, cumulative_cents: int) -> int:
    return max(cumulative_cents, 0) // 100


@planted(ledger.commands.settlements, "ReportedCycleClosed")
def what_missed_its_invoice_is_not_put_back(original: Bug, *given: Any) -> Any:
    return original(*given[:-1], 0)


@planted(Gateway, "send_usage")
async def a_report_has_no_lasting_name(original: Bug, *given: Any, **more: Any) -> Any:
    return await original(*given, **{**more, "identifier": more["key"]})


@planted(Gateway, "send_usage", EVERYTHING)
async def a_report_is_stamped_at_every_try(original: Bug, self: Gateway, **more: Any) -> Any:
    attempt = int(more["key"].rpartition(":")[2]) // 1_000
    return await original(self, **{**more, "timestamp": attempt})


@planted(ledger.commands.settlements, "settle_invoice")
def an_invoice_is_settled_for_less(original: Bug, *given: Any, **more: Any) -> Any:
    settled = more["settled"]
    return original(
        *given, **{**more, "settled": settled._replace(credits=max(settled.credits - 1, 0))}
    )


@planted(ledger.commands.cost_centers, "unsettled_cents", EVERYTHING)
def what_is_not_settled_yet_is_forgiven(_: Bug, *given: Any) -> int:
    del given
    return 0


@planted(ledger.commands.billing_accounts, "give_up_reports", EVERYTHING)
def reports_of_an_ended_subscription_stay(_: Bug, *given: Any, **more: Any) -> None:
    del given, more


@planted(ledger.commands.corrections, "correct_invoice", EVERYTHING)
def what_stripe_took_back_stays_settled(_: Bug, *given: Any, **more: Any) -> bool:
    del given, more
    return False


@planted(ledger.commands.settlements, "settle_invoice", EVERYTHING)
def an_invoice_without_usage_closes_books(original: Bug, *given: Any, **more: Any) -> Any:
    settled = more["settled"]._replace(bills_usage=True, is_last=True)
    return original(*given, **{**more, "settled": settled})


@planted(ledger.invoicing.periods, "note_period", EVERYTHING)
def cycles_are_counted_on_when_stripe_moves_them(_: Bug, *given: Any, **more: Any) -> bool:
    del given, more
    return False


@planted(ledger.commands.usage_reports, "_time_of_try", EVERYTHING)
def a_clock_that_is_behind_is_believed(_: Bug, group: Any, *given: Any) -> int:
    del given
    return int(group.now // 1_000 * 1_000)


@planted(ledger.commands.usage_reports, "resume_reports", EVERYTHING)
def what_was_refused_stays_refused(_: Bug, *given: Any, **more: Any) -> int:
    del given, more
    return 0


@planted(Gateway, "subscriptions_of", EVERYTHING)
async def nobody_looks_whether_a_subscription_was_made(original: Bug, *given: Any) -> Any:
    await original(*given)
    return ()


@planted(Gateway, "customers_created_between", EVERYTHING)
async def nobody_looks_whether_a_customer_was_made(_: Bug, *given: Any) -> Any:
    del given
    for never in list[Any]():
        yield never


@planted(billing._failures, "_is_replayed", EVERYTHING)
def a_failure_that_may_have_an_effect_yet_is_given_up(_: Bug, *given: Any) -> bool:
    del given
    return True


@planted(Gateway, "events_since", EVERYTHING)
async def nobody_hears_of_what_no_webhook_told(_: Bug, *given: Any, **more: Any) -> Any:
    del given, more
    for never in list[Any]():
        yield never


@planted(Customers, "deleted", EVERYTHING)
async def a_deleted_customer_stays_bound(_: Bug, *given: Any) -> None:
    del given


@planted(ledger.commands.billing_accounts, "renew_attempt", EVERYTHING)
def a_sign_up_waits_until_its_key_is_forgotten(_: Bug, *given: Any, **more: Any) -> None:
    del given, more


@planted(ledger.commands.corrections, "_over", EVERYTHING)
def what_is_paid_after_all_stays_taken_back(_: Bug, *given: Any) -> list[str]:
    del given
    return []


MUTANTS["a_report_is_sent_again_when_its_name_is_forgotten"] = Mutant(
    ledger.invoicing.reports, "RESEND_SECONDS_MAX", 10**9, REPORTER
)
