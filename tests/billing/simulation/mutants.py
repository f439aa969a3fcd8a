"""Bugs to plant, one decision each; the simulation must find every one of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ledger.commands.billing_accounts
import ledger.commands.cost_centers
import ledger.commands.settlements
import ledger.commands.usage_reports
from billing.gateway import Gateway
from tests.billing.simulation.plans import EVERYTHING, REPORTER, Plan

Bug = Callable[..., Any]


@dataclass(frozen=True)
class Mutant:
    """A function that stands in the place of another; it gets the one that it replaces first."""

    owner: Any
    name: str
    bug: Bug
    plan: Plan

    @contextlib.contextmanager
    def plant(self) -> Iterator[None]:
        """Put it there for a while."""
        original = getattr(self.owner, self.name)
        bug = self.bug

        def stand_in(*given: Any, **more: Any) -> Any:
            return bug(original, *given, **more)

        setattr(self.owner, self.name, stand_in)
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


@planted(ledger.commands.settlements, "correct_invoice", EVERYTHING)
def what_stripe_took_back_stays_settled(_: Bug, *given: Any, **more: Any) -> int:
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
