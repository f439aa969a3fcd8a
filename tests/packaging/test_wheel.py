"""The wheel holds the rooms and the generated code, and no file of another package."""

import csv
import importlib
import importlib.metadata
import io
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections import defaultdict
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMPORT_NAMES = {
    "events",
    "aggregates",
    "projections",
    "persistence",
    "billing",
    "ledger",
    "facade",
    "jobs",
    "consumers",
    "publisher",
    "cli",
    "usage",
    "usage_ledger",
}
GENERATED = ("usage.v1.usage_pb2", "usage.events.v1.events_pb2", "usage_ledger.v1.queries_pb2")

# scripts/test sets both; straight from the source tree there is no installed wheel to look at.
TESTS_THE_WHEEL = os.environ.get("USAGE_LEDGER_TESTS_WHEEL") == "1"
needs_installed_wheel = pytest.mark.skipif(
    not TESTS_THE_WHEEL, reason="runs under scripts/test, which installs the wheel"
)


def run_pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", *arguments], check=True, cwd=ROOT)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if built := os.environ.get("USAGE_LEDGER_WHEEL"):
        return Path(built)
    folder = tmp_path_factory.mktemp("wheel")
    run_pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT))
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def bare_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and nothing else, not even pip."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    run_pip("--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    return folder


def site_packages(environment: Path) -> Path:
    paths = {"base": str(environment), "platbase": str(environment)}
    return Path(sysconfig.get_path("purelib", scheme="venv", vars=paths))


def owned_files(distribution: importlib.metadata.Distribution) -> set[str]:
    """Paths relative to site-packages, as the distribution's RECORD lists them."""
    record = distribution.read_text("RECORD")
    assert record is not None, f"{distribution.metadata['Name']} was installed without a RECORD"
    return {row[0] for row in csv.reader(io.StringIO(record)) if row}


def owners_by_file(*folders: Path) -> dict[str, set[str]]:
    owners: dict[str, set[str]] = defaultdict(set)
    for distribution in importlib.metadata.distributions(path=[str(f) for f in folders]):
        for path in owned_files(distribution):
            owners[path].add(distribution.metadata["Name"])
    return owners


class TestWheel:
    def test_its_import_names_are_the_rooms_and_the_generated_code(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            top = {PurePosixPath(name).parts[0] for name in archive.namelist()}
        assert IMPORT_NAMES == {name for name in top if not name.endswith(".dist-info")}

    def test_it_holds_code_only(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            names = [PurePosixPath(name) for name in archive.namelist()]
        code = [name for name in names if not name.parts[0].endswith(".dist-info")]
        assert {".py", ".pyi", ".sql"} >= {name.suffix for name in code}
        modules = {".".join(name.with_suffix("").parts) for name in code}
        assert set(GENERATED) <= modules

    def test_it_brings_the_command_and_the_licence(self, bare_environment: Path) -> None:
        assert (bare_environment / "bin" / "usage-ledger").is_file()
        (distribution,) = importlib.metadata.distributions(
            path=[str(site_packages(bare_environment))]
        )
        assert "Apache-2.0" == distribution.metadata["License-Expression"]
        assert any(path.endswith("licenses/LICENSE") for path in owned_files(distribution))

    def test_no_file_is_owned_by_two_distributions(self, bare_environment: Path) -> None:
        here = Path(sysconfig.get_path("purelib"))
        shared = {
            path: owners
            for path, owners in owners_by_file(here, site_packages(bare_environment)).items()
            if len(owners) > 1
        }
        assert {} == shared


@needs_installed_wheel
class TestInstalledWheel:
    @pytest.mark.parametrize("name", sorted(IMPORT_NAMES | set(GENERATED)))
    def test_what_the_tests_import_comes_from_the_wheel(self, name: str) -> None:
        module = importlib.import_module(name)
        installed = Path(sysconfig.get_path("purelib"))
        places = [Path(place) for place in module.__path__] if hasattr(module, "__path__") else []
        if module.__file__ is not None:
            places.append(Path(module.__file__))
        assert places
        assert all(place.is_relative_to(installed) for place in places), places

    def test_the_command_answers(self) -> None:
        command = Path(sysconfig.get_path("scripts")) / "usage-ledger"
        result = subprocess.run(
            [command, "--help"], capture_output=True, text=True, check=False, timeout=60
        )
        assert (0, "") == (result.returncode, result.stderr)
        assert "serve" in result.stdout
