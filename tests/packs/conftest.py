"""A ledger of ten weeks with six payers, imports, voids and three heads, and packs of it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from tests.laws.acts import payer_bytes
from tests.laws.adapter import ProductLedger
from tests.packs.scene import VERIFIER, Packed, pack_of, sign
from tests.proofs.scene import Signing
from tests.stored import ledgers


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packed]:
    folder = tmp_path_factory.mktemp("packed")
    signing = Signing(folder / "keys")
    with closing(ProductLedger(folder / "ledger")) as ledger:
        packed = Packed(folder, signing, ledger)
        packed.import_some()
        ledgers.tell(ledger)
        sign(ledger.store, ledger.reader, signing)
        packed.void_some()
        sign(ledger.store, ledger.reader, signing)
        packed.settle()
        sign(ledger.store, ledger.reader, signing)
        pack_of([ledger.reader], packed.everything, with_personal=True)
        pack_of(
            [ledger.reader],
            packed.of_payer,
            payer=payer_bytes(packed.payer),
            period_from=packed.begin,
            more_heads=[1],
        )
        yield packed


@pytest.fixture(scope="session")
def archive(packed: Packed) -> Path:
    path = packed.folder / "pack.tar"
    pack_of([packed.ledger.reader], path, archive=True, with_personal=True)
    return path


@pytest.fixture(scope="session")
def verifier() -> ModuleType:
    """The verifier, in this process: hundreds of histories would wait for as many to start."""
    spec = importlib.util.spec_from_file_location("pack_verifier", VERIFIER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["pack_verifier"] = module  # its classes look for their module by name
    spec.loader.exec_module(module)
    return module
