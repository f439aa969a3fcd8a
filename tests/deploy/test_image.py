"""What the image is built from, and how it asks the process inside how it is."""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import ssl
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.deploy.descriptions import CHART, DEPLOY, ROOT, unknown_variables

DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
IGNORE = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
WHEEL = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]


class TestTheImage:
    def test_sends_docker_every_package_of_the_wheel(self) -> None:
        sent = {line.removeprefix("!/") for line in IGNORE if line.startswith("!/")}
        packages: list[str] = WHEEL["wheel"]["packages"]
        for package in packages:
            folder = "proto/gen" if package.startswith("proto/gen/") else package
            assert folder in sent, f"{package} is not in .dockerignore"

    def test_sends_docker_nothing_else_unasked(self) -> None:
        assert "*" == next(line for line in IGNORE if not line.startswith("#"))

    def test_names_settings_that_exist(self) -> None:
        assert [] == unknown_variables(DOCKERFILE)

    def test_installs_what_is_locked_by_hash_and_no_source_archives(self) -> None:
        steps = re.sub(r"\\\n", " ", DOCKERFILE).replace("\n", "&&").split("&&")
        installs = [step for step in steps if "pip" in step and " install " in step]
        assert 3 == len(installs)
        for install in installs:
            locked = "--require-hashes" in install and "--only-binary :all:" in install
            assert locked or "--no-index" in install, install

    def test_has_a_user_with_the_number_that_the_chart_runs_as(self) -> None:
        assert "USER 10001:10001" in DOCKERFILE
        assert "runAsUser: 10001" in (CHART / "templates" / "_pod.tpl").read_text()


class _Health(http.server.BaseHTTPRequestHandler):
    """Well on /healthz, not ready on /readyz."""

    def do_GET(self) -> None:  # the library's name
        self.send_response(200 if self.path == "/healthz" else 503)
        self.end_headers()
        self.wfile.write(f"answer of {self.path}".encode())

    def log_message(self, *_: object) -> None:
        return


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve on a port of loopback, with a certificate if there is one."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Health)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def port() -> Iterator[int]:
    with serving() as port:
        yield port


def probe(question: str, port: int, **variables: str) -> tuple[int, str]:
    """Exit code and what was printed."""
    environment = {**os.environ, "USAGE_LEDGER_HTTP__LISTEN": f"0.0.0.0:{port}", **variables}
    done = subprocess.run(
        (sys.executable, str(DEPLOY / "probe.py"), question),
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout


class TestTheProbe:
    def test_is_content_with_200(self, port: int) -> None:
        assert (0, "answer of /healthz\n") == probe("healthz", port)

    def test_is_not_content_with_anything_else_and_shows_it(self, port: int) -> None:
        assert (1, "answer of /readyz\n") == probe("readyz", port)

    def test_speaks_tls_where_the_service_does(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("serve").configure_cert(context)
        with serving(context) as port:
            answer = probe("healthz", port, USAGE_LEDGER_TLS__CERT_FILE="/tls.crt")
        assert (0, "answer of /healthz\n") == answer

    def test_says_that_nobody_answers(self, unused_port: int) -> None:
        code, text = probe("healthz", unused_port)
        assert 1 == code
        assert f"no answer on port {unused_port}" in text


@pytest.fixture
def unused_port() -> int:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Health)
    server.server_close()
    return server.server_address[1]


def test_the_chart_and_the_image_listen_on_the_same_ports() -> None:
    exposed = re.search(r"^EXPOSE (\d+) (\d+)$", DOCKERFILE, re.MULTILINE)
    assert exposed is not None
    template = (CHART / "templates" / "deployments.yaml").read_text()
    assert list(exposed.groups()) == re.findall(r"containerPort: (\d+)", template)


def test_the_probes_folder_is_where_the_image_has_it() -> None:
    assert "deploy/probe.py /opt/usage-ledger/bin/probe" in DOCKERFILE
    first = Path(DEPLOY / "probe.py").read_text(encoding="utf-8").splitlines()[0]
    assert "#!/opt/usage-ledger/bin/python -EsS" == first
