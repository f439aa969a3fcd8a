"""A data directory with `#`, `?` or `%` in its name was opened somewhere else, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import InProcessService, settings_for


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%20b", "a b", "ä"])
def test_such_a_directory_is_used_and_nothing_lies_beside_it(tmp_path: Path, name: str) -> None:
    with InProcessService(settings_for(tmp_path / name)) as service:
        service.calls.reconcile()
        assert [] == service.calls.breaches()
    assert [tmp_path / name] == list(tmp_path.iterdir())
