"""What a process tells Prometheus: its registry, and the counts of its calls.

What the ledger itself tells is read in facade/ledger_metrics.py. docs/metrics.md lists every name.
"""

from __future__ import annotations

from collections.abc import Iterable

import prometheus_client as prometheus
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from ledger.health import Probe
from ledger.metrics import Instruments

# Seconds. A balance takes a quarter millisecond, a write a few; a stream ends when its client does.
CALL_SECONDS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 60.0),
)

UNARY, SERVER_STREAM, BIDI_STREAM = "unary", "server_stream", "bidi_stream"


def new_registry() -> CollectorRegistry:
    """Give a registry of our own, with what every process tells of itself."""
    # When a counter began says nothing that a restart of the process does not.
    prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    prometheus.ProcessCollector(registry=registry)
    prometheus.PlatformCollector(registry=registry)
    prometheus.GCCollector(registry=registry)
    return registry


class MethodCounts:
    """The counts of one gRPC method, looked up once and not with each call."""

    def __init__(self, counts: CallCounts, kind: str, service: str, method: str) -> None:
        """Begin at zero."""
        self._labels = kind, service, method
        self._handled = counts.handled
        self._by_code: dict[str, prometheus.Counter] = {}
        self._started = counts.started.labels(*self._labels)
        # Made when it is first needed: it is many rows, for a call that may never come.
        self._seconds: prometheus.Histogram | None = None
        self._all_seconds = counts.seconds

    def begin(self) -> None:
        """Count a call that came in."""
        self._started.inc()

    def end(self, code: str, seconds: float) -> None:
        """Count a call that was answered, with the name of its code."""
        handled = self._by_code.get(code)
        if handled is None:
            handled = self._by_code[code] = self._handled.labels(*self._labels, code)
        handled.inc()
        if self._seconds is None:
            self._seconds = self._all_seconds.labels(*self._labels)
        self._seconds.observe(seconds)


class CallCounts:
    """gRPC calls under the names that dashboards for other languages know, too."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register."""
        labels = ("grpc_type", "grpc_service", "grpc_method")
        self.started = prometheus.Counter(
            "grpc_server_started_total",
            "Calls that came in.",
            labels,
            registry=registry,
        )
        self.handled = prometheus.Counter(
            "grpc_server_handled_total",
            "Calls that were answered, by status code.",
            (*labels, "grpc_code"),
            registry=registry,
        )
        self.seconds = prometheus.Histogram(
            "grpc_server_handling_seconds",
            "How long calls took until they were answered; a stream until it ended.",
            labels,
            buckets=CALL_SECONDS,
            registry=registry,
        )

    def of(self, kind: str, service: str, method: str) -> MethodCounts:
        """Give the counts of a method."""
        return MethodCounts(self, kind, service, method)


class RequestCounts:
    """HTTP requests by path, method and status code; unknown paths count as one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register."""
        self._handled = prometheus.Counter(
            "usage_ledger_http_requests_total",
            "HTTP requests that were answered, by status code.",
            ("path", "method", "code"),
            registry=registry,
        )
        self._seconds = prometheus.Histogram(
            "usage_ledger_http_request_seconds",
            "How long HTTP requests took until they were answered.",
            ("path", "method"),
            buckets=CALL_SECONDS,
            registry=registry,
        )

    def end(self, path: str, method: str, code: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._handled.labels(path, method, str(code)).inc()
        self._seconds.labels(path, method).observe(seconds)


class InstrumentCollector(Collector):
    """Reads what the parts of this process counted."""

    def __init__(self, instruments: Instruments) -> None:
        """Read these."""
        self._instruments = instruments

    def collect(self) -> Iterable[Metric]:
        """Give the numbers as they are now."""
        instruments = self._instruments
        appended = instruments.append_seconds.read()
        seconds = HistogramMetricFamily(
            "usage_ledger_append_seconds",
            "How long transactions took that appended to the log, from their begin to the commit.",
        )
        buckets = [(format(bound, "g"), float(count)) for bound, count in appended.upto]
        seconds.add_metric([], [*buckets, ("+Inf", float(appended.times))], appended.total)
        yield seconds
        lost = CounterMetricFamily(
            "usage_ledger_lost_compare_and_sets",
            "Positions that had been moved by somebody else; what was read is read again.",
            labels=["what"],
        )
        for labels, value in instruments.lost_compare_and_sets.samples():
            lost.add_metric(labels, value)
        yield lost
        lag = GaugeMetricFamily(
            "usage_ledger_intake_lag_messages",
            "Messages of a partition that this process has yet to take in.",
            labels=["topic", "partition"],
        )
        for labels, value in instruments.intake_lag.samples():
            lag.add_metric(labels, value)
        yield lag
        yield from self._stripe()

    def _stripe(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "usage_ledger_stripe_requests",
            "Requests to Stripe, by what was asked and what came of it.",
            labels=["call", "outcome"],
        )
        # It is there from the start: a counter that begins at one has never risen.
        refused = CounterMetricFamily(
            "usage_ledger_stripe_key_refused",
            "Requests for which Stripe did not take our key.",
        )
        for labels, times in self._instruments.stripe_requests.samples():
            requests.add_metric(labels, times)
        refused.add_metric((), self._instruments.stripe_key_refused)
        return requests, refused


class ProbeCollector(Collector):
    """Tells how the parts of this process are."""

    def __init__(self, probes: Iterable[Probe]) -> None:
        """Ask these."""
        self._probes = list(probes)

    def collect(self) -> Iterable[Metric]:
        """Ask every part."""
        alive = GaugeMetricFamily(
            "usage_ledger_part_alive",
            "1 while a part of the process works or can recover by itself, else 0.",
            labels=["part"],
        )
        ready = GaugeMetricFamily(
            "usage_ledger_part_ready",
            "1 while a part of the process does its work, else 0.",
            labels=["part"],
        )
        lag = GaugeMetricFamily(
            "usage_ledger_part_lag",
            "Events or messages that a part of the process has yet to take.",
            labels=["part"],
        )
        for probe in self._probes:
            alive.add_metric([probe.name], float(probe.alive))
            ready.add_metric([probe.name], float(probe.ready))
            if probe.lag is not None:
                lag.add_metric([probe.name], float(probe.lag))
        return alive, ready, lag
