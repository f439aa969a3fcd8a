"""A real log of jobs, with resets and late events: its packs are proved, and give its numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.data.scene import NOW, Scene
from tests.laws.acts import payer_bytes
from tests.packs.scene import pack_of, verified
from tests.packs.test_histories import duckdb_balances
from tests.proofs.scene import Signing
from tests.publishing.test_trace import OPENED, RESET, nasa_parts

PAYERS_SHOWN = 3


@pytest.mark.trace
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_of_the_nasa_trace(tmp_path: Path) -> None:
    signing = Signing(tmp_path / "keys")
    with Scene(tmp_path / "ledger", tree=True, **signing.settings) as scene:
        payers: set[str] = set()
        for moment, lines in zip((OPENED, RESET, NOW), nasa_parts(), strict=True):
            scene.clock.set(moment)
            scene.record(*lines)
            scene.reconcile()
            payers |= {line.split(b'"attributionId":"')[1][:41].decode() for line in lines}
            if moment == OPENED:
                for payer in sorted(payers):
                    scene.open_cost_center(payer)
            if moment == RESET:
                scene.reset()
            signing.sign(scene)
        live = {payer: scene.cents(payer) for payer in sorted(payers)}
        reader = scene.service.ledger.shards[0].queries.reader
        made = pack_of([reader], tmp_path / "all")
        assert sum(live.values()) == made.manifest.totals.balance_cents
        verified(tmp_path / "all", signing.keys_file)
        assert live == {payer: duckdb_balances(tmp_path / "all")[payer] for payer in live}
        for payer in sorted(live, key=lambda payer: -abs(live[payer]))[:PAYERS_SHOWN]:
            pack = tmp_path / payer
            made = pack_of([reader], pack, payer=payer_bytes(payer), more_heads=[1, 2])
            assert live[payer] == made.manifest.totals.balance_cents
            told = verified(pack, signing.keys_file)
            assert "heads shown: 3" in told
