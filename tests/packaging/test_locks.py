"""The lock files follow pyproject.toml, pin by hash and name no place to fetch from."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]

DECLARED = {
    "requirements.lock": PROJECT["dependencies"],
    "requirements-cluster.lock": (
        PROJECT["dependencies"]
        + PROJECT["optional-dependencies"]["cluster"]
        + PROJECT["optional-dependencies"]["packs"]
    ),
    "requirements-dev.lock": (
        PROJECT["dependencies"]
        + PROJECT["optional-dependencies"]["dev"]
        + PROJECT["optional-dependencies"]["packs"]
        + PYPROJECT["build-system"]["requires"]
    ),
    "requirements-build.lock": PYPROJECT["build-system"]["requires"],
}

every_lock = pytest.mark.parametrize("lock", sorted(DECLARED))


def pins(lock: str) -> dict[str, str]:
    """Name and exact version of each package of a lock, and that each one carries a hash."""
    found: dict[str, str] = {}
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pin, *hashes = re.split(r"\s+--hash=", line.strip())
        requirement = Requirement(pin)
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", line
        assert hashes, f"{pin} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), pin
        found[canonicalize_name(requirement.name)] = specifier.version
    return found


class TestLocks:
    @every_lock
    def test_every_declared_dependency_is_pinned_to_a_version_it_allows(self, lock: str) -> None:
        pinned = pins(lock)
        for text in DECLARED[lock]:
            declared = Requirement(text)
            version = pinned.get(canonicalize_name(declared.name))
            assert version is not None, f"{text} is not in {lock}: run scripts/lock"
            assert declared.specifier.contains(version), f"{text}: run scripts/lock"

    @every_lock
    def test_no_host_and_no_option_but_hashes_is_written_down(self, lock: str) -> None:
        text = (ROOT / lock).read_text()
        assert "://" not in text
        assert {"--hash"} == set(re.findall(r"--[a-z-]+", text))

    def test_the_locks_agree_so_that_they_share_one_environment(self) -> None:
        largest = pins("requirements-dev.lock")
        for lock in ("requirements.lock", "requirements-cluster.lock", "requirements-build.lock"):
            assert pins(lock).items() <= largest.items(), lock
