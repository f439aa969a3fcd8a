"""What changed in a cycle: its lines, its credit notes, its invoices."""

from __future__ import annotations

from ledger.audit.why.balance import OF_KIND, TITLES, voided_numbers
from ledger.audit.why.basis import Basis
from ledger.audit.why.cursors import Place, integer
from ledger.audit.why.folders import Folder, Page
from ledger.audit.why.lines import LineFolder, lines_of, period_bounds
from ledger.audit.why.numbers import CREDIT_NOTES, CYCLE, VOIDED_ENTRY, Number, Stated
from ledger.audit.why.others import other_numbers
from ledger.errors import NotFoundError
from persistence import CycleRow
from projections import Void

OF_CYCLE = "of_cycle:"  # before the kind of a cycle's credit notes or invoices
_FOREVER = 2**62


class CycleFolder(Folder):
    """A cycle, without what was carried over into it."""

    kind, holds_folders = CYCLE, True

    def __init__(self, basis: Basis, cycle: CycleRow) -> None:
        """Explain a cycle of the payer."""
        self._basis, self._cycle = basis, cycle
        self.key = (cycle.number,)
        folders: list[Folder] = [
            LineFolder(basis, cycle, workspace_class, late_for, amount)
            for (workspace_class, late_for), amount in sorted(lines_of(basis, cycle).items())
        ]
        folders += [CycleOthersFolder(basis, cycle, kind) for kind in OF_KIND]
        self._folders = [folder for folder in folders if folder.whole().part_count]

    def whole(self) -> Number:
        """Give what changed in it."""
        cycle, folders = self._cycle, self._folders
        return Number(
            CYCLE,
            f"cycle {cycle.number}{'' if cycle.closed_position else ', open'}",
            sum(folder.whole().cents for folder in folders),
            self._basis.payer,
            part_count=len(folders),
            period=period_bounds(self._basis, cycle.number),
            cycle=cycle.number,
            remarks=[f"It began with {_credits(cycle.carried_cents)} credits carried over."],
        )

    def page(self, after: Place, limit: int) -> Page:  # noqa: ARG002  # classes are few
        """Give all of them."""
        return Page(self._folders, None)


class CycleOthersFolder(Folder):
    """Credit notes of a cycle, or its invoices and write-offs."""

    holds_folders = False

    def __init__(self, basis: Basis, cycle: CycleRow, kind: str) -> None:
        """Explain those of one kind."""
        self._basis, self._cycle, self._of = basis, cycle, kind
        self.kind = OF_CYCLE + kind
        self.key = (cycle.number,)

    def whole(self) -> Number:
        """Give their sum."""
        cycle = self._cycle
        counted = (cycle.invoice_count, cycle.invoice_cents)
        if self._of == CREDIT_NOTES:
            counted = cycle.note_count, cycle.note_cents
        title = f"{TITLES[self._of]} of cycle {cycle.number}"
        return Number(
            self._of,
            title,
            counted[1],
            self._basis.payer,
            part_count=counted[0],
            cycle=cycle.number,
        )

    def page(self, after: Place, limit: int) -> Page:
        """Give them in the order of the log; a note that was voided in the cycle, by its void."""
        basis, cycle = self._basis, self._cycle
        opened, closed = cycle.opened_position, cycle.closed_position or _FOREVER
        made = basis.why.others_made(basis.payer, OF_KIND[self._of], after=opened, before=closed)
        found: dict[int, Number] = {}
        voids: list[Void] = []
        if self._of == CREDIT_NOTES:
            voids = basis.why.voided_notes(basis.payer, after=opened)
        places = sorted(
            [row.position for row in made]
            + [void.made_position for void in voids if _was_made(void, opened, closed)]
            + [void.position for void in voids if _was_taken_back(void, opened, closed)]
        )
        first = integer(after, 0) if after else opened
        shown = [place for place in places if place > first]
        page = set(shown[:limit])
        rows = [row for row in made if row.position in page]
        found |= zip([row.position for row in rows], other_numbers(basis, rows), strict=True)
        found |= self._of_voids(
            [void for void in voids if {void.made_position, void.position} & page], opened, closed
        )
        parts = [found[place] for place in shown[:limit]]
        return Page(parts, (shown[limit - 1],) if len(shown) > limit else None)

    def _of_voids(self, voids: list[Void], opened: int, closed: int) -> dict[int, Number]:
        found: dict[int, Number] = {}
        for void, number in zip(voids, voided_numbers(self._basis, voids), strict=True):
            issued, voided = number.steps
            if _was_made(void, opened, closed):
                number.cents, number.steps = void.cents, [issued]
                number.arithmetic = Stated(void.made_position, void.cents)
                number.title = number.title.removeprefix("voided ")
                number.remarks = ["It was voided later, in another cycle."]
                found[void.made_position] = number
            elif _was_taken_back(void, opened, closed):
                number.cents, number.steps = -void.cents, [voided]
                number.kind = VOIDED_ENTRY
                found[void.position] = number
        return found


def _credits(cents: int) -> str:
    whole, hundredths = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole:,}.{hundredths:02d}"


def _was_made(void: Void, opened: int, closed: int) -> bool:
    """Say whether a note counts in a cycle although it was voided: in a later one."""
    return opened < void.made_position < closed < void.position


def _was_taken_back(void: Void, opened: int, closed: int) -> bool:
    """Say whether a cycle takes back a note of an earlier one."""
    return void.made_position <= opened < void.position < closed


def cycle_numbered(basis: Basis, number: int | None) -> CycleRow:
    """Find a cycle; None: the open one."""
    if number is None:
        return basis.cycles[-1]
    for cycle in basis.cycles:
        if cycle.number == number:
            return cycle
    numbers = ", ".join(str(one.number) for one in basis.cycles[-9:])
    raise NotFoundError(f"cycle {number} of the payer is not there: it has {numbers}")
