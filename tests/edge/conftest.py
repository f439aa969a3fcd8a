"""Callers of every role, and a service that knows them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.callers import ROLES, Certificates, TokensFile
from tests.harness import InProcessService, settings_for


@pytest.fixture
def tokens(tmp_path: Path) -> TokensFile:
    """One token for each role, named after it, and one for all of them."""
    return TokensFile(tmp_path, {**{role: [role] for role in ROLES}, "all": ROLES})


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def guarded(tokens: TokensFile) -> Iterator[InProcessService]:
    """On loopback, so without TLS."""
    settings = settings_for(None, http={"listen": "127.0.0.1:0"}, **tokens.settings())
    with InProcessService(settings) as service:
        yield service
