"""TLS and mutual TLS, for gRPC and HTTP, with certificates that are renewed meanwhile."""

import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
import pytest
import trustme

from tests.edge.callers import Certificates, TokensFile, bearer, calls_with
from tests.harness import Calls, InProcessService, settings_for
from usage.v1 import usage_pb2
from usage_ledger.v1 import queries_pb2

PAYER = "team:7f7e0b2c-93a4-4d0a-9d5e-0c7f3f5b1a11"
CHANGED_SECONDS_MAX = 30
HTTP = {"http": {"listen": "127.0.0.1:0"}}


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + CHANGED_SECONDS_MAX
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def connects(channel: grpc.Channel) -> bool:
    with channel:
        try:
            Calls("", channel).balance_cents(PAYER)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
    return True


def url(service: InProcessService, path: str) -> str:
    assert service.service.http is not None
    return f"https://127.0.0.1:{service.service.http.port}{path}"


def ask(
    address: str,
    authority: Path,
    *,
    method: str = "GET",
    client: tuple[Path, Path] | None = None,
) -> httpx.Response:
    """Send a request over TLS, trusting this authority; show a client's certificate if given."""
    context = ssl.create_default_context(cafile=authority)
    if client is not None:
        context.load_cert_chain(*client)
    with httpx.Client(verify=context) as http:
        return http.request(method, address)


def newest_author(calls: Calls) -> str:
    (answer,) = calls.queries.TailLog(queries_pb2.TailLogRequest(last=1))
    return answer.events[-1].author


class TestTls:
    @pytest.fixture
    def service(self, certificates: Certificates) -> Iterator[InProcessService]:
        settings = settings_for(None, **HTTP, **certificates.settings())
        with InProcessService(settings) as service:
            yield service

    def test_who_trusts_the_authority_is_served(
        self, service: InProcessService, certificates: Certificates
    ) -> None:
        assert connects(certificates.channel(service.target))
        assert ask(url(service, "/healthz"), certificates.ca).json()["ok"]

    def test_plaintext_and_strangers_are_not(
        self, service: InProcessService, certificates: Certificates
    ) -> None:
        assert not connects(grpc.insecure_channel(service.target))
        stranger = Certificates.__new__(Certificates)
        stranger.ca = certificates.clients_ca
        assert not connects(stranger.channel(service.target))
        with pytest.raises(httpx.ConnectError):
            ask(url(service, "/healthz"), certificates.clients_ca)

    def test_versions_of_the_protocol_before_1_2_are_refused(
        self, service: InProcessService
    ) -> None:
        assert service.service.edge.tls is not None
        newest = service.service.edge.tls.newest_context()
        assert ssl.TLSVersion.TLSv1_2 == newest.minimum_version

    def test_a_renewed_certificate_is_used_without_a_restart(
        self, service: InProcessService, certificates: Certificates, tmp_path: Path
    ) -> None:
        before = certificates.channel(service.target)
        Calls("", before).balance_cents(PAYER)
        renewed = trustme.CA()
        certificates.renew(renewed)
        renewed.cert_pem.write_to_path(str(certificates.ca))
        until(lambda: connects(certificates.channel(service.target)))
        assert ask(url(service, "/healthz"), certificates.ca).is_success
        # A connection that was there goes on.
        assert 0 == Calls("", before).balance_cents(PAYER)

    def test_files_that_do_not_fit_together_leave_the_certificate_before_in_use(
        self,
        service: InProcessService,
        certificates: Certificates,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        other = trustme.CA().issue_cert("127.0.0.1").private_key_pem
        other.write_to_path(str(certificates.folder / "service.key"))

        def is_told() -> bool:
            assert connects(certificates.channel(service.target))
            return "the certificate before stays in use" in caplog.text

        until(is_told)


class TestMutualTls:
    @pytest.fixture
    def service(self, certificates: Certificates) -> Iterator[InProcessService]:
        settings = settings_for(None, **HTTP, **certificates.settings(clients=True))
        with InProcessService(settings) as service:
            yield service

    def test_a_certificate_of_the_authority_may_do_everything_under_its_name(
        self, service: InProcessService, certificates: Certificates
    ) -> None:
        client = certificates.client("billing.example.org")
        calls = Calls("", certificates.channel(service.target, client))
        calls.reconcile()
        assert "billing.example.org" == newest_author(calls)

    @pytest.mark.parametrize(
        ("names", "common_name", "author"),
        [
            (["a.example.org", "b.example.org"], "c", "a.example.org"),
            (["someone@example.org"], "c", "someone@example.org"),
            ([], "only-a-common-name", "only-a-common-name"),
        ],
    )
    def test_the_name_is_the_first_of_uri_host_mail_and_common_name(
        self,
        service: InProcessService,
        certificates: Certificates,
        names: list[str],
        common_name: str,
        author: str,
    ) -> None:
        client = certificates.client(*names, common_name=common_name)
        calls = Calls("", certificates.channel(service.target, client))
        calls.reconcile()
        assert author == newest_author(calls)

    def test_nobody_passes_for_a_caller_who_was_not_authenticated(
        self, service: InProcessService, certificates: Certificates
    ) -> None:
        client = certificates.client(common_name="local:root")
        with pytest.raises(grpc.RpcError) as refused:
            Calls("", certificates.channel(service.target, client)).reconcile()
        assert grpc.StatusCode.UNAUTHENTICATED == refused.value.code()

    def test_without_a_certificate_of_the_authority_nothing_is_served_over_grpc(
        self, service: InProcessService, certificates: Certificates
    ) -> None:
        assert not connects(certificates.channel(service.target))
        certificates.clients_authority = trustme.CA()  # one that the service does not know
        stranger = certificates.client("billing.example.org")
        assert not connects(certificates.channel(service.target, stranger))

    def test_over_http_health_needs_no_certificate_and_the_rest_does(
        self, service: InProcessService, certificates: Certificates
    ) -> None:
        assert 200 == ask(url(service, "/readyz"), certificates.ca).status_code
        for refused in (
            ask(url(service, "/metrics"), certificates.ca),
            ask(url(service, "/events"), certificates.ca, method="POST"),
        ):
            assert 401 == refused.status_code
            assert "client certificate" in refused.json()["error"]
        client = certificates.client_files("billing.example.org")
        metrics = ask(url(service, "/metrics"), certificates.ca, client=client)
        assert 200 == metrics.status_code

    def test_another_authority_for_clients_counts_without_a_restart(
        self, service: InProcessService, certificates: Certificates
    ) -> None:
        before = certificates.client("billing.example.org")
        assert connects(certificates.channel(service.target, before))
        certificates.clients_authority = trustme.CA()
        certificates.clients_authority.cert_pem.write_to_path(str(certificates.clients_ca))
        after = certificates.client("billing.example.org")
        until(lambda: connects(certificates.channel(service.target, after)))
        assert not connects(certificates.channel(service.target, before))
        files = certificates.client_files("billing.example.org")
        metrics = ask(url(service, "/metrics"), certificates.ca, client=files)
        assert 200 == metrics.status_code


class TestCertificatesWithRoles:
    @pytest.fixture
    def service(self, certificates: Certificates, tokens: TokensFile) -> Iterator[InProcessService]:
        tokens.add_certificate("reader.example.org", "read")
        tokens.add_certificate("admin.example.org", "admin", "audit")
        settings = settings_for(
            None, **HTTP, **tokens.settings(), **certificates.settings(clients=True)
        )
        with InProcessService(settings) as service:
            yield service

    def code_of(self, calls: Calls) -> grpc.StatusCode:
        try:
            calls.reconcile()
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    def test_a_certificate_has_the_roles_that_the_file_gives_its_name(
        self, service: InProcessService, certificates: Certificates
    ) -> None:
        reader = certificates.channel(service.target, certificates.client("reader.example.org"))
        assert 0 == Calls("", reader).balance_cents(PAYER)
        assert grpc.StatusCode.PERMISSION_DENIED == self.code_of(Calls("", reader))
        admin = certificates.channel(service.target, certificates.client("admin.example.org"))
        assert grpc.StatusCode.OK == self.code_of(Calls("", admin))
        assert "admin.example.org" == newest_author(Calls("", admin))

    def test_any_of_its_names_may_be_the_one_in_the_file(
        self, service: InProcessService, certificates: Certificates
    ) -> None:
        client = certificates.client("other.example.org", common_name="admin.example.org")
        calls = Calls("", certificates.channel(service.target, client))
        calls.reconcile()
        assert "admin.example.org" == newest_author(calls)

    def test_a_name_that_the_file_does_not_have_may_do_nothing(
        self, service: InProcessService, certificates: Certificates
    ) -> None:
        client = certificates.client("other.example.org")
        with pytest.raises(grpc.RpcError) as refused:
            Calls("", certificates.channel(service.target, client)).balance_cents(PAYER)
        assert grpc.StatusCode.PERMISSION_DENIED == refused.value.code()
        assert "other.example.org has no roles" in (refused.value.details() or "")

    def test_a_token_that_is_sent_decides_in_place_of_the_certificate(
        self, service: InProcessService, certificates: Certificates, tokens: TokensFile
    ) -> None:
        client = certificates.client("reader.example.org")
        channel = certificates.channel(service.target, client)
        calls_with(service, tokens.tokens["admin"], channel).reconcile()
        with pytest.raises(grpc.RpcError) as refused:
            Calls("", channel).usage.GetBalance(
                usage_pb2.GetBalanceRequest(attribution_id=PAYER), metadata=bearer("ulg_wrong")
            )
        assert grpc.StatusCode.UNAUTHENTICATED == refused.value.code()
