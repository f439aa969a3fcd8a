"""The stop of an imported draft paused the ledger, or left the draft a draft for ever."""

from __future__ import annotations

import pytest

from tests.contract.data.scene import PAYER, Scene, stopped
from tests.importing.lines import entry, taken


@pytest.mark.parametrize(
    "metadata",
    [
        # The other ledger dated the entry later than the end it kept beside it.
        {"startTime": "2026-10-20T08:00:00Z", "endTime": "2026-10-20T08:59:00Z"},
        # ... and here it kept no start.
        {"endTime": "2026-10-20T08:59:00Z"},
    ],
)
def test_an_imported_draft_is_final_once_its_stop_is_published(metadata: dict[str, str]) -> None:
    with Scene() as scene:
        taken(scene, entry(77, draft=True, metadata=metadata))
        scene.record(stopped("a", "10-20 11:00"))
        scene.reconcile()

        assert [(False, 77)] == [
            (each.draft, each.credit_cents) for each in scene.calls.entries(PAYER)
        ]
        assert [] == scene.calls.breaches()
