"""Random histories, exported: whoever recomputes the pack comes to the live numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws.acts import payer_bytes
from tests.laws.adapter import ProductLedger
from tests.laws.histories import examples
from tests.laws.test_histories import disturbed
from tests.oracle.operations import Operation
from tests.packs.scene import PROVED, outcome_of, pack_of, settle, sign, verified
from tests.proofs.scene import Signing
from tests.stored import ledgers


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Signing:
    return Signing(tmp_path_factory.mktemp("keys"))


@contextmanager
def told(operations: list[Operation], signing: Signing, cut: int) -> Iterator[ProductLedger]:
    """A ledger with two heads, the first after some of it."""
    with TemporaryDirectory() as folder, closing(ProductLedger(Path(folder))) as ledger:
        ledger.apply_all(operations[:cut])
        if ledger.core.head:
            sign(ledger.store, ledger.reader, signing)
        settle(ledger, 1)
        ledger.apply_all(operations[cut:])
        settle(ledger, 2)
        if ledger.core.head:
            sign(ledger.store, ledger.reader, signing)
        yield ledger


def duckdb_balances(pack: Path) -> dict[str, int]:
    """What the pack's own query says, run in its folder."""
    with contextlib.chdir(pack), duckdb.connect() as connection:
        return dict(connection.sql(Path("balances.sql").read_text()).fetchall())


class TestAnyHistory:
    @examples(25)
    @given(operations=disturbed(), data=st.data())
    def test_of_a_whole_ledger(
        self,
        signing: Signing,
        verifier: ModuleType,
        operations: list[Operation],
        data: st.DataObject,
    ) -> None:
        cut = data.draw(st.integers(0, len(operations)))
        with told(operations, signing, cut) as ledger, TemporaryDirectory() as folder:
            if not ledger.core.head:
                return
            pack = Path(folder) / "pack"
            made = pack_of([ledger.reader], pack, with_personal=data.draw(st.booleans()))
            assert (PROVED, "") == _code_and_doubts(outcome_of(verifier, pack, signing.keys_file))
            live = {payer: ledger.balance_cents(payer) for payer in ledger.payers()}
            assert sum(live.values()) == made.manifest.totals.balance_cents
            assert live == {payer: duckdb_balances(pack).get(payer, 0) for payer in live}

    @examples(25)
    @given(operations=disturbed(), data=st.data())
    def test_of_each_payer_and_a_period(
        self,
        signing: Signing,
        verifier: ModuleType,
        operations: list[Operation],
        data: st.DataObject,
    ) -> None:
        cut = data.draw(st.integers(0, len(operations)))
        with told(operations, signing, cut) as ledger, TemporaryDirectory() as folder:
            times = sorted(
                entry.effective_ms for payer in ledger.payers() for entry in ledger.entries(payer)
            )
            times = times or [0]
            begin, end = sorted(data.draw(st.sampled_from(times)) for _ in range(2))
            for number, payer in enumerate(ledger.payers()):
                if ledger.reader.placement(payer_bytes(payer)) is None:
                    continue
                pack = Path(folder) / f"{number}"
                made = pack_of(
                    [ledger.reader],
                    pack,
                    payer=payer_bytes(payer),
                    period_from=begin,
                    period_to=end,
                    more_heads=[1],
                )
                assert (PROVED, "") == _code_and_doubts(
                    outcome_of(verifier, pack, signing.keys_file)
                )
                totals = made.manifest.totals
                entries = ledger.entries(payer)
                dated = [e.cents for e in entries if begin <= e.effective_ms < end]
                assert (len(dated), sum(dated)) == (totals.entries, totals.period_cents)
                assert ledger.balance_cents(payer) == totals.balance_cents
                carried = sum(e.cents for e in entries if e.effective_ms < begin)
                assert carried == totals.carried_cents
                balances = duckdb_balances(pack)
                assert ledger.balance_cents(payer) == balances.get(payer, 0)


def _code_and_doubts(outcome: tuple[int, str]) -> tuple[int, str]:
    code, text = outcome
    return code, "\n".join(
        line for line in text.splitlines() if not line.startswith(("PROVED", " "))
    )


class TestLedgersOfOlderVersions:
    @pytest.mark.parametrize("schema", ledgers.recorded())
    def test_are_proved_by_a_process_that_has_nothing_of_ours(
        self, signing: Signing, tmp_path: Path, schema: int
    ) -> None:
        data_dir = tmp_path / "ledger"
        data_dir.mkdir()
        ledgers.unpack(schema, data_dir)
        with closing(ProductLedger(data_dir)) as ledger:
            sign(ledger.store, ledger.reader, signing)
            pack_of([ledger.reader], tmp_path / "all")
            verified(tmp_path / "all", signing.keys_file)
            for number, payer in enumerate(ledger.payers()):
                pack = tmp_path / f"{number}"
                made = pack_of([ledger.reader], pack, payer=payer_bytes(payer))
                assert ledger.balance_cents(payer) == made.manifest.totals.balance_cents
                verified(pack, signing.keys_file)
                assert ledger.balance_cents(payer) == duckdb_balances(pack).get(payer, 0)
