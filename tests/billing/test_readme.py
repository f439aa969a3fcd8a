"""What README.md says is where is there, and every weakness of the original has its test."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
README = HERE / "README.md"
ROWS = [
    f"{letter}{n}" for letter, last in (("B", 13), ("C", 9), ("D", 19)) for n in range(1, last + 1)
]


def test_files_and_classes_are_there() -> None:
    text = README.read_text(encoding="utf-8")
    named = re.findall(r"`([\w./]*test_\w+\.py)(?:::(\w+))?`", text)
    assert len(named) > 20
    for file, subject in named:
        content = (HERE / file).read_text(encoding="utf-8")
        assert f"class {subject}" in content or not subject, (file, subject)


def test_every_row_is_named_by_a_test_or_here() -> None:
    named = set(re.findall(r"^\| ([BCD]\d+)", README.read_text(encoding="utf-8"), re.MULTILINE))
    for path in HERE.rglob("test_*.py"):
        for docstring in re.findall(r'"""(.*?)"""', path.read_text(encoding="utf-8"), re.DOTALL):
            named |= set(re.findall(r"\b[BCD]\d+\b", docstring))
    assert [] == [row for row in ROWS if row not in named]
