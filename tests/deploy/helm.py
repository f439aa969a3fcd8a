"""Helm for the tests: the one on the PATH, else built once by Go, else a skip."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clients.toolchain import build
from tests.deploy.descriptions import CHART

HELM_VERSION = "v3.22.0"
RENDER_SECONDS_MAX = 60
# Without a cluster Helm guesses a version, and one that was built from source a very old one.
KUBERNETES_VERSION = "1.33.0"


def require_helm() -> Path:
    """The program; skips the test if there is none and none can be built."""
    found = shutil.which("helm")
    if found is not None:
        return Path(found)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "usage-ledger"
    folder = cache / f"helm-{HELM_VERSION}"
    helm = folder / "helm"
    if helm.exists():
        return helm
    if shutil.which("go") is None:
        pytest.skip("neither `helm` nor `go`, which can build it, is on the PATH")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        # Two runs of the tests build it once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not helm.exists():
            making = folder / "making"
            command = ("go", "install", f"helm.sh/helm/v3/cmd/helm@{HELM_VERSION}")
            build(("env", f"GOBIN={making}", *command), cwd=folder)
            (making / "helm").rename(helm)
    return helm


def run_helm(helm: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs one command of Helm; its exit code is the caller's to judge."""
    return subprocess.run(
        (str(helm), *arguments),
        capture_output=True,
        text=True,
        timeout=RENDER_SECONDS_MAX,
        check=False,
    )


def template(helm: Path, *sets: str) -> subprocess.CompletedProcess[str]:
    """`helm template` with values such as `roles.serve.replicas=3`."""
    options = [word for value in sets for word in ("--set", value)]
    return run_helm(
        helm, "template", "ledger", str(CHART), "--kube-version", KUBERNETES_VERSION, *options
    )


@functools.cache
def rendered(helm: Path, *sets: str) -> list[dict[str, Any]]:
    """The objects that the chart makes of these values."""
    done = template(helm, *sets)
    assert "" == done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]
