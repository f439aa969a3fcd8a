"""Who may call what: the table of roles, tokens, and who is named as the author."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from facade import access
from facade.tokens import Role
from tests.edge.callers import TokensFile, bearer, calls_with
from tests.harness import Calls, InProcessService, health_stub, reflection_stub, settings_for
from usage.v1 import billing_pb2, usage_pb2
from usage_ledger.v1 import admin_pb2, audit_pb2, publishing_pb2, queries_pb2
from usage_ledger.v1 import billing_pb2 as status_pb2

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED
PAYER = "team:7f7e0b2c-93a4-4d0a-9d5e-0c7f3f5b1a11"
CHANGED_SECONDS_MAX = 30

FILES = (
    *(usage_pb2, billing_pb2, publishing_pb2),
    *(queries_pb2, admin_pb2, audit_pb2, status_pb2),
)
METHODS: dict[str, MethodDescriptor] = {
    f"/{service.full_name}/{method.name}": method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
HTTP = {"POST /events", "GET /metrics"}


def call(channel: grpc.Channel, path: str, *, token: str | None) -> grpc.StatusCode:
    """Call a method with an empty request and give its code."""
    method = METHODS[path]
    metadata = () if token is None else bearer(token)
    request: Message = GetMessageClass(method.input_type)()
    kinds: dict[tuple[bool, bool], Callable[..., Any]] = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, True): channel.stream_stream,
    }
    kind = kinds[method.client_streaming, method.server_streaming]
    ask = kind(path, request_serializer=lambda message: message.SerializeToString())
    try:
        if method.client_streaming:
            list(ask(iter([request]), metadata=metadata))
        elif method.server_streaming:
            list(ask(request, metadata=metadata))
        else:
            ask(request, metadata=metadata)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def author_of_newest(service: InProcessService, token: str) -> str:
    request = queries_pb2.TailLogRequest(last=1)
    (answer,) = service.calls.queries.TailLog(request, metadata=bearer(token))
    return answer.events[-1].author


class TestTheTable:
    def test_every_method_is_in_it_and_nothing_else(self) -> None:
        assert METHODS.keys() | HTTP == access.NEEDED.keys()

    def test_a_method_that_is_missing_cannot_be_served(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = "/usage.v1.UsageService/GetBalance"
        without = {name: role for name, role in access.NEEDED.items() if name != path}
        monkeypatch.setattr("facade.boundary.NEEDED", without)
        with (
            pytest.raises(AssertionError, match=f"who may call {path}"),
            InProcessService(settings_for(None)),
        ):
            pass

    @pytest.mark.parametrize("path", METHODS)
    def test_a_call_is_let_in_by_the_roles_that_include_its_own(
        self, guarded: InProcessService, tokens: TokensFile, path: str
    ) -> None:
        need = access.NEEDED[path]
        enough = {need} | ({Role.ADMIN, Role.AUDIT} if need is Role.READ else set())
        channel = guarded.calls.channel
        assert UNAUTHENTICATED == call(channel, path, token=None)
        for role in Role:
            code = call(channel, path, token=tokens.tokens[role])
            assert (role not in enough) == (code is PERMISSION_DENIED), role
            assert code is not UNAUTHENTICATED


class TestTokens:
    def test_a_call_without_one_is_told_how_to_send_it(self, guarded: InProcessService) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            guarded.calls.balance_cents(PAYER)
        assert UNAUTHENTICATED == refused.value.code()
        assert "send `authorization: Bearer TOKEN`" in (refused.value.details() or "")

    @pytest.mark.parametrize(
        ("authorization", "told"),
        [
            ("Bearer ulg_unknown", "the token is not known"),
            ("bearer ulg_unknown", "the token is not known"),
            ("Bearer " + "x" * 4_000, "the token is not known"),
            ("Bearer", "must be `Bearer TOKEN`"),
            ("Basic dXNlcjpwdw==", "must be `Bearer TOKEN`"),
        ],
    )
    def test_what_is_no_known_token_is_refused(
        self, guarded: InProcessService, authorization: str, told: str
    ) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            guarded.calls.usage.GetBalance(
                usage_pb2.GetBalanceRequest(attribution_id=PAYER),
                metadata=(("authorization", authorization),),
            )
        assert UNAUTHENTICATED == refused.value.code()
        details = refused.value.details() or ""
        assert told in details
        assert not any(secret in details for secret in authorization.split()[1:])

    def test_who_lacks_a_role_is_told_which(
        self, guarded: InProcessService, tokens: TokensFile
    ) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            calls_with(guarded, tokens.tokens["read"]).reconcile()
        assert PERMISSION_DENIED == refused.value.code()
        assert (
            "read has the role read, and usage.v1.UsageService/ReconcileUsage needs the role admin"
            == refused.value.details()
        )

    def test_the_check_comes_before_the_request_is_read(self, guarded: InProcessService) -> None:
        path = "/usage.v1.UsageService/GetBalance"
        ask: Any = guarded.calls.channel.unary_unary(path)
        with pytest.raises(grpc.RpcError) as refused:
            ask(b"\xff\xff no protobuf")
        assert UNAUTHENTICATED == refused.value.code()

    def test_health_and_reflection_are_open(self, guarded: InProcessService) -> None:
        channel = guarded.calls.channel
        health = health_stub(channel).Check(health_pb2.HealthCheckRequest())
        assert health_pb2.HealthCheckResponse.SERVING == health.status
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = next(iter(reflection_stub(channel).ServerReflectionInfo(iter([request]))))
        assert answer.list_services_response.service

    def test_without_a_file_everybody_on_this_machine_may_do_everything(self) -> None:
        with InProcessService(settings_for(None)) as service:
            for path in METHODS:
                code = call(service.calls.channel, path, token=None)
                assert code not in {UNAUTHENTICATED, PERMISSION_DENIED}, path

    def test_a_token_is_harmless_where_nobody_asks_for_one(self) -> None:
        with InProcessService(settings_for(None)) as service:
            calls = calls_with(service, "ulg_of-another-service")
            assert 0 == calls.balance_cents(PAYER)


class TestAChangedFile:
    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + CHANGED_SECONDS_MAX
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def code_of(self, service: InProcessService, token: str) -> grpc.StatusCode:
        return call(service.calls.channel, "/usage.v1.UsageService/ResetUsage", token=token)

    def test_a_token_that_was_taken_out_is_refused_soon(
        self, guarded: InProcessService, tokens: TokensFile
    ) -> None:
        admin = tokens.tokens["admin"]
        assert grpc.StatusCode.OK == self.code_of(guarded, admin)
        tokens.take_out("admin")
        self.until(lambda: self.code_of(guarded, admin) is UNAUTHENTICATED)
        assert grpc.StatusCode.OK == self.code_of(guarded, tokens.tokens["all"])

    def test_a_file_that_cannot_be_read_changes_nothing_and_the_log_says_so(
        self,
        guarded: InProcessService,
        tokens: TokensFile,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        admin = tokens.tokens["admin"]
        tokens.path.write_text("[[tokens]]\nname = 'half")

        def is_told(sentence: str) -> bool:
            assert grpc.StatusCode.OK == self.code_of(guarded, admin)
            return sentence in caplog.text

        self.until(lambda: is_told("is not TOML"))
        tokens.path.unlink()
        self.until(lambda: is_told("No such file"))

    def test_a_stream_ends_at_the_next_request_after_its_token_was_taken_out(
        self, guarded: InProcessService, tokens: TokensFile
    ) -> None:
        more = threading.Event()

        def requests() -> Iterator[publishing_pb2.PublishRequest]:
            yield publishing_pb2.PublishRequest(lines=b"{}\n")
            more.wait(CHANGED_SECONDS_MAX)
            yield publishing_pb2.PublishRequest(lines=b"{} \n")

        answers = calls_with(guarded, tokens.tokens["publish"]).publishing.Publish(requests())
        assert 1 == next(answers).receipt.rejected
        tokens.take_out("publish")
        self.until(lambda: self.code_of(guarded, tokens.tokens["publish"]) is UNAUTHENTICATED)
        more.set()
        with pytest.raises(grpc.RpcError) as refused:
            next(answers)
        assert UNAUTHENTICATED == refused.value.code()

    def test_following_the_log_ends_at_the_next_event_after_its_token_was_taken_out(
        self, guarded: InProcessService, tokens: TokensFile
    ) -> None:
        follow = queries_pb2.TailLogRequest(from_position=1, follow=True)
        answers = calls_with(guarded, tokens.tokens["audit"]).queries.TailLog(follow)
        assert next(answers).events
        tokens.take_out("audit")
        self.until(lambda: self.code_of(guarded, tokens.tokens["audit"]) is UNAUTHENTICATED)
        calls_with(guarded, tokens.tokens["admin"]).reconcile()
        with pytest.raises(grpc.RpcError) as refused:
            next(answers)
        assert UNAUTHENTICATED == refused.value.code()


class TestAuthors:
    def test_a_change_is_by_the_name_of_its_token(
        self, guarded: InProcessService, tokens: TokensFile
    ) -> None:
        calls_with(guarded, tokens.tokens["admin"]).reconcile()
        assert "admin" == author_of_newest(guarded, tokens.tokens["audit"])

    def test_a_read_that_opens_a_cost_center_has_its_reader_as_author(
        self, guarded: InProcessService, tokens: TokensFile
    ) -> None:
        request = usage_pb2.GetCostCenterRequest(attribution_id=PAYER)
        guarded.calls.usage.GetCostCenter(request, metadata=bearer(tokens.tokens["read"]))
        assert "read" == author_of_newest(guarded, tokens.tokens["audit"])

    def test_published_events_are_by_their_publisher(
        self, guarded: InProcessService, tokens: TokensFile
    ) -> None:
        note = (
            b'{"specversion":"1.0","id":"n","source":"/t","type":"usage.credit_note.issued.v1",'
            b'"time":"2026-11-01T08:00:00Z","data":{"attributionId":"%s","credits":1}}'
            % PAYER.encode()
        )
        receipt = calls_with(guarded, tokens.tokens["publish"]).publish([note])
        assert 1 == receipt.recorded
        assert "publish" == author_of_newest(guarded, tokens.tokens["audit"])

    def test_calls_at_the_same_time_keep_their_own_authors(
        self, guarded: InProcessService, tokens: TokensFile
    ) -> None:
        def reconcile(name: str) -> None:
            calls: Calls = calls_with(guarded, tokens.tokens[name])
            for _ in range(20):
                calls.reconcile()

        threads = [threading.Thread(target=reconcile, args=(name,)) for name in ("admin", "all")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        request = queries_pb2.TailLogRequest(last=40)
        answers = guarded.calls.queries.TailLog(request, metadata=bearer(tokens.tokens["audit"]))
        authors = [event.author for answer in answers for event in answer.events]
        assert ["admin"] * 20 + ["all"] * 20 == sorted(authors)


class TestNamesInCertificates:
    def test_uris_come_first_then_hosts_mail_addresses_and_the_common_name(self) -> None:
        told_by_grpc = {
            "x509_common_name": [b"common"],
            "peer_email": [b"a@example.org"],
            "peer_dns": [b"a.example.org", b"b.example.org"],
            "peer_uri": [b"spiffe://example.org/a"],
            "transport_security_type": [b"ssl"],
        }
        told_by_ssl = {
            "subject": ((("organizationName", "x"),), (("commonName", "common"),)),
            "subjectAltName": (
                ("DNS", "a.example.org"),
                ("email", "a@example.org"),
                ("URI", "spiffe://example.org/a"),
                ("DNS", "b.example.org"),
                ("IP Address", "192.0.2.1"),
            ),
        }
        expected = [
            "spiffe://example.org/a",
            "a.example.org",
            "b.example.org",
            "a@example.org",
            "common",
        ]
        assert expected == list(access.names_in_auth_context(told_by_grpc))
        assert expected == list(access.names_in_certificate(told_by_ssl))

    def test_no_certificate_has_no_names(self) -> None:
        assert [] == list(access.names_in_certificate(None))
        assert [] == list(access.names_in_auth_context({"transport_security_type": [b"ssl"]}))
