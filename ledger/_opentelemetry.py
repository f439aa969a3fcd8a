"""Tracing with OpenTelemetry, sent in the background over OTLP to one collector."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes

from ledger.settings import TracingSettings
from ledger.tracing import Linked, Tracing, Value

LINKS_MAX = 128  # of a group; it may have done a thousand commands
STEPS_MAX = 64  # of a group: a long one appends and folds a thousand events at a time
EXPORT_SECONDS = 3.0  # how long a batch may take: a process that ends waits for its last one

log = logging.getLogger(__name__)

# Steps of a group by the places with a name between which they lie.
_STEPS = {
    "before-append": ("append", "after-append"),
    "before-fold": ("fold", "after-fold"),
    "before-commit": ("commit", "after-commit"),
}


class _Span:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)

    def fail(self, reason: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, reason))


class OpenTelemetry(Tracing):
    """Traces every part of the process."""

    is_on = True

    def __init__(self, settings: TracingSettings, *, role: str) -> None:
        """Connect in the background; a collector that is not there loses spans, nothing else."""
        endpoint = settings.otlp_endpoint
        assert endpoint is not None
        self._provider = TracerProvider(
            sampler=ParentBased(_AsLinked(TraceIdRatioBased(float(settings.sampling_ratio)))),
            resource=Resource.create(
                {
                    "service.name": "usage-ledger",
                    "service.version": version("usage-ledger"),
                    "usage_ledger.role": role,
                }
            ),
        )
        exporter = OTLPSpanExporter(
            endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=EXPORT_SECONDS
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("usage-ledger")
        self._propagator = TraceContextTextMapPropagator()
        self._group = threading.local()  # `passed`: (place, time) of the group on this thread

    @contextmanager
    def span(self, name: str, **attributes: Value) -> Iterator[_Span]:
        """Trace the block, below the span that is open here."""
        with self._open(name, contexts.get_current(), SpanKind.INTERNAL, attributes) as span:
            yield span

    @contextmanager
    def serving(
        self, name: str, carrier: Mapping[str, str], **attributes: Value
    ) -> Iterator[_Span]:
        """Trace the answer to a request; `carrier` may name the caller's span (`traceparent`)."""
        parent = self._propagator.extract(carrier, context=contexts.Context())
        with self._open(name, parent, SpanKind.SERVER, attributes) as span:
            yield span

    @contextmanager
    def _open(
        self,
        name: str,
        parent: contexts.Context,
        kind: SpanKind,
        attributes: Mapping[str, Value],
    ) -> Iterator[_Span]:
        span = self._tracer.start_span(name, context=parent, kind=kind, attributes=attributes)
        token = contexts.attach(trace.set_span_in_context(span, parent))
        ours = _Span(span)
        try:
            yield ours
        except Exception as error:
            # The text stays in the log: it may hold what no collector should see.
            ours.fail(type(error).__name__)
            raise
        finally:
            contexts.detach(token)
            span.end()

    def here(self) -> SpanContext | None:
        """Give the span that is open here, for work that another thread does."""
        found = trace.get_current_span().get_span_context()
        return found if found.is_valid else None

    @contextmanager
    def group(self, works: Sequence[Linked]) -> Iterator[None]:
        """Trace the block as done for all of `works`, which may grow until it ends.

        The span is made at the end: only then is it known for whom it was, and so whether any of
        them is traced at all.
        """
        passed: list[tuple[str, int]] = []
        self._group.passed = passed
        began = time.time_ns()
        try:
            yield
        finally:
            self._group.passed = None
            try:
                self._tell_group(works, passed, began)
            except Exception:  # what is told of the work must never undo it
                log.exception("a group could not be traced")

    def _tell_group(
        self, works: Sequence[Linked], passed: list[tuple[str, int]], began: int
    ) -> None:
        asked_in = [work.asked_in for work in works]
        links = {
            one.span_id: Link(one)
            for one in asked_in
            if isinstance(one, SpanContext) and one.trace_flags.sampled
        }
        if not links:
            return
        span = self._tracer.start_span(
            "writer group",
            context=contexts.Context(),
            links=list(links.values())[:LINKS_MAX],
            attributes={"usage_ledger.works": len(works)},
            start_time=began,
        )
        inside = trace.set_span_in_context(span, contexts.Context())
        for name, start, end in _steps(passed):
            step = self._tracer.start_span(name, context=inside, start_time=start)
            step.end(end)
        span.end()

    def passing(self, failpoint: Callable[[str], None]) -> Callable[[str], None]:
        """Note when a group passes the places with a name; give what to call there instead."""

        def pass_(name: str) -> None:
            passed = getattr(self._group, "passed", None)
            if passed is not None:
                passed.append((name, time.time_ns()))
            failpoint(name)

        return pass_

    def close(self) -> None:
        """Send what was not sent yet."""
        self._provider.shutdown()


def _steps(passed: Sequence[tuple[str, int]]) -> list[tuple[str, int, int]]:
    """Give (name, start, end) of the steps between the places that were passed."""
    steps: list[tuple[str, int, int]] = []
    open_steps: dict[str, tuple[str, int]] = {}  # by the place at which it ends
    for place, at in passed:
        begins = _STEPS.get(place)
        if begins is not None:
            name, ends_at = begins
            # A fold passes its beginning once for each projection; the first is the step's.
            open_steps.setdefault(ends_at, (name, at))
        elif place in open_steps and len(steps) < STEPS_MAX:
            name, start = open_steps.pop(place)
            steps.append((name, start, at))
    return steps


class _AsLinked(Sampler):
    """Traces what links to something traced; for everything else another sampler decides."""

    def __init__(self, otherwise: Sampler) -> None:
        self._otherwise = otherwise

    def should_sample(
        self,
        parent_context: contexts.Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        decides = ALWAYS_ON if links else self._otherwise
        return decides.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        return f"AsLinked({self._otherwise.get_description()})"
