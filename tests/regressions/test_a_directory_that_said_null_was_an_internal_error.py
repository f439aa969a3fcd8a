"""The JSON of protobuf writes a default as null where it likes; iterating over it was a TypeError.

Whatever else the API answers is UNAVAILABLE, in our words: no exception's name, no file's path.
"""

from pathlib import Path

import pytest

from ledger.directory import ConnectDirectory, FileDirectory
from ledger.errors import UnavailableError
from tests.contract.calls.asking import PAYER
from tests.contract.calls.directories import organization, serving

ORGANIZATION = bytes.fromhex(organization(PAYER).replace("-", ""))


def test_null_is_nobody(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t")
    with serving() as api:
        directory = ConnectDirectory(api.url, token, timeout_s=5)
        for body in (b'{"team": null}', b'{"team": {"members": null}}'):
            api.breaks(PAYER, 200, body)
            assert [] == directory.members(ORGANIZATION)


def test_a_number_for_a_user_is_unavailable(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t")
    with serving() as api:
        directory = ConnectDirectory(api.url, token, timeout_s=5)
        api.breaks(PAYER, 200, b'{"team": {"members": [{"userId": 7}]}}')
        with pytest.raises(UnavailableError, match="its answer cannot be read"):
            directory.members(ORGANIZATION)


def test_a_file_that_is_gone_is_not_named_to_the_caller(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        FileDirectory(tmp_path / "organizations.json").members(ORGANIZATION)
    assert str(tmp_path) not in str(caught.value)
