"""Heads, proofs and lists of keys that are none any more: the verifier answers with a sentence."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws.histories import examples
from tests.packs.test_garbage import changed_bytes, changed_json
from tests.proofs.test_standalone_verifier import (
    NOT_PROVED,
    PROVED,
    UNREADABLE,
    Auditor,
    loaded,
)

DOCUMENTS = ("head-2", "event-150-2", "consistency-1-2", "keys")


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Auditor:
    auditor = Auditor(tmp_path_factory.mktemp("audit"))
    auditor.fill()
    return auditor


@pytest.fixture(scope="module")
def verifier() -> Any:
    """In this process, where an error that is not told would be seen."""
    return loaded()


def outcome(verifier: Any, *arguments: Path | str) -> tuple[int, str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = verifier.main([str(each) for each in arguments])
    return code, out.getvalue()


class TestAnyChange:
    @examples(300)
    @given(data=st.data())
    def test_is_told(self, auditor: Auditor, verifier: Any, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(DOCUMENTS))
        original = auditor.keys_file if name == "keys" else auditor.folder / name
        is_json = name != "head-2"
        with TemporaryDirectory() as folder:
            changed = Path(folder) / "changed"
            if is_json and data.draw(st.booleans()):
                text = changed_json(data, json.dumps(json.loads(original.read_text())), lines=False)
                changed.write_text(text)
            else:
                changed.write_bytes(changed_bytes(data, original.read_bytes()))
            keys = changed if name == "keys" else auditor.keys_file
            shown = auditor.folder / "head-2" if name == "keys" else changed
            code, told = outcome(verifier, "--keys", keys, shown)
            assert code in {PROVED, NOT_PROVED, UNREADABLE}
            assert told.strip()
            if code == PROVED and name != "keys":
                before = outcome(verifier, "--keys", auditor.keys_file, original)[1]
                assert before.partition(": ")[2] == told.partition(": ")[2]

    @pytest.mark.parametrize(
        "change",
        [{"version": 2**64}, {"version": -1}, {"recorded_ms": 2**63}, {"recorded_ms": -(2**62)},
         {"stream": "\ud800"}, {"topic": "\ud800"}, {"state": "/" * 4_000}],
        ids=lambda change: next(iter(change)),
    )  # fmt: skip
    def test_of_an_event_beyond_what_a_leaf_can_hold(
        self, auditor: Auditor, change: dict[str, Any]
    ) -> None:
        document = auditor.load("event-150-2")
        document["event"] |= change
        auditor.save("beyond", document)
        auditor.run("beyond", code=NOT_PROVED if "state" in change else UNREADABLE)

    def test_of_an_event_that_is_nested_without_end(self, auditor: Auditor) -> None:
        document = auditor.load("event-150-2")
        document["event"]["state"] = "AZGR" + "kZGR" * 9_999
        auditor.save("nested", document)
        auditor.run("nested", code=NOT_PROVED)
