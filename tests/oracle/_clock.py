"""When resets are held because the clock may have jumped ahead (section 4, "All calls")."""

from ._times import add_months


class ClockWatch:
    """Trusts times up to a month past the newest trusted one.

    A later time is doubted: resets at it are held until two reconciles, a ledger interval or more
    and at most a month apart, both say so. Reading: the newest *trusted* recorded time counts, or
    the jumped clock's own first record would lift the hold at once; anything recorded at a trusted
    time again forgets the first reconcile's word.
    """

    def __init__(self, ledger_interval_ms: int) -> None:
        self._ledger_interval_ms = ledger_interval_ms
        self._trusted_ms: int | None = None
        self._first_word_ms: int | None = None

    def recorded(self, at_ms: int) -> None:
        """Something was recorded at this time."""
        if self._trusted_ms is None:
            self._trusted_ms = at_ms
        elif not self.holds_resets(at_ms):
            self._trusted_ms = max(self._trusted_ms, at_ms)
            self._first_word_ms = None

    def reconciled(self, at_ms: int) -> None:
        """A reconcile was recorded at this time."""
        self.recorded(at_ms)
        if not self.holds_resets(at_ms):
            return
        first_ms = self._first_word_ms
        if first_ms is None or not first_ms <= at_ms <= add_months(first_ms, 1):
            self._first_word_ms = at_ms
        elif at_ms - first_ms >= self._ledger_interval_ms:
            self.confirm(at_ms)

    def confirm(self, at_ms: int) -> None:
        """A person says that the clock is right."""
        self._trusted_ms = at_ms
        self._first_word_ms = None

    def holds_resets(self, now_ms: int) -> bool:
        return self._trusted_ms is not None and now_ms > add_months(self._trusted_ms, 1)
