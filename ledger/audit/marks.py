"""The roots that a log must lead to: of its heads, of heads kept elsewhere, of retired keys.

Heads are judged as they come: whose signature does not hold, or was given by a key that may not, is
told and compared with nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from ledger.audit.findings import Finding, Mark
from ledger.audit.keys import KeyList
from ledger.audit.notes import Note, NoteError, parse_note
from persistence import Head, Reader, TreeState

PAGE = 500  # heads read at a time
_NEVER = 2**62


class Marks:
    """The marks of one shard, in the order of their sizes."""

    def __init__(
        self, reader: Reader, state: TreeState, keys: KeyList, kept: Sequence[Note]
    ) -> None:
        """Take the heads that there are now."""
        newest = reader.tree.newest_head()
        self._reader = reader
        self._origin = state.origin
        self._keys = keys
        self._newest = 0 if newest is None else newest.number
        self._distrusted: list[Finding] = []
        others = [*self._of_retired_keys(), *self._kept_elsewhere(kept)]
        self._others = sorted(others, key=lambda each: each.size)
        self._coming = self._merged()
        self._waiting: deque[Finding | Mark] = deque()
        self.heads = 0  # looked at
        self.covered = 0  # events, by a head that is to be believed

    @property
    def upcoming(self) -> Mark | None:
        """Give the next mark that was not reached yet."""
        self._fill()
        last = self._waiting[-1] if self._waiting else None
        return last if isinstance(last, Mark) else None

    def next_size(self, size: int) -> int:
        """Give the size of the next mark behind a size."""
        mark = self.upcoming
        assert mark is None or mark.size > size, "what was reached was taken"
        return _NEVER if mark is None else mark.size

    def reached(self, size: int) -> Iterator[Finding | Mark]:
        """Give what was found on the way to a size, and the marks there."""
        while True:
            mark = self.upcoming
            if mark is None or mark.size > size:
                return
            while self._waiting:
                yield self._waiting.popleft()

    def rest(self, size: int, *, is_growing: bool) -> Iterator[Finding]:
        """Judge the heads that were not reached, and tell of those that go beyond the tree."""
        growing = ", which is being built anew" if is_growing else ""
        while True:
            self._fill()
            if not self._waiting:
                return
            each = self._waiting.popleft()
            if isinstance(each, Finding):
                yield each
            elif each.size > size:
                what = f"{each.name} cannot be compared: the tree has {size:,} leaves{growing}"
                yield Finding(each.kind, what)

    def _fill(self) -> None:
        """Look on to the next mark."""
        while not self._waiting or not isinstance(self._waiting[-1], Mark):
            each = next(self._coming, None)
            if each is None:
                return
            self._waiting.append(each)

    def _merged(self) -> Iterator[Finding | Mark]:
        yield from self._distrusted
        others = deque(self._others)
        for each in self._heads():
            if isinstance(each, Mark):
                while others and others[0].size <= each.size:
                    yield others.popleft()
            yield each
        yield from others

    def _heads(self) -> Iterator[Finding | Mark]:
        number, size = 0, 0
        while page := self._reader.tree.heads(after=number, limit=PAGE):
            for head in page:
                if head.number > self._newest:
                    return
                if head.number != number + 1:
                    yield Finding("missing-head", f"head {number + 1} is missing")
                number = head.number
                self.heads += 1
                judged = self._judged(head, size)
                if isinstance(judged, Mark):
                    size = judged.size
                    self.covered = max(self.covered, size)
                yield judged

    def _judged(self, head: Head, size_before: int) -> Finding | Mark:
        name = f"head {head.number}"
        try:
            note = parse_note(head.note)
        except NoteError as error:
            return Finding("forged-head", f"{name} is no signed head: {error}")
        origin, size, root, recorded_at = note.checkpoint
        if origin != self._origin:
            return Finding("forged-head", f"{name} is of another tree, {origin}")
        trust = self._keys.judge(note)
        if trust.objection:
            return Finding(trust.kind, f"{name}, of {size:,} events: {trust.objection}")
        told = head.size, head.root, head.recorded_at, head.key_name
        signers = [signature.key_name for signature in note.signatures]
        if told[:3] != (size, root, recorded_at) or told[3] not in signers:
            return Finding("head", f"the row of {name} says something else than its signed note")
        if size < max(size_before, 1):
            return Finding("head", f"{name} covers {size:,} events, fewer than the one before it")
        return Mark("head", size, root, f"{name}, of {size:,} events,")

    def _of_retired_keys(self) -> Iterator[Mark]:
        for key in self._keys.keys:
            for last in key.retired.last_heads if key.retired is not None else ():
                if last.origin == self._origin and last.size:
                    name = f'the last head of retired key "{key.name}", of {last.size:,} events,'
                    yield Mark("kept-head", last.size, last.root, name)

    def _kept_elsewhere(self, kept: Sequence[Note]) -> Iterator[Mark]:
        for note in kept:
            origin, size, root, _ = note.checkpoint
            if origin != self._origin or not size:
                continue
            name = f"the kept head of {size:,} events"
            objection = self._keys.judge(note).objection
            if objection:
                self._distrusted.append(Finding("kept-head", f"{name}: {objection}"))
            else:
                yield Mark("kept-head", size, root, name)
