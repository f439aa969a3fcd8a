"""Writes that append no event, as repeated rejects, stayed in the write-ahead log for ever."""

from __future__ import annotations

from pathlib import Path

from ledger import writer
from tests.harness import InProcessService, settings_for


def test_rejects_are_moved_to_the_file_too(tmp_path: Path) -> None:
    lines = [b"no event %d" % number for number in range(2_000)]
    with InProcessService(settings_for(tmp_path)) as service:
        rounds = 3 * writer.CHECKPOINT_ROWS // len(lines) // 2
        sizes = []
        for _ in range(rounds):
            service.calls.publish(lines, block_lines=2_000)
            sizes.append(sum(path.stat().st_size for path in tmp_path.glob("*-wal")))
        assert (tmp_path / "ledger.db").stat().st_size > 100_000
        assert max(sizes) < 1.6 * sizes[rounds // 2]
