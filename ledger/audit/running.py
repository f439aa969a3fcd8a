"""The rows that the instance fold of an alternative history keeps: in memory, what may change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from projections import (
    Accrual,
    Entry,
    EntryVersion,
    OpenInstance,
    OtherEntry,
    OtherKey,
    Void,
)

Key = tuple[bytes, bytes]  # payer, entry id


class Running:
    """What the instance fold keeps between runs: rows of instances that are not final."""

    def __init__(self, *, keeps_final: bool = False) -> None:
        """Start with nothing that runs."""
        self._keeps_final = keeps_final
        self.open: dict[bytes, dict[bytes, OpenInstance]] = {}  # by payer, then entry id
        self.entries: dict[Key, Entry] = {}  # drafts, and final ones that are being corrected
        self.notes: dict[OtherKey, OtherEntry] = {}  # that are being voided

    def accrual(self) -> Accrual:
        """Nothing is accrued here: sums are made when they are needed."""
        return Accrual(0, 0)

    def open_instances(self, keys: Sequence[Key]) -> dict[Key, OpenInstance]:
        """Load rows by (payer, entry id)."""
        found = {}
        for key in keys:
            row = self.open.get(key[0], {}).get(key[1])
            if row is not None:
                found[key] = row
        return found

    def entry(self, payer: bytes, *, effective: int, entry_id: bytes) -> Entry | None:
        """Load the entry of an instance by where it is dated."""
        entry = self.entries.get((payer, entry_id))
        return entry if entry is not None and entry.effective == effective else None

    def other_entry(self, key: OtherKey) -> OtherEntry | None:
        """Load a credit note that is voided."""
        return self.notes.get(key)

    def write_instances(self, *, put: Iterable[OpenInstance], removed: Iterable[Key]) -> None:
        """Write instances that are not final."""
        for row in put:
            self.open.setdefault(row.payer, {})[row.entry_id] = row
        for payer, entry_id in removed:
            self.open[payer].pop(entry_id, None)

    def write_entries(
        self,
        *,
        new: Iterable[Entry],
        changed: Iterable[Entry],
        removed: Iterable[int],
        versions: Iterable[EntryVersion],  # noqa: ARG002  # how they stood before is not asked
    ) -> None:
        """Keep entries that may still change."""
        gone = set(removed)
        if gone:  # of another life may be what comes under the same key
            for key in [key for key, e in self.entries.items() if e.start_position in gone]:
                del self.entries[key]
        for entries in (new, changed):
            for entry in entries:
                if entry.draft or self._keeps_final:
                    self.entries[entry.payer, entry.entry_id] = entry
                else:
                    self.entries.pop((entry.payer, entry.entry_id), None)

    def write_other_entries(
        self, *, new: Iterable[OtherEntry], removed: Iterable[OtherKey]
    ) -> None:
        """They are taken from the fold."""

    def add_voids(self, voids: Iterable[Void]) -> None:
        """What they take away is taken from the fold."""
