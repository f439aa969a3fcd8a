"""The checked-in code is what the protos generate, byte for byte, in every language."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.toolchain import BUILD_SECONDS_MAX, build, require

ROOT = Path(__file__).resolve().parents[2]


def generate(
    *options: str, root: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, root / "scripts" / "generate", *options],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def assert_fresh(part: str) -> None:
    build([sys.executable, ROOT / "scripts" / "generate", "--check", "--only", part], cwd=ROOT)


class TestCheckedInCode:
    def test_python_is_fresh(self) -> None:
        assert_fresh("python")

    @pytest.mark.go
    @pytest.mark.timeout(BUILD_SECONDS_MAX)
    def test_go_is_fresh(self) -> None:
        require("go")
        assert_fresh("go")

    @pytest.mark.node
    @pytest.mark.timeout(BUILD_SECONDS_MAX)
    def test_typescript_is_fresh(self) -> None:
        require("node", "npm")
        assert_fresh("typescript")


class TestGenerate:
    @pytest.fixture
    def copy(self, tmp_path: Path) -> Path:
        """A copy of what generating Python needs, to be spoilt."""
        shutil.copytree(
            ROOT / "proto", tmp_path / "proto", ignore=shutil.ignore_patterns("__pycache__")
        )
        (tmp_path / "scripts").mkdir()
        shutil.copy(ROOT / "scripts" / "generate", tmp_path / "scripts" / "generate")
        return tmp_path

    def test_check_names_every_file_that_differs_and_changes_none(self, copy: Path) -> None:
        generated = copy / "proto" / "gen" / "usage" / "v1"
        edited, removed, stray = (
            generated / name for name in ("usage_pb2.py", "usage_pb2.pyi", "old_pb2.py")
        )
        edited.write_text(edited.read_text() + "# edited by hand\n")
        removed.unlink()
        stray.write_text("")

        done = generate("--check", "--only", "python", root=copy)

        assert 1 == done.returncode
        named = {line.strip() for line in done.stderr.splitlines() if line.startswith("  ")}
        assert {path.relative_to(copy).as_posix() for path in (edited, removed, stray)} == named
        assert edited.read_text().endswith("# edited by hand\n")
        assert not removed.exists()
        assert stray.exists()

    def test_mends_what_differs_and_removes_leftovers(self, copy: Path) -> None:
        generated = copy / "proto" / "gen" / "usage" / "v1"
        edited, removed, stray = (
            generated / name for name in ("usage_pb2.py", "usage_pb2.pyi", "old_pb2.py")
        )
        original = edited.read_text()
        edited.write_text("")
        removed.unlink()
        stray.write_text("")

        done = generate("--only", "python", root=copy)

        assert 0 == done.returncode, done.stderr
        assert original == edited.read_text()
        assert removed.exists()
        assert not stray.exists()

    def test_a_proto_that_does_not_compile_fails_with_what_protoc_says(self, copy: Path) -> None:
        proto = copy / "proto" / "usage" / "v1" / "usage.proto"
        proto.write_text(proto.read_text() + "message {\n")

        done = generate("--check", "--only", "python", root=copy)

        assert 2 == done.returncode
        assert "usage/v1/usage.proto" in done.stderr
        assert "Expected message name" in done.stderr

    def test_says_loudly_which_parts_it_skipped(self, copy: Path) -> None:
        environment = {**os.environ, "PATH": os.fspath(copy)}

        done = generate("--check", root=copy, environment=environment)

        assert 0 == done.returncode, done.stderr
        assert "SKIPPED go: `go` is not on the PATH" in done.stderr
        assert "SKIPPED typescript: `node` is not on the PATH" in done.stderr

    def test_a_part_asked_for_by_name_is_never_skipped_silently(self, copy: Path) -> None:
        environment = {**os.environ, "PATH": os.fspath(copy)}

        done = generate("--only", "go", root=copy, environment=environment)

        assert 2 == done.returncode
