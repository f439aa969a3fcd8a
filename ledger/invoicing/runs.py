"""How runs of ReconcileInvoices went. The last one is kept in the first shard, as webhooks are.

A payer's trouble is the payer's. A run has failed as a whole when it did not come to its end, when
Stripe did not take our key, or when Stripe answered nothing that was asked in it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from billing import StripeCredentialsError, StripeTimeoutError, StripeUnavailableError
from ledger.errors import LedgerError, OutcomeUnknownError, UnavailableError
from ledger.invoicing.troubles import reason_of
from persistence import BillingRun, StoreUnavailableError

if TYPE_CHECKING:
    from ledger.application import Ledger

KEY_REFUSED = "Stripe does not take our key; see the log"
NO_ANSWER = "Stripe answered nothing that it was asked; see the log"
NOT_ASKED = "Stripe did not answer for others: not asked in this run"
# Payers in a row who got no answer, before the others are not asked for. Each may have taken half a
# minute; while Stripe hangs, the ledger's other jobs must not wait for all of them.
UNANSWERED_MAX = 10
_UNANSWERED = {StripeTimeoutError.outcome, StripeUnavailableError.outcome}

log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What a run of ReconcileInvoices came to."""

    done: int
    failed: int


class Run:
    """A run that goes on."""

    def __init__(self, started_at: int, asked: Counter[str]) -> None:
        """`asked` is how many requests this process had made before, by their outcome."""
        self.started_at = started_at
        self.asked_before = asked
        self.done = 0
        self.failed = 0
        self.lacks = ""  # what of it was not done, beside payers

    def count(self, reason: str) -> None:
        """Count a payer; with a reason it failed."""
        if reason:
            self.failed += 1
        else:
            self.done += 1


class Patience:
    """Whether Stripe is asked on in a run: not once nothing has been answered for a while."""

    def __init__(self, answered: Callable[[], int]) -> None:
        """`answered` counts the answers of Stripe."""
        self._answered = answered
        self._answers = answered()
        self._unanswered = 0

    @property
    def is_over(self) -> bool:
        """Whether the rest of the payers are put off."""
        return self._unanswered >= UNANSWERED_MAX and self._answers == self._answered()

    def failed(self, error: Exception) -> None:
        """Hear of a payer who could not be done."""
        answers = self._answered()
        if answers != self._answers:
            self._answers, self._unanswered = answers, 0
        if isinstance(error, OutcomeUnknownError | UnavailableError):
            self._unanswered += 1


class Runs:
    """Keeps how the last one went."""

    def __init__(self, ledger: Ledger) -> None:
        """Keep it in a ledger's first shard."""
        self._ledger = ledger

    def begin(self) -> Run:
        """Begin a run."""
        return Run(self._ledger.now(), self._asked())

    def patience(self) -> Patience:
        """Give how long a run asks on."""
        return Patience(
            lambda: sum(
                times for outcome, times in self._asked().items() if outcome not in _UNANSWERED
            )
        )

    async def end(self, run: Run, error: Exception | None = None) -> Outcome:
        """Keep how a run went, which an error may have ended."""
        reason = self._as_a_whole(run) or run.lacks
        if error is not None:
            reason = reason_of(error)
        if reason:
            log.error("ReconcileInvoices failed as a whole: %s", reason)
        log.info("ReconcileInvoices: %d payers done, %d failed", run.done, run.failed)
        now = self._ledger.now()
        row = BillingRun(run.started_at, now, run.done, run.failed, reason, 0 if reason else now)
        try:
            await self._ledger.shards[0].beside(
                lambda transaction: transaction.put_billing_run(row)
            )
        except (LedgerError, StoreUnavailableError) as trouble:
            log.warning("how ReconcileInvoices went is not kept: %s", trouble)
        return Outcome(run.done, run.failed)

    async def last(self) -> BillingRun | None:
        """Give how the last run of any process went; None before the first."""
        return await self._ledger.shards[0].read(lambda queries: queries.reader.billing_run())

    def _asked(self) -> Counter[str]:
        asked: Counter[str] = Counter()
        for (_, outcome), times in self._ledger.instruments.stripe_requests.samples():
            asked[outcome] += round(times)
        return asked

    def _as_a_whole(self, run: Run) -> str:
        """Say what was wrong with Stripe as a whole.

        By every request of this process meanwhile: a call that Stripe answered beside the run
        shows as well that it answers.
        """
        asked = self._asked() - run.asked_before
        if asked[StripeCredentialsError.outcome]:
            return KEY_REFUSED
        return NO_ANSWER if asked and asked.keys() <= _UNANSWERED else ""
