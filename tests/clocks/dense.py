"""Histories of a few instances in which everything happens, over midnights and out of order.

Each step picks what happens and when it is dated, by numbers; what the ledger refuses is a dead
letter or an error, and the history goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from events import (
    OTHER,
    STRIPE,
    CostCenterTerms,
    EntryImported,
    InvoiceCorrected,
    InvoiceSettled,
    WorkspaceInstanceImported,
)
from events.readable import uuid_text
from ledger import commands
from ledger.group import Group
from tests.clocks.sealed import seal
from tests.laws.acts import LEDGER_INTERVAL_MS, OPENING, Act, payer_bytes
from tests.laws.adapter import ProductLedger
from tests.oracle.events import credit_note_event, instance_event, line_of, named_uuid, payer_of
from tests.oracle.operations import Publish, PublishPrices, ResetUsage

HOUR_MS = 3_600_000
BEGIN_MS = 1_793_664_000_000  # 2026-11-03T00:00:00Z
PAYERS = tuple(map(payer_of, ("one", "two")))
INSTANCES = 7
# Hours from now at which something is dated; most of it is late.
DATED = (0, -1, -3, -7, -20, -26, -30, -49, -72, 1, 30)
CLASSES = ("default", "g1-large")

Step = tuple[int, int, int, int, int]  # what, whose, when it is dated, how much, hours until then

steps = st.lists(
    st.tuples(
        st.integers(0, 26),
        st.integers(0, INSTANCES - 1),
        st.integers(0, len(DATED) - 1),
        st.integers(0, 9),
        st.sampled_from((0, 0, 1, 5, 11, 24)),
    ),
    min_size=5,
    max_size=60,
)


class Dense:
    """Tells a ledger what a list of steps says."""

    def __init__(self, ledger: ProductLedger) -> None:
        self.ledger = ledger
        self.now = BEGIN_MS
        self._told = 0
        self._invoices: list[tuple[bytes, str]] = []
        self._prices = 0
        self._publish_prices(0)

    def take(self, taken: Sequence[Step], sealing: Any = None) -> Dense:
        for what, whose, when, much, hours in taken:
            self.now += hours * HOUR_MS
            self._told += 1
            self._step(what, whose, self.now + DATED[when] * HOUR_MS + 137 * much, much)
            if sealing is not None and much % 2:
                seal(self.ledger, sealing, steps=much)
        return self

    def _step(self, what: int, whose: int, dated: int, much: int) -> None:
        payer = PAYERS[much % 4 == 0]
        acts: dict[int, Callable[[], object]] = {
            5: lambda: self._note(payer, dated, much - 3),
            6: self._void_note,
            7: self._reconcile,
            8: self._reconcile,
            9: lambda: self._run(_opened(payer)),
            10: lambda: self.ledger.apply(ResetUsage(at_ns=self._ns)),
            11: lambda: self._run(_set(payer, much)),
            12: lambda: self._settle(payer_bytes(payer), dated, much),
            13: lambda: self._correct(dated, much),
            14: lambda: self._run(_entry(payer, dated, much, self._told)),
            15: lambda: self._run(_imported(whose, payer, dated, much)),
            16: lambda: self._run(_taken_over(payer, dated)),
            17: lambda: self._end(whose, dated),
            18: lambda: self._void(whose),
            19: lambda: self._jump(much),
            20: lambda: self._publish_prices(much),
        }
        act = acts.get(what)
        if act is not None:
            act()
            return
        kind = ("started", "stopping", "stopped")[what % 3]
        more = {"workspaceClass": CLASSES[whose % 2]} if kind == "started" else {}
        event = instance_event(
            kind,  # type: ignore[arg-type]
            dated * 1_000_000,
            instance_id=named_uuid("instance", whose),
            payer=payer,
            event_id=named_uuid("event", self._told),
            more=more,
        )
        self._publish(event)

    def _publish_prices(self, much: int) -> None:
        self._prices += 1
        rates = (("default", "0.1666666667"), ("g1-large", f"0.3{much}"))
        operation = PublishPrices(at_ns=self._ns, revision=self._prices, rates=rates)
        self.ledger.apply(operation)

    @property
    def _ns(self) -> int:
        return self.now * 1_000_000

    def _publish(self, event: dict[str, object]) -> None:
        self.ledger.apply(Publish(at_ns=self._ns, lines=(line_of(event),)))

    def _run(self, act: Act) -> object:
        self.ledger.clock.set_ns(self._ns)
        return self.ledger.run(act)[0]

    def _jump(self, much: int) -> None:
        """A month goes by, so that cycles end."""
        self.now += much * 100 * HOUR_MS
        self._reconcile()

    def _reconcile(self) -> None:
        self._run(
            lambda group: commands.reconcile_usage(
                group, from_time=0, to_time=0, ledger_interval_ms=LEDGER_INTERVAL_MS
            )
        )

    def _note(self, payer: str, dated: int, credits_given: int) -> None:
        name = named_uuid("note", self._told)
        event = credit_note_event(
            dated * 1_000_000, payer=payer, credits_given=credits_given, event_id=name
        )
        self._publish(event)

    def _void_note(self) -> None:
        rows = self.ledger.select(
            "SELECT payer, entry_id FROM other_entries WHERE kind = 'credit_note'"
            " ORDER BY position DESC LIMIT 1"
        )
        for payer, entry_id in rows:
            self._run(void_of(payer, uuid_text(entry_id)))

    def _end(self, whose: int, dated: int) -> None:
        name = named_uuid("instance", whose)
        self._run(lambda group: commands.end_instance(group, name, dated, "gone"))

    def _void(self, whose: int) -> None:
        name = named_uuid("instance", whose)
        self._run(lambda group: commands.void_instance(group, name, "wrong", payer=None))

    def _settle(self, payer: bytes, dated: int, much: int) -> None:
        invoice = f"in_{self._told}"
        self._invoices.append((payer, invoice))

        def act(group: Group) -> None:
            group.append(
                f"invoice:{invoice}",
                1,
                InvoiceSettled(
                    group.recorded_at, "test", payer, invoice, "cus", "sub", -100 * much, dated,
                    dated - HOUR_MS, dated,
                ),
            )  # fmt: skip

        self._run(act)

    def _correct(self, dated: int, much: int) -> None:
        if not self._invoices:
            return
        payer, invoice = self._invoices[-1]

        def act(group: Group) -> None:
            group.append_next(
                f"invoice:{invoice}",
                InvoiceCorrected(
                    group.recorded_at, "test", payer, invoice, "voided", 10 * much, dated
                ),
            )

        self._run(act)


def void_of(payer: bytes, entry_id: str) -> Act:
    def act(group: Group) -> None:
        commands.void_credit_note(group, payer, entry_id, "wrong")

    return act


def _opened(payer: str) -> Act:
    return lambda group: commands.open_cost_center(group, payer_bytes(payer), OPENING)


def _set(payer: str, much: int) -> Act:
    return lambda group: commands.set_cost_center(
        group,
        payer_bytes(payer),
        spending_limit=much,
        strategy=STRIPE if much % 3 else OTHER,
        opening=OPENING,
    )


def _entry(payer: str, dated: int, much: int, told: int) -> Act:
    name = named_uuid("entry", told)
    kind = "invoice" if much % 2 else "credit_note"

    def act(group: Group) -> None:
        entry_id = bytes.fromhex(name.replace("-", ""))
        event = EntryImported(
            group.recorded_at, "test", payer_bytes(payer), entry_id, kind, 7 * much - 20, dated,
            b"", b"",
        )  # fmt: skip
        group.append(f"imported-entry:{name}", 1, event)

    return act


def _imported(whose: int, payer: str, dated: int, much: int) -> Act:
    """Runs, is stopping, or is final; its start may not be known."""
    stream = "instance:" + named_uuid("instance", whose)
    runs, is_final = much % 3 == 0, much % 3 == 1
    started = dated - 30 * HOUR_MS if runs or much % 4 else None

    def act(group: Group) -> None:
        state = group.instance(stream)
        if state.is_known:
            return
        event = WorkspaceInstanceImported(
            group.recorded_at, "test", payer_bytes(payer), "w", CLASSES[whose % 2], "regular", b"",
            None, started, None if runs else dated, dated if is_final else None, dated,
            None if runs else 11 * much, 1, "0.3333333333", b"",
        )  # fmt: skip
        group.append_instance(stream, state, event)

    return act


def _taken_over(payer: str, dated: int) -> Act:
    def act(group: Group) -> None:
        key = payer_bytes(payer)
        state = group.cost_center(key)
        if state.version:
            return
        history = tuple(
            CostCenterTerms(limit, OTHER, made, made, made + 700 * HOUR_MS)
            for limit, made in ((5, dated - 900 * HOUR_MS), (9, dated - 100 * HOUR_MS))
        )
        event = state.take_over(
            key, history, cycle_number=2, recorded_at=group.recorded_at, author="test"
        )
        group.append_cost_center(state, event, key)

    return act
