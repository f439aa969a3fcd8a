"""The example settings are complete, and say the defaults."""

from __future__ import annotations

from pathlib import Path

from ledger.settings import read_settings

EXAMPLE = Path(__file__).parents[2] / "deploy" / "usage-ledger.toml"


class TestExampleSettings:
    """`deploy/usage-ledger.toml`."""

    def test_say_the_defaults(self) -> None:
        """What is written there changes nothing."""
        assert read_settings(EXAMPLE).settings == read_settings(None).settings

    def test_name_every_setting(self) -> None:
        """Each setting stands there, or in a comment."""
        text = EXAMPLE.read_text(encoding="utf-8")
        names = {row.name.rpartition(".")[2] for row in read_settings(None).rows()}
        assert [name for name in sorted(names) if name not in text] == []
