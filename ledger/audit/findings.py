"""What a verification tells of: something that is not as it was, and a root to compare with."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """Something that is not as it was recorded or signed; `kind` is of those in docs/proofs.md."""

    kind: str
    text: str
    position: int | None = None
    leaf: int | None = None


class Mark(NamedTuple):
    """A root that the log must lead to after so many events; `kind` is of the finding if not."""

    kind: str
    size: int
    root: bytes
    name: str
