"""Faults at named points: which request goes wrong, and how."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase


class Fault(StrEnum):
    """What goes wrong; `_AFTER` and ANSWER_LOST: what was asked for has been done."""

    UNREACHABLE = "unreachable"
    ANSWER_LOST = "answer_lost"
    TIMEOUT = "timeout"
    TIMEOUT_AFTER = "timeout_after"
    CONFLICT = "conflict"
    # A request that nobody can mend by sending it again.
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    # With the header `Stripe-Should-Retry: true`, without which the SDK does not try again.
    RATE_LIMITED_RETRY = "rate_limited_retry"
    # Both are stored under the idempotency key: a repeat is told 500 again.
    SERVER_ERROR = "server_error"
    SERVER_ERROR_AFTER = "server_error_after"
    # A gateway gives up waiting: 504, while the request goes on, takes effect a while later, and
    # holds its key until then.
    STILL_RUNNING = "still_running"


@dataclass(slots=True)
class FaultRule:
    """`method` and `path` may hold `*`; one of `nth` (of those that match, from 1) and chance.

    `naming`: only requests whose body holds this, a customer's id say.
    """

    fault: Fault
    method: str = "*"
    path: str = "*"
    nth: int | None = None
    probability: float = 1.0
    times_left: int | None = None
    naming: str = ""
    matched: int = field(default=0, init=False)

    def strikes(self, method: str, path: str, body: str, dice: random.Random) -> bool:
        """Tell whether this request goes wrong; it counts requests that match."""
        if self.times_left == 0:
            return False
        if not (fnmatchcase(method, self.method) and fnmatchcase(path, self.path)):
            return False
        if self.naming not in body:
            return False
        self.matched += 1
        if self.nth is not None:
            strikes = self.matched == self.nth
        else:
            strikes = self.probability >= 1.0 or dice.random() < self.probability
        if strikes and self.times_left is not None:
            self.times_left -= 1
        return strikes


class FaultPlan:
    """The rules in force; the first that strikes is what happens."""

    def __init__(self, seed: int | str) -> None:
        """Plan none; chance comes from the seed."""
        self._dice = random.Random(f"{seed}:faults")
        self.rules: list[FaultRule] = []

    def add(
        self,
        fault: Fault | str,
        *,
        method: str = "*",
        path: str = "*",
        nth: int | None = None,
        probability: float = 1.0,
        times: int | None = None,
        naming: str = "",
    ) -> FaultRule:
        """Let requests go wrong from now on: the nth that matches, or each with a probability."""
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"a probability lies between 0 and 1, and {probability} does not")
        rule = FaultRule(Fault(fault), method.upper(), path, nth, probability, times, naming)
        self.rules.append(rule)
        return rule

    def remove(self, rule: FaultRule) -> None:
        """Take one rule back."""
        self.rules.remove(rule)

    def clear(self) -> None:
        """Let everything go well."""
        self.rules.clear()

    def strike(self, method: str, path: str, body: str) -> Fault | None:
        """Give what goes wrong with this request."""
        for rule in self.rules:
            if rule.strikes(method, path, body, self._dice):
                return rule.fault
        return None
