"""A plain model of one ledger. It keeps the whole log and recomputes every answer from it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Literal

from . import _cycles
from ._answers import Answers, name_based_id
from ._arguments import payer_argument, uuid_argument
from ._clock import ClockWatch
from ._cycles import CostCenter
from ._facts import (
    CostCenterOpened,
    CreditNote,
    CycleReset,
    InstanceVoided,
    NoteVoided,
    OperatorEnded,
    PayerFact,
    PriceList,
    Published,
    Reconciled,
    SpendingLimitSet,
    Started,
    Strategy,
    StrategyChanged,
)
from ._intake import DeadLetter, Receipt
from ._pricing import FALLBACK_RATE
from ._times import cut_to_ms
from ._wire import INT32_MAX, INT32_MIN, LineError, read_line
from .refused import CallError

Outcome = Literal["recorded", "repeated", "rejected"]
HOUR_MS = 3_600_000
DESCRIPTION_CHARACTERS_MAX = 255


def called_name(idempotency_key: str) -> str:
    """Name a note that was added by a call."""
    return f"key:{idempotency_key}"


def published_name(source: str, event_id: str) -> str:
    """Name a note that was published."""
    return f"event:{source}\0{event_id}"


class Oracle(Answers):
    """One ledger. Calls come in the order of the log; instants are nanoseconds since 1970.

    `hold_resets` switches on the rule of section 4 about a clock that jumped ahead.
    """

    def __init__(
        self,
        *,
        default_limit: int = 0,
        entry_id: Callable[[str], str] = name_based_id,
        hold_resets: bool = False,
        ledger_interval_ms: int = HOUR_MS,
    ) -> None:
        self._default_limit = default_limit
        super().__init__(entry_id=entry_id)
        self._hold_resets = hold_resets
        self._clock = ClockWatch(ledger_interval_ms)
        self._price_lists: list[PriceList] = []
        self._notes_by_key: dict[tuple[str, str], tuple[int, str, str]] = {}
        self._notes: dict[tuple[str, str], tuple[int, CreditNote]] = {}
        self._voided_notes: set[tuple[str, str]] = set()

    def publish(self, line: bytes | str, recorded_at_ns: int, *, delivery: str = "") -> Outcome:
        """One CloudEvents line, without or with its newline."""
        original = (line.encode() if isinstance(line, str) else line).rstrip(b"\r\n")
        receipt = self.receipts.setdefault(delivery, Receipt())
        receipt.received += 1
        try:
            outcome = self._intake_line(original, cut_to_ms(recorded_at_ns))
        except LineError as reason:
            known = self.dead_letters.get(original)
            if known is not None:
                known.times += 1
                receipt.repeated += 1
                return "repeated"
            self.dead_letters[original] = DeadLetter(
                original, str(reason), cut_to_ms(recorded_at_ns), delivery
            )
            receipt.rejected += 1
            return "rejected"
        if outcome == "recorded":
            receipt.recorded += 1
        else:
            receipt.repeated += 1
        return outcome

    def retry(self, line: bytes, recorded_at_ns: int) -> Outcome:
        """Try a dead letter again.

        Reading: one that now says what is recorded moves to repeated.
        """
        letter = self.dead_letters[line]
        try:
            outcome = self._intake_line(line, cut_to_ms(recorded_at_ns))
        except LineError:
            return "rejected"
        del self.dead_letters[line]
        receipt = self.receipts[letter.delivery]
        receipt.rejected -= 1
        if outcome == "recorded":
            receipt.recorded += 1
        else:
            receipt.repeated += 1
        return outcome

    def _intake_line(self, line: bytes, at_ms: int) -> Literal["recorded", "repeated"]:
        key, fact = read_line(line)
        if not self._intake.is_new(key, fact):
            return "repeated"
        self._intake.remember(key, fact)
        if isinstance(fact, CreditNote):
            self._notes[fact.payer, published_name(*key)] = self._length, fact
        self._append(self._priced(fact), at_ms)
        return "recorded"

    def _priced(self, fact: Published) -> Published:
        if not isinstance(fact, Started):
            return fact
        return replace(fact, credits_per_minute=self._rate_of(fact))

    def _rate_of(self, start: Started) -> Fraction:
        """By the last recorded list that was in force at the start."""
        rate = FALLBACK_RATE
        for prices in self._price_lists:
            in_force_ms = prices.in_force_from_ms
            if in_force_ms is None or in_force_ms <= start.started_ms:
                rate = prices.rates.get(start.workspace_class, FALLBACK_RATE)
        return rate

    def publish_price_list(
        self, revision: int, rates: Mapping[str, str], in_force_from_ns: int
    ) -> Literal["recorded", "repeated", "ignored"]:
        """A process starts with this list.

        Raises CallError for the revision in the log with other rates.
        """
        exact = {workspace_class: Fraction(text) for workspace_class, text in rates.items()}
        if self._price_lists:
            newest = self._price_lists[-1]
            if revision < newest.revision:
                return "ignored"
            if revision == newest.revision:
                if exact != newest.rates:
                    raise CallError("FAILED_PRECONDITION", "prices.revision")
                return "repeated"
        at_ms = cut_to_ms(in_force_from_ns)
        in_force_from_ms = at_ms if self._price_lists else None
        self._price_lists.append(
            PriceList(revision=revision, rates=exact, in_force_from_ms=in_force_from_ms)
        )
        self._clock.recorded(at_ms)
        self._length += 1
        return "recorded"

    def add_credit_note(
        self,
        payer: str,
        credits_given: int,
        description: str,
        now_ns: int,
        *,
        user_id: str = "",
        idempotency_key: str | None = None,
    ) -> Literal["recorded", "repeated"]:
        """Raises CallError.

        Reading: the description is trimmed before it is measured, compared and kept.
        """
        payer = payer_argument(payer)
        text = description.strip()
        if not text or len(text) > DESCRIPTION_CHARACTERS_MAX:
            raise CallError("INVALID_ARGUMENT", "description")
        user = uuid_argument(user_id, "user_id")
        if not INT32_MIN <= credits_given <= INT32_MAX:
            raise CallError("INVALID_ARGUMENT", "credits")
        if idempotency_key is not None:
            if not (
                0 < len(idempotency_key) < 256 and all("!" <= c <= "~" for c in idempotency_key)
            ):
                raise CallError("INVALID_ARGUMENT", "idempotency-key")
            content = (credits_given, text, user)
            known = self._notes_by_key.setdefault((payer, idempotency_key), content)
            if known != content:
                raise CallError("ALREADY_EXISTS", "idempotency-key")
            if known is not content:
                return "repeated"
        at_ms = cut_to_ms(now_ns)
        note = CreditNote(
            payer=payer,
            cents=-100 * credits_given,
            user_id=user,
            effective_ms=at_ms,
            description=text,
        )
        if idempotency_key is not None:
            self._notes[payer, called_name(idempotency_key)] = self._length, note
        self._append(note, at_ms)
        return "recorded"

    def open_cost_center(
        self, payer: str, now_ns: int, *, default_limit: int | None = None
    ) -> bool:
        """Whether it had to be opened. The limit is the default for teams unless given."""
        payer = payer_argument(payer)
        if self.cost_center(payer) is not None:
            return False
        limit = self._default_limit if default_limit is None else default_limit
        at_ms = cut_to_ms(now_ns)
        opened = CostCenterOpened(payer=payer, spending_limit=limit, cycle_start_ms=at_ms)
        self._append(opened, at_ms)
        return True

    def get_cost_center(
        self, payer: str, now_ns: int, *, default_limit: int | None = None
    ) -> CostCenter:
        """GetCostCenter: opens it, or resets it first if its cycle has ended."""
        payer = payer_argument(payer)
        self.open_cost_center(payer, now_ns, default_limit=default_limit)
        self._reset(payer, cut_to_ms(now_ns))
        return self._opened(payer)

    def set_cost_center(
        self,
        payer: str,
        spending_limit: int,
        strategy: Strategy,
        now_ns: int,
        *,
        default_limit: int | None = None,
    ) -> CostCenter:
        """SetCostCenter.

        Reading: without a cost center it is first opened as a first read would (OTHER, default
        limit), then set, so that a first SetCostCenter with STRIPE makes two boundaries.
        """
        payer = payer_argument(payer)
        if not 0 <= spending_limit <= INT32_MAX:
            raise CallError("INVALID_ARGUMENT", "spending_limit")
        center = self.get_cost_center(payer, now_ns, default_limit=default_limit)
        at_ms = cut_to_ms(now_ns)
        if center.strategy == strategy:
            if center.spending_limit != spending_limit:
                self._append(SpendingLimitSet(payer=payer, spending_limit=spending_limit), at_ms)
            return self._opened(payer)
        upgrade = strategy == "STRIPE"
        changed = StrategyChanged(
            payer=payer,
            strategy=strategy,
            spending_limit=spending_limit if upgrade else center.latest_other_limit,
            write_off_cents=-max(self.balance_cents(payer), 0) if upgrade else 0,
            cycle_start_ms=at_ms,
        )
        self._append(changed, at_ms)
        return self._opened(payer)

    def reset_usage(self, now_ns: int, *, confirm: bool = False) -> list[str]:
        """ResetUsage; `confirm` lifts a held clock. The payers that were reset."""
        now_ms = cut_to_ms(now_ns)
        if confirm:
            self._clock.confirm(now_ms)
        return [payer for payer in list(self._logs) if self._reset(payer, now_ms)]

    def reconcile(self, now_ns: int) -> None:
        """ReconcileUsage: the accrual instant becomes now, even if the clock went back."""
        at_ms = cut_to_ms(now_ns)
        self._reconciles.append((self._length, Reconciled(at_ms=at_ms)))
        self._length += 1
        self._clock.reconciled(at_ms)

    def end_instance(self, instance_id: str, at_ns: int, now_ns: int) -> None:
        """`usage-ledger instance end`: stopped at this time, whatever was said before.

        Raises CallError for an instance of which no start counts, for a time before that or in the
        future.
        """
        instance_id = uuid_argument(instance_id, "instance_id")
        facts = self._intake.by_instance.get(instance_id, [])
        starts_ms = [fact.started_ms for fact in facts if isinstance(fact, Started)]
        if not starts_ms:
            raise CallError("NOT_FOUND", "instance_id")
        if not starts_ms[0] <= cut_to_ms(at_ns) <= cut_to_ms(now_ns):
            raise CallError("INVALID_ARGUMENT", "at")
        ended = OperatorEnded(
            payer=facts[0].payer, instance_id=instance_id, ended_ms=cut_to_ms(at_ns)
        )
        facts.append(ended)
        self._append(ended, cut_to_ms(now_ns))

    def void_instance(self, instance_id: str, now_ns: int, *, payer: str = "") -> None:
        """Nothing counts that is recorded of the instance; what comes next begins it anew.

        Raises CallError, also where it is another payer's than the one that is named.
        """
        instance_id = uuid_argument(instance_id, "instance_id")
        facts = self._intake.by_instance.get(instance_id)
        if facts is None:
            raise CallError("NOT_FOUND", "instance_id")
        if not facts or payer not in {"", facts[0].payer}:
            raise CallError("FAILED_PRECONDITION", "instance_id")
        voided = InstanceVoided(payer=facts[0].payer, instance_id=instance_id)
        self._intake.void(instance_id)
        self._append(voided, cut_to_ms(now_ns))

    def void_note(self, payer: str, name: str, now_ns: int) -> None:
        """The credit note counts no more. Raises CallError.

        `name` is what `called_name` and `published_name` give.
        """
        found = self._notes.get((payer, name))
        if found is None:
            raise CallError("NOT_FOUND", "note")
        if (payer, name) in self._voided_notes:
            raise CallError("FAILED_PRECONDITION", "note")
        self._voided_notes.add((payer, name))
        voided = NoteVoided(payer=payer, note_position=found[0], note=found[1])
        self._append(voided, cut_to_ms(now_ns))

    def _reset(self, payer: str, now_ms: int) -> bool:
        center = self.cost_center(payer)
        if center is None or center.strategy == "STRIPE" or now_ms < center.next_billing_ms:
            return False
        if self._hold_resets and self._clock.holds_resets(now_ms):
            return False
        start_ms, next_ms = _cycles.next_cycle(center.anchor_ms, now_ms=now_ms)
        owed_cents = max(0, self.balance_cents(payer))
        covered_cents = owed_cents
        if center.spending_limit > 0:
            covered_cents = min(owed_cents, center.spending_limit * 100)
        reset = CycleReset(
            payer=payer,
            write_off_cents=-covered_cents,
            written_at_ms=now_ms,
            cycle_start_ms=start_ms,
            next_billing_ms=next_ms,
        )
        self._append(reset, now_ms)
        return True

    def _append(self, fact: PayerFact, at_ms: int) -> None:
        self._logs.setdefault(fact.payer, []).append((self._length, fact))
        self._length += 1
        self._clock.recorded(at_ms)
