"""The command line shows who calls: tokens, TLS, certificates; and makes tokens."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from facade.tokens import digest_of, read
from tests.cli.running import usage_ledger
from tests.edge.callers import Certificates, TokensFile, calls_with
from tests.edge.requests import PAYER, encoded, note
from tests.harness import InProcessService, settings_for

CHANGED_SECONDS_MAX = 30


@pytest.fixture
def token_files(tokens: TokensFile, tmp_path: Path) -> dict[str, Path]:
    """A file with each token, as a secret is mounted."""
    files = {}
    for name, token in tokens.tokens.items():
        files[name] = tmp_path / f"{name}.token"
        files[name].write_text(token + "\n")
    return files


@pytest.fixture
def service(tokens: TokensFile, certificates: Certificates) -> Iterator[InProcessService]:
    settings = settings_for(None, **tokens.settings(), **certificates.settings())
    with InProcessService(settings) as service:
        yield service


class TestCalling:
    def test_with_token_and_tls(
        self,
        service: InProcessService,
        certificates: Certificates,
        token_files: dict[str, Path],
    ) -> None:
        tls = ("--target", service.target, "--tls-ca", str(certificates.ca))

        def run(role: str, *arguments: str, text: bytes = b"", code: int = 0) -> str:
            token = ("--token-file", str(token_files[role]))
            return usage_ledger(*arguments, *tls, *token, text=text, code=code)

        told = run("publish", "publish", "-", "--json", text=encoded(note(1, 5)))
        assert 1 == json.loads(told)["recorded"]
        (balance,) = json.loads(run("read", "balance", PAYER, "--json"))["balances"]
        assert -500 == balance["credit_cents"]
        run("admin", "reconcile")
        events = [json.loads(line) for line in run("audit", "log", "tail", "--json").splitlines()]
        assert ["publish", "admin"] == [event["author"] for event in events[-2:]]
        refused = run("read", "reconcile", code=1)
        assert "PERMISSION_DENIED: read has the role read" in refused

    def test_options_may_be_variables(
        self,
        service: InProcessService,
        certificates: Certificates,
        token_files: dict[str, Path],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        from cli.main import main  # noqa: PLC0415 - in this process, for its variables

        monkeypatch.setenv("USAGE_LEDGER_TARGET", service.target)
        monkeypatch.setenv("USAGE_LEDGER_TOKEN_FILE", str(token_files["read"]))
        monkeypatch.setenv("USAGE_LEDGER_TLS_CA", str(certificates.ca))
        assert 0 == main(["status"])
        assert "newest position" in capsys.readouterr().out

    def test_without_token_or_tls_a_sentence_says_what_is_missing(
        self, service: InProcessService, certificates: Certificates
    ) -> None:
        target = ("--target", service.target)
        told = usage_ledger("balance", PAYER, *target, code=4)
        assert "it may want TLS (--tls-ca)" in told
        told = usage_ledger("balance", PAYER, *target, "--tls-ca", "system", code=4)
        assert "its certificate is not signed by one of --tls-ca" in told
        ca = ("--tls-ca", str(certificates.ca))
        assert "UNAUTHENTICATED" in usage_ledger("balance", PAYER, *target, *ca, code=1)

    def test_a_name_that_is_not_in_the_certificate(self, certificates: Certificates) -> None:
        settings = settings_for(None, listen="127.0.0.2:0", **certificates.settings())
        with InProcessService(settings) as other:
            elsewhere = f"127.0.0.2:{other.service.port}"
            told = usage_ledger(
                *("balance", PAYER, "--target", elsewhere, "--tls-ca", str(certificates.ca)),
                code=4,
            )
        assert "its certificate is for another host" in told

    def test_tls_to_a_service_without_it(self, certificates: Certificates) -> None:
        with InProcessService(settings_for(None)) as plain:
            told = usage_ledger(
                *("balance", PAYER, "--target", plain.target, "--tls-ca", str(certificates.ca)),
                code=4,
            )
        assert "it does not speak TLS" in told

    def test_a_client_certificate(self, certificates: Certificates) -> None:
        certificate, key = certificates.client_files("operator.example.org")
        settings = settings_for(None, **certificates.settings(clients=True))
        with InProcessService(settings) as service:
            way = ("--target", service.target, "--tls-ca", str(certificates.ca))
            ours = ("--cert", str(certificate), "--key", str(key))
            usage_ledger("reconcile", *way, *ours)
            told = usage_ledger("log", "tail", "--json", *way, *ours)
            assert "it may want TLS" in usage_ledger("reconcile", *way, code=4)
        assert "operator.example.org" == json.loads(told.splitlines()[-1])["author"]

    def test_a_token_is_not_sent_in_the_clear_to_another_machine(
        self, token_files: dict[str, Path]
    ) -> None:
        token = ("--token-file", str(token_files["read"]))
        told = usage_ledger("status", "--target", "192.0.2.1:9001", *token, code=2)
        assert "would cross the network to 192.0.2.1 in the clear" in told

    def test_over_loopback_it_is(
        self, guarded: InProcessService, token_files: dict[str, Path]
    ) -> None:
        token = ("--token-file", str(token_files["read"]))
        assert usage_ledger("status", "--target", guarded.target, *token)

    @pytest.mark.parametrize("content", ["", "two tokens", "Grüße"])
    def test_a_file_with_anything_but_one_token_is_refused(
        self, tmp_path: Path, content: str
    ) -> None:
        path = tmp_path / "token"
        path.write_text(content)
        told = usage_ledger("status", "--token-file", str(path), code=2)
        assert "must hold one token and nothing else" in told

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--token-file", "/nowhere"], "--token-file /nowhere cannot be read"),
            (["--tls-ca", "/nowhere"], "--tls-ca /nowhere cannot be read"),
            (["--tls-ca", "system", "--cert", "/nowhere"], "--cert and --key go together"),
            (["--cert", "/nowhere", "--key", "/nowhere"], "--key /nowhere cannot be read"),
        ],
    )
    def test_files_that_are_not_there(self, options: list[str], told: str) -> None:
        assert told in usage_ledger("status", *options, code=2)


class TestMakingTokens:
    def test_it_is_shown_once_with_the_entry_that_knows_it(self) -> None:
        told = usage_ledger("token", "new", "billing", "--role", "read", "--role", "admin")
        token = re.search(r"ulg_[\w-]+", told)
        assert token
        assert 1 == told.count(token[0])
        entry = told[told.index("[[tokens]]") :]
        caller = read(entry.encode()).by_token(token[0])
        assert caller is not None
        assert ("billing", {"read", "admin"}) == (caller.name, set(caller.roles))

    def test_as_json(self) -> None:
        made = json.loads(usage_ledger("token", "new", "x", "--role", "publish", "--json"))
        assert digest_of(made["token"]).hex() == made["sha256"]
        assert read(made["entry"].encode()).by_token(made["token"]) is not None
        assert ("x", ["publish"]) == (made["name"], made["roles"])

    def test_twice_are_two(self) -> None:
        one, other = (usage_ledger("token", "new", "x", "--role", "read") for _ in range(2))
        assert one != other

    @pytest.mark.parametrize(
        "arguments",
        [["x"], ["x", "--role", "root"], ["local:x", "--role", "read"], ["a b", "--role", "read"]],
    )
    def test_a_wrong_name_or_role_is_told(self, arguments: list[str]) -> None:
        assert usage_ledger("token", "new", *arguments, code=2)

    def test_it_is_let_in_by_a_service_that_reads_its_entry(
        self, guarded: InProcessService, tokens: TokensFile, tmp_path: Path
    ) -> None:
        made = json.loads(usage_ledger("token", "new", "late", "--role", "read", "--json"))
        with tokens.path.open("a") as file:
            file.write(f"\n{made['entry']}")
        path = tmp_path / "late.token"
        path.write_text(made["token"])
        deadline = time.monotonic() + CHANGED_SECONDS_MAX
        while not self.is_let_in(guarded, made["token"]):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert usage_ledger(
            *("balance", PAYER, "--target", guarded.target, "--token-file", str(path))
        )

    def is_let_in(self, service: InProcessService, token: str) -> bool:
        try:
            calls_with(service, token).balance_cents(PAYER)
        except grpc.RpcError as error:
            return error.code() is not grpc.StatusCode.UNAUTHENTICATED
        return True
