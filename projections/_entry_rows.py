"""Entries that a run of events made, changed or took away, until they are written."""

from __future__ import annotations

from projections.rows import Entry, EntryVersion, OtherEntry, OtherKey, Rows, Void

Key = tuple[bytes, bytes]  # payer, entry id


class EntryRows:
    """Entries by key. One instance has one at a time, whatever became of those before it."""

    def __init__(self, rows: Rows) -> None:
        """Start with nothing to write."""
        self._rows = rows
        self._begin()

    def _begin(self) -> None:
        self._new: dict[Key, Entry] = {}
        self._changed: dict[Key, Entry] = {}
        self._removed: list[int] = []
        self._versions: list[EntryVersion] = []
        self._others: dict[OtherKey, OtherEntry] = {}
        self._removed_others: list[OtherKey] = []
        self._voids: list[Void] = []

    def at(self, key: Key, effective: int) -> Entry:
        """Give an instance's entry by where it is dated."""
        entry = self._new.get(key) or self._changed.get(key)
        if entry is None:
            entry = self._rows.entry(key[0], effective=effective, entry_id=key[1])
        assert entry is not None, "an event corrects an entry that was never folded"
        return entry

    def add(self, entry: Entry) -> None:
        """Take a new entry."""
        self._new[entry.payer, entry.entry_id] = entry

    def change(self, entry: Entry) -> None:
        """Take an entry in the place of what is there, or one that was changed where it is."""
        key = entry.payer, entry.entry_id
        target = self._new if key in self._new else self._changed
        target[key] = entry

    def supersede(self, before: Entry, position: int, *, ran: bool = False) -> None:
        """Remember how an entry stood until the event at a position."""
        self._versions.append(EntryVersion(before, position, ran))

    def take(self, key: Key, effective: int) -> Entry:
        """Take an entry away; another life of the instance may bring its key again."""
        entry = self.at(key, effective)
        if self._new.pop(key, None) is None:
            self._changed.pop(key, None)
            self._removed.append(entry.start_position)
        return entry

    def add_other(self, other: OtherEntry) -> None:
        """Take a new invoice or credit note."""
        self._others[other.payer, other.effective, other.entry_id] = other

    def take_other(self, key: OtherKey) -> OtherEntry:
        """Take a credit note away."""
        note = self._others.pop(key, None)
        if note is None:
            note = self._rows.other_entry(key)
            self._removed_others.append(key)
        assert note is not None, "an event voids a credit note that was never folded"
        return note

    def add_void(self, void: Void) -> None:
        """Keep that something was voided."""
        self._voids.append(void)

    def flush(self) -> None:
        """Write what there is and forget it."""
        self._rows.write_entries(
            new=self._new.values(),
            changed=self._changed.values(),
            removed=self._removed,
            versions=self._versions,
        )
        if self._others or self._removed_others:
            self._rows.write_other_entries(new=self._others.values(), removed=self._removed_others)
        if self._voids:
            self._rows.add_voids(self._voids)
        self._begin()
