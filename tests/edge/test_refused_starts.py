"""What other machines must not reach, and files that cannot be used: one sentence each."""

import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from facade.edge import Edge
from ledger.errors import StartRefusedError
from ledger.settings import SettingsError, load_settings
from tests.edge.callers import Certificates, TokensFile
from tests.harness import ServiceProcess, settings_for

WIDE = "0.0.0.0:0"


def refusal(**overrides: object) -> list[str]:
    with pytest.raises(StartRefusedError) as refused:
        Edge(settings_for(None, **overrides))
    return str(refused.value).splitlines()


class TestListeningBeyondLoopback:
    @pytest.mark.parametrize("at", [WIDE, "[::]:0", "192.0.2.7:9001", "ledger.example.org:9001"])
    @pytest.mark.parametrize("name", ["listen", "http.listen"])
    def test_with_nobody_authenticated_is_refused(self, at: str, name: str) -> None:
        given = {"listen": at} if name == "listen" else {"http": {"listen": at}}
        (sentence,) = refusal(**given)
        assert sentence.startswith(f'{name} is "{at}", which other machines can reach')
        assert "auth.tokens_file or tls.client_ca_file" in sentence
        assert "--insecure" in sentence

    @pytest.mark.parametrize("at", ["127.0.0.1:0", "127.8.0.1:0", "[::1]:0", "localhost:0"])
    def test_loopback_needs_nothing(self, at: str) -> None:
        Edge(settings_for(None, listen=at, http={"listen": at}))

    def test_both_listeners_are_told_of(self) -> None:
        assert 2 == len(refusal(listen=WIDE, http={"listen": WIDE}))

    def test_a_role_without_grpc_is_asked_for_its_http_only(self) -> None:
        Edge(settings_for(None, listen=WIDE), grpc=False)
        with pytest.raises(StartRefusedError, match=r"^http\.listen"):
            Edge(settings_for(None, listen=WIDE, http={"listen": WIDE}), grpc=False)

    def test_tokens_in_the_clear_are_refused(self, tokens: TokensFile) -> None:
        (sentence,) = refusal(listen=WIDE, **tokens.settings())
        assert "tokens would cross the network in the clear" in sentence

    def test_tls_alone_tells_nobody_apart(self, certificates: Certificates) -> None:
        (sentence,) = refusal(listen=WIDE, **certificates.settings())
        assert "nobody is authenticated" in sentence

    def test_tokens_over_tls_and_mutual_tls_are_enough(
        self, tokens: TokensFile, certificates: Certificates
    ) -> None:
        Edge(settings_for(None, listen=WIDE, **tokens.settings(), **certificates.settings()))
        Edge(settings_for(None, listen=WIDE, **certificates.settings(clients=True)))

    def test_insecure_allows_it_and_the_log_warns(
        self, tokens: TokensFile, caplog: pytest.LogCaptureFixture
    ) -> None:
        Edge(settings_for(None, listen=WIDE, insecure=True))
        assert "nobody is authenticated" in caplog.text
        Edge(settings_for(None, listen=WIDE, insecure=True, **tokens.settings()))
        assert "in the clear" in caplog.text

    def test_the_process_ends_with_1_and_makes_no_ledger(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "cli.main", "serve", "--data-dir", str(tmp_path / "d")]
        ended = subprocess.run(
            [*command, "--listen", WIDE], capture_output=True, timeout=30, check=False
        )
        assert 1 == ended.returncode
        assert "nobody is authenticated" in ended.stderr.decode()
        assert 1 == len(ended.stderr.decode().splitlines())
        assert not (tmp_path / "d").exists()

    def test_the_option_lets_it_start(self, tmp_path: Path) -> None:
        options = ("--no-jobs", "--http-listen", WIDE, "--insecure")
        with ServiceProcess(tmp_path / "d", options=options) as service:
            assert "answers HTTP at 0.0.0.0:" in service.log


class TestFiles:
    @pytest.mark.parametrize(
        ("tls", "told"),
        [
            ({"cert_file": "{c}"}, "tls.cert_file is set without tls.key_file: set both"),
            ({"key_file": "{k}"}, "tls.key_file is set without tls.cert_file: set both"),
            ({"client_ca_file": "{c}"}, "set tls.cert_file and tls.key_file, too"),
            ({"cert_file": "/nowhere", "key_file": "{k}"}, "tls.cert_file names a file /nowhere"),
            ({"cert_file": "{c}", "key_file": "/nowhere"}, "tls.key_file names a file that"),
        ],
    )
    def test_settings_that_are_not_whole_are_refused(
        self, certificates: Certificates, tls: dict[str, str], told: str
    ) -> None:
        folder = certificates.folder
        paths = {"c": str(folder / "service.pem"), "k": str(folder / "service.key")}
        with pytest.raises(SettingsError) as refused:
            settings_for(None, tls={name: path.format(**paths) for name, path in tls.items()})
        assert told in str(refused.value)

    def test_a_key_of_another_certificate_is_refused(self, certificates: Certificates) -> None:
        trustme.CA().issue_cert("x").private_key_pem.write_to_path(
            str(certificates.folder / "service.key")
        )
        (sentence,) = refusal(**certificates.settings())
        assert "cannot be used together: key values mismatch" in sentence

    @pytest.mark.parametrize("name", ["service.pem", "service.key", "clients-ca.pem"])
    def test_a_file_that_is_no_pem_is_refused(self, certificates: Certificates, name: str) -> None:
        (certificates.folder / name).write_text("nothing of the kind")
        (sentence,) = refusal(**certificates.settings(clients=True))
        assert "PEM" in sentence

    def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(
        self, certificates: Certificates
    ) -> None:
        key = certificates.folder / "service.key"
        key.write_text(
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
            "MIGjMF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBD6bNRuK3CZSw+xyl5l\n"
            "bCqVAgIIADAMBggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQCfGtTHy4vgvfeSPw\n"
            "iBYQ1QRA5bXU6G2vJSbMKFjaJ7mMSWCH1nG7IBGoZtTS9A2jOx4h9q3Gl8TKzQGS\n"
            "c0NfBYEkLrGxqEmuZY5DnlB3B0FnSQ==\n"
            "-----END ENCRYPTED PRIVATE KEY-----\n"
        )
        (sentence,) = refusal(**certificates.settings())
        assert "cannot be used together" in sentence

    def test_a_tokens_file_that_cannot_be_read_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "tokens.toml"
        path.write_text("[[tokens]]\n")
        (sentence,) = refusal(auth={"tokens_file": str(path)})
        assert f"auth.tokens_file {path}: [[tokens]] number 1 has no name" == sentence
        path.unlink()
        with pytest.raises(SettingsError, match=r"auth\.tokens_file names a file that"):
            settings_for(None, auth={"tokens_file": str(path)})


class TestSettings:
    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ({"http": {"listen": "9002"}}, 'http.listen is "9002"'),
            ({"tracing": {"otlp_endpoint": "127.0.0.1:4317"}}, "http://HOST:PORT"),
            ({"tracing": {"otlp_endpoint": "http://collector"}}, "http://HOST:PORT"),
            ({"tracing": {"otlp_endpoint": "http://collector:4317/v1/traces"}}, "over gRPC"),
            ({"tracing": {"otlp_endpoint": "http://me:pw@collector:4317"}}, "over gRPC"),
            ({"tracing": {"otlp_endpoint": "grpc://collector:4317"}}, "over gRPC"),
            ({"tracing": {"sampling_ratio": "1.01"}}, "from 0 (none) to 1 (all)"),
            ({"tracing": {"sampling_ratio": "-0.1"}}, "from 0 (none) to 1 (all)"),
            ({"tracing": {"sampling_ratio": "all"}}, "from 0 (none) to 1 (all)"),
            ({"tracing": {"sampling_ratio": True}}, "from 0 (none) to 1 (all)"),
            ({"insecure": "yes"}, "it must be true or false"),
        ],
    )
    def test_a_wrong_one_is_told_in_a_sentence(self, given: dict[str, object], told: str) -> None:
        with pytest.raises(SettingsError) as refused:
            settings_for(None, **given)
        (sentence,) = refused.value.problems
        assert told in sentence
        assert sentence.endswith(".")
        assert "me:pw" not in sentence

    def test_paths_in_a_file_start_at_the_file(
        self, certificates: Certificates, tokens: TokensFile
    ) -> None:
        folder = certificates.folder
        (folder / "usage-ledger.toml").write_text(
            '[auth]\ntokens_file = "tokens.toml"\n[tls]\ncert_file = "service.pem"\n'
            'key_file = "service.key"\nclient_ca_file = "clients-ca.pem"\n'
        )
        settings = load_settings(folder / "usage-ledger.toml")
        assert folder / "tokens.toml" == settings.auth.tokens_file
        assert folder / "clients-ca.pem" == settings.tls.client_ca_file
        Edge(settings)
