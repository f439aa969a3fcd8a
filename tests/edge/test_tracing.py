"""Traces: what a collector of OTLP receives, and that nothing is done while they are off."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ledger import tracing
from ledger.settings import TracingSettings
from ledger.tracing import Tracing, configure_tracing
from tests.edge.requests import PAYER, STRUCTURED, address, encoded, note, post
from tests.harness import InProcessService, ServiceProcess, settings_for
from usage.v1 import usage_pb2

ARRIVES_SECONDS_MAX = 30
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A real receiver of OTLP over gRPC; keeps what came."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self.resources: list[dict[str, str]] = []
        self._lock = threading.Lock()
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
        add(self, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.endpoint = f"http://127.0.0.1:{port}"
        self._server.start()

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the proto's name
        with self._lock:
            for resource in request.resource_spans:
                attributes = resource.resource.attributes
                self.resources.append({a.key: a.value.string_value for a in attributes})
                self._spans += [span for scope in resource.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def named(self, name: str) -> list[Span]:
        with self._lock:
            return [span for span in self._spans if span.name == name]

    def stop(self) -> None:
        self._server.stop(None).wait()


def attributes(span: Span) -> dict[str, Any]:
    return {
        one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes
    }


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture
def configure(collector: Collector) -> Iterator[Callable[[str], Tracing]]:
    """Trace with a ratio; off again afterwards."""

    def configured(ratio: str) -> Tracing:
        settings = TracingSettings.model_validate(
            {"otlp_endpoint": collector.endpoint, "sampling_ratio": ratio}
        )
        return configure_tracing(settings, role="tests")

    yield configured
    configure_tracing(TracingSettings(), role="tests")


@pytest.fixture
def service(configure: Callable[[str], Tracing]) -> Iterator[InProcessService]:
    configure("1")
    settings = settings_for(None, http={"listen": "127.0.0.1:0"})
    with InProcessService(settings) as service:
        yield service


def arrived(collector: Collector, name: str) -> list[Span]:
    """Give the spans with a name once there is one: a call's ends after its caller has heard."""
    deadline = time.monotonic() + ARRIVES_SECONDS_MAX
    while not collector.named(name):
        assert time.monotonic() < deadline
        time.sleep(0.02)
        traces: Any = tracing.current()
        traces._provider.force_flush()
    return collector.named(name)


class TestCalls:
    def test_a_call_goes_on_in_the_trace_of_its_caller(
        self, service: InProcessService, collector: Collector
    ) -> None:
        request = usage_pb2.GetBalanceRequest(attribution_id=PAYER)
        service.calls.usage.GetBalance(request, metadata=(("traceparent", SAMPLED),))
        (span,) = arrived(collector, "usage.v1.UsageService/GetBalance")
        assert (TRACE, PARENT) == (span.trace_id.hex(), span.parent_span_id.hex())
        assert Span.SPAN_KIND_SERVER == span.kind
        expected = {
            "rpc.system": "grpc",
            "rpc.service": "usage.v1.UsageService",
            "rpc.method": "GetBalance",
            "rpc.grpc.status_code": 0,
        }
        assert expected == attributes(span)
        assert Status.STATUS_CODE_UNSET == span.status.code
        assert "tests" == collector.resources[0]["usage_ledger.role"]
        assert "usage-ledger" == collector.resources[0]["service.name"]

    def test_a_failure_of_the_caller_is_told_and_is_no_failure_of_ours(
        self, service: InProcessService, collector: Collector
    ) -> None:
        with pytest.raises(grpc.RpcError):
            service.calls.balance_cents("team:x")
        (span,) = arrived(collector, "usage.v1.UsageService/GetBalance")
        assert grpc.StatusCode.INVALID_ARGUMENT.value[0] == attributes(span)["rpc.grpc.status_code"]
        assert Status.STATUS_CODE_UNSET == span.status.code

    def test_a_failure_of_ours_has_the_status_error_and_no_text_of_it(
        self, service: InProcessService, collector: Collector
    ) -> None:
        service.ledger.shards[0].writer.stop()
        with pytest.raises(grpc.RpcError):
            service.calls.reconcile()
        (span,) = arrived(collector, "usage.v1.UsageService/ReconcileUsage")
        assert (Status.STATUS_CODE_ERROR, "UNAVAILABLE") == (span.status.code, span.status.message)
        assert not span.events

    def test_streams_are_one_span_each(
        self,
        service: InProcessService,
        collector: Collector,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        service.calls.publish([encoded(note(1)), encoded(note(2))], block_lines=1)
        tail: Any = service.calls.channel.unary_stream("/usage_ledger.v1.QueryService/TailLog")
        following = tail(b"\x08\x01\x20\x01")  # from position 1 on, follow
        next(following)
        following.cancel()
        deadline = time.monotonic() + ARRIVES_SECONDS_MAX
        while not collector.named("usage_ledger.v1.QueryService/TailLog"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
            (publish,) = arrived(collector, "usage_ledger.v1.PublishingService/Publish")
        assert 0 == attributes(publish)["rpc.grpc.status_code"]
        (tailed,) = arrived(collector, "usage_ledger.v1.QueryService/TailLog")
        cancelled = grpc.StatusCode.CANCELLED.value[0]
        assert cancelled == attributes(tailed)["rpc.grpc.status_code"]
        assert "Failed to detach" not in caplog.text

    def test_http_requests_are_traced_too(
        self, service: InProcessService, collector: Collector
    ) -> None:
        post(service, encoded(note(1)), traceparent=SAMPLED).raise_for_status()
        httpx.get(address(service, "/nowhere"))
        (span,) = arrived(collector, "POST /events")
        assert (TRACE, PARENT) == (span.trace_id.hex(), span.parent_span_id.hex())
        assert 200 == attributes(span)["http.response.status_code"]
        (strange,) = arrived(collector, "GET other")
        assert Status.STATUS_CODE_UNSET == strange.status.code


class TestGroups:
    def test_a_group_is_linked_to_the_calls_it_was_for_and_shows_its_steps(
        self, collector: Collector, tmp_path: Path
    ) -> None:
        config = tmp_path / "usage-ledger.toml"
        config.write_text(f'[tracing]\notlp_endpoint = "{collector.endpoint}"\n')
        options = ("--no-jobs", "--config", str(config))
        with ServiceProcess(tmp_path / "d", options=options) as service:
            request = usage_pb2.AddUsageCreditNoteRequest(
                attribution_id=PAYER, credits=1, description="x"
            )
            service.calls.usage.AddUsageCreditNote(request, metadata=(("traceparent", SAMPLED),))
        (call,) = collector.named("usage.v1.UsageService/AddUsageCreditNote")
        groups = collector.named("writer group")
        (group,) = [one for one in groups if call.span_id in {ln.span_id for ln in one.links}]
        assert not group.parent_span_id
        assert 1 == attributes(group)["usage_ledger.works"]
        steps = [
            step
            for name in ("append", "fold", "commit")
            for step in collector.named(name)
            if step.parent_span_id == group.span_id
        ]
        assert ["append", "fold", "commit"] == [step.name for step in steps]
        times = [group.start_time_unix_nano]
        for step in steps:
            times += [step.start_time_unix_nano, step.end_time_unix_nano]
        assert sorted(times) == times
        assert times[-1] <= group.end_time_unix_nano

    def test_a_group_that_nobody_traced_asked_for_is_not_traced(
        self, collector: Collector, configure: Callable[[str], Tracing]
    ) -> None:
        configure("0")
        settings = settings_for(None, http={"listen": "127.0.0.1:0"})
        with InProcessService(settings) as service:
            service.calls.reconcile()
            request = usage_pb2.ReconcileUsageRequest()
            metadata = (("traceparent", NOT_SAMPLED),)
            service.calls.usage.ReconcileUsage(request, metadata=metadata)
            traced = (("traceparent", SAMPLED),)
            service.calls.usage.ReconcileUsage(request, metadata=traced)
            httpx.post(
                address(service), content=encoded(note(1)), headers={"content-type": STRUCTURED}
            ).raise_for_status()
        (call,) = arrived(collector, "usage.v1.UsageService/ReconcileUsage")
        assert TRACE == call.trace_id.hex()
        assert not collector.named("POST /events")
        (group,) = arrived(collector, "writer group")
        assert [call.span_id] == [link.span_id for link in group.links]


class TestSpans:
    def test_what_a_part_does_is_below_what_it_does_it_for(
        self, collector: Collector, configure: Callable[[str], Tracing]
    ) -> None:
        configure("1")
        with tracing.span("intake batch", partition=3), tracing.span("inner"):
            pass
        with pytest.raises(KeyError), tracing.span("fold batch"):
            raise KeyError("secret")
        (batch,), (inner,) = arrived(collector, "intake batch"), collector.named("inner")
        assert (batch.trace_id, batch.span_id) == (inner.trace_id, inner.parent_span_id)
        assert {"partition": 3} == attributes(batch)
        (fold,) = arrived(collector, "fold batch")
        assert (Status.STATUS_CODE_ERROR, "KeyError") == (fold.status.code, fold.status.message)


class TestOff:
    def test_nothing_is_sent_and_nothing_is_remembered(self, collector: Collector) -> None:
        assert not tracing.current().is_on
        with tracing.span("x") as span:
            span.set("a", 1)
            span.fail("b")
        assert tracing.current().here() is None
        assert not collector.named("x")

    def test_failpoints_are_what_they_were(self) -> None:
        def failpoint(_name: str) -> None: ...

        assert failpoint is tracing.current().passing(failpoint)

    def test_opentelemetry_is_not_even_imported(self, tmp_path: Path) -> None:
        program = (
            "import sys; from tests.harness import InProcessService, settings_for\n"
            "with InProcessService(settings_for(None)) as s: s.calls.reconcile()\n"
            "print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
        )
        ran = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": ":".join(filter(None, [*sys.path, str(Path(__file__).parents[2])]))},
        )
        assert "[]" == ran.stdout.splitlines()[-1]


class TestRefusals:
    def test_without_the_packages_the_start_is_refused_with_a_sentence(
        self, tmp_path: Path
    ) -> None:
        program = (
            "import sys; sys.modules['opentelemetry.sdk'] = None\n"
            "from cli.main import main; sys.exit(main(sys.argv[1:]))"
        )
        config = tmp_path / "usage-ledger.toml"
        config.write_text('[tracing]\notlp_endpoint = "http://127.0.0.1:4317"\n')
        command = ["serve", "--config", str(config), "--data-dir", str(tmp_path / "d")]
        ended = subprocess.run(
            [sys.executable, "-c", program, *command, "--listen", "127.0.0.1:0"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        )
        assert 1 == ended.returncode
        (sentence,) = ended.stderr.splitlines()
        assert "the packages of OpenTelemetry are not installed" in sentence
        assert "install usage-ledger[cluster]" in sentence
        assert not (tmp_path / "d").exists()

    def test_a_collector_that_is_away_keeps_no_call_waiting(self, tmp_path: Path) -> None:
        config = tmp_path / "usage-ledger.toml"
        # The port for "discard": nothing listens there.
        config.write_text('[tracing]\notlp_endpoint = "http://127.0.0.1:9"\n')
        options = ("--no-jobs", "--config", str(config))
        with ServiceProcess(tmp_path / "d", options=options) as service:
            service.calls.reconcile()
            assert 0 == service.stop()
