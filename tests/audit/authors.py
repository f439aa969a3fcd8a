"""Who is written down for what is done: wherever an author is named, and callers with names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from events import decode
from ledger.shards import Shard
from tests.edge.callers import ROLES, TokensFile, calls_with

ARRANGER, ANN = "arranger", "ann"

Trail = Counter[tuple[str, ...]]


class Named:
    """A scene whose calls are made by somebody with a name."""

    def __init__(self, folder: Path) -> None:
        self._tokens = TokensFile(folder, dict.fromkeys((ARRANGER, ANN), ROLES))
        self.settings = self._tokens.settings()

    @contextmanager
    def calling(self, scene: Any, name: str) -> Iterator[None]:
        """Let the scene's calls be somebody's."""
        before = scene.service.calls
        scene.service.calls = calls_with(scene.service, self._tokens.tokens[name])
        try:
            yield
        finally:
            scene.service.calls.close()
            scene.service.calls = before


def trail(scene: Any) -> Trail:
    """Every author that is written down: of events, of signed heads, of what is beside the log."""
    found: Trail = Counter()
    for shard in scene.service.ledger.shards:
        found.update(_trail_in(shard))
    return found


def _trail_in(shard: Shard) -> Iterator[tuple[str, ...]]:
    reader = shard.new_queries().reader
    try:
        for event in reader.log(after=0, limit=100_000):
            author = decode(event.topic, event.state).author
            yield ("event", f"{shard.number}:{event.position}", event.topic, author)
        for head in reader.tree.heads(after=0, limit=1_000):
            yield ("head", f"{shard.number}:{head.number}", "", head.author)
        for act in reader.status(runs_since=0, stopped_since=0).acts:
            yield ("act", act.what, act.detail, act.author)
    finally:
        reader.close()


def authors_since(scene: Any, before: Trail) -> set[str]:
    """Who was written down since."""
    return {each[-1] for each in trail(scene) - before}
