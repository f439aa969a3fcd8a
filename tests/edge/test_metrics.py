"""/metrics: what a running service tells, what it costs to ask, and that the page names it all."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from facade.edge import Edge
from facade.http import HttpServer
from ledger.figures import TALLIES_REST, Figures, Source, source_of
from ledger.health import Part
from ledger.metrics import Histogram, Instruments
from tests.edge.callers import TokensFile
from tests.edge.requests import BATCHED, PAYER, address, encoded, note, post
from tests.harness import InProcessService, settings_for
from usage.v1 import usage_pb2

HTTP = {"http": {"listen": "127.0.0.1:0"}}
PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Samples:
    """Give every sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(service: InProcessService, **headers: str) -> Samples:
    response = httpx.get(address(service, "/metrics"), headers=headers)
    assert 200 == response.status_code, response.text
    return parsed(response.text)


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"usage_ledger_{name}", frozenset(labels.items())]


@pytest.fixture
def service() -> Iterator[InProcessService]:
    with InProcessService(settings_for(None, **HTTP)) as service:
        yield service


class TestTheLedger:
    def test_head_projections_and_what_they_lag(self, service: InProcessService) -> None:
        post(service, encoded([note(1), note(2)]), BATCHED).raise_for_status()
        samples = scrape(service)
        # The price list, and two notes.
        assert 3 == value(samples, "log_head_position", shard="0")
        for projection in ("balances", "instances", "usage-totals", "invoice-drafts"):
            labels = {"shard": "0", "projection": projection}
            assert 3 == value(samples, "projection_position", **labels)
            assert 0 == value(samples, "projection_lag_events", **labels)
            assert 0 == value(samples, "projection_paused", **labels)
        assert 1 == value(samples, "store_readable", shard="0")
        assert 0 == value(samples, "writes_refused", shard="0")
        for queue in ("commands", "events"):
            assert 0 == value(samples, "writer_queue_length", shard="0", queue=queue)

    def test_the_equation_by_kind_of_delivery(self, service: InProcessService) -> None:
        service.calls.publish([b"nonsense", encoded(note(1))], delivery="file:a.ndjson")
        service.calls.publish([encoded(note(1))], delivery="file:b.ndjson")
        service.calls.publish([encoded(note(2))])
        post(service, encoded(note(3)))
        service.calls.publish([b"other nonsense"], delivery="whatever")
        samples = scrape(service)
        names = ("received_total", "recorded_total", "repeated_total", "rejected")
        for source, counts in {
            "file": (3, 1, 1, 1),
            "call": (1, 1, 0, 0),
            "http": (1, 1, 0, 0),
            "other": (1, 0, 0, 1),
        }.items():
            labels = {"source": source, "topic": "", "topic_id": "", "partition": ""}
            assert counts == tuple(value(samples, f"events_{name}", **labels) for name in names)
        assert 2 == value(samples, "dead_letters")

    def test_a_projection_that_stands_still(self, tmp_path: Path) -> None:
        def fail(projection: str) -> None:
            if projection == "balances":
                raise KeyError(projection)

        with InProcessService(settings_for(tmp_path, **HTTP), before_fold=fail) as service:
            post(service, encoded(note(1)))
            samples = scrape(service)
            labels = {"shard": "0", "projection": "balances"}
            assert 1 == value(samples, "projection_paused", **labels)
            assert 0 < value(samples, "projection_lag_events", **labels)
            labels["projection"] = "instances"
            assert 0 == value(samples, "projection_paused", **labels)

    def test_appends_are_timed(self, service: InProcessService) -> None:
        before = value(scrape(service), "append_seconds_count")
        post(service, encoded(note(1)))
        samples = scrape(service)
        assert before + 1 == value(samples, "append_seconds_count")
        assert before + 1 == value(samples, "append_seconds_bucket", le="+Inf")
        assert 0 < value(samples, "append_seconds_sum")


class TestCalls:
    def test_grpc_calls_by_method_and_code(self, service: InProcessService) -> None:
        service.calls.balance_cents(PAYER)
        with pytest.raises(grpc.RpcError):
            service.calls.balance_cents("team:x")
        with pytest.raises(grpc.RpcError):
            service.calls.usage.ListUsage(usage_pb2.ListUsageRequest(attribution_id="x"))
        service.calls.publish([encoded(note(1))])
        samples = scrape(service)

        def labels(
            method: str, service: str = "usage.v1.UsageService", kind: str = "unary"
        ) -> dict[str, str]:
            return {"grpc_type": kind, "grpc_service": service, "grpc_method": method}

        def of(name: str, **labels: str) -> float:
            return samples[f"grpc_server_{name}", frozenset(labels.items())]

        balance = labels("GetBalance")
        assert 2 == of("started_total", **balance)
        assert 1 == of("handled_total", **balance, grpc_code="OK")
        assert 1 == of("handled_total", **balance, grpc_code="INVALID_ARGUMENT")
        assert 2 == of("handling_seconds_count", **balance)
        assert 1 == of("handled_total", **labels("ListUsage"), grpc_code="INVALID_ARGUMENT")
        publish = labels("Publish", "usage_ledger.v1.PublishingService", "bidi_stream")
        assert 1 == of("handled_total", **publish, grpc_code="OK")
        assert 0 == of("started_total", **labels("ResetUsage"))

    def test_a_call_that_was_given_up_is_counted_as_such(self, service: InProcessService) -> None:
        tail: Any = service.calls.channel.unary_stream("/usage_ledger.v1.QueryService/TailLog")
        following = tail(b"\x08\x01\x20\x01")  # from position 1 on, follow
        next(following)
        following.cancel()
        labels = {
            "grpc_type": "server_stream",
            "grpc_service": "usage_ledger.v1.QueryService",
            "grpc_method": "TailLog",
            "grpc_code": "CANCELLED",
        }
        for _ in range(100):
            if ("grpc_server_handled_total", frozenset(labels.items())) in scrape(service):
                return
        raise AssertionError("the cancelled call was not counted")

    def test_refused_callers_are_counted(
        self, guarded: InProcessService, tokens: TokensFile
    ) -> None:
        with pytest.raises(grpc.RpcError):
            guarded.calls.balance_cents(PAYER)
        samples = scrape(guarded, authorization=f"Bearer {tokens.tokens['read']}")
        labels = {
            "grpc_type": "unary",
            "grpc_service": "usage.v1.UsageService",
            "grpc_method": "GetBalance",
            "grpc_code": "UNAUTHENTICATED",
        }
        assert 1 == samples["grpc_server_handled_total", frozenset(labels.items())]

    def test_http_requests_by_path_and_code_and_strangers_paths_as_one(
        self, service: InProcessService
    ) -> None:
        post(service, encoded(note(1)))
        post(service, b"", "text/plain")
        for path in ("/a", "/b/c"):
            httpx.get(address(service, path))
        samples = scrape(service)
        events = {"path": "/events", "method": "POST"}
        assert 1 == value(samples, "http_requests_total", **events, code="200")
        assert 1 == value(samples, "http_requests_total", **events, code="415")
        assert 2 == value(samples, "http_request_seconds_count", **events)
        other = {"path": "other", "method": "other", "code": "404"}
        assert 2 == value(samples, "http_requests_total", **other)


class TestAsking:
    def test_needs_the_role_read_where_there_are_tokens(
        self, guarded: InProcessService, tokens: TokensFile
    ) -> None:
        assert 401 == httpx.get(address(guarded, "/metrics")).status_code
        publisher = {"authorization": f"Bearer {tokens.tokens['publish']}"}
        assert 403 == httpx.get(address(guarded, "/metrics"), headers=publisher).status_code
        assert scrape(guarded, authorization=f"Bearer {tokens.tokens['read']}")

    def test_both_formats_of_prometheus_are_spoken(self, service: InProcessService) -> None:
        plain = httpx.get(address(service, "/metrics"))
        assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        newer = httpx.get(address(service, "/metrics"), headers=accept)
        assert newer.headers["content-type"].startswith("application/openmetrics-text")
        assert newer.text.endswith("# EOF\n")

    def test_while_the_store_cannot_be_read_the_rest_is_told(self, tmp_path: Path) -> None:
        with InProcessService(settings_for(tmp_path / "data", **HTTP)) as service:
            (tmp_path / "data" / "ledger.db").rename(tmp_path / "gone.db")
            samples = scrape(service)
            (tmp_path / "gone.db").rename(tmp_path / "data" / "ledger.db")
        assert 0 == value(samples, "store_readable", shard="0")
        assert ("usage_ledger_log_head_position", frozenset({("shard", "0")})) not in samples
        assert 0 == value(samples, "writes_refused", shard="0")

    def test_figures_are_kept_for_a_while_and_counts_the_longer_the_more_they_cost(
        self, service: InProcessService
    ) -> None:
        now = 0.0
        read = {"standing": 0, "sums": 0}
        figures = Figures(service.ledger.shards, clock=lambda: now)
        add_up, standing = figures._sums._read, figures._standing[0]._read

        def slow_sums() -> object:
            nonlocal now
            now += 2.0  # what it takes
            read["sums"] += 1
            return add_up()

        def counted_standing() -> object:
            read["standing"] += 1
            return standing()

        figures._sums._read = slow_sums  # type: ignore[assignment]
        figures._standing[0]._read = counted_standing  # type: ignore[assignment]
        shard = service.ledger.shards[0]
        for _ in range(5):
            figures.standing(shard)
            figures.sums()
        assert {"standing": 2, "sums": 1} == read
        now += 2.0 * TALLIES_REST - 0.1
        figures.sums()
        assert 1 == read["sums"]
        now += 0.2
        figures.sums()
        figures.standing(shard)
        assert {"standing": 3, "sums": 2} == read


class TestSources:
    def test_partitions_are_told_one_by_one(self) -> None:
        name = "kafka:cluster-1:usage.events:Qm9vZw:7"
        assert Source("kafka", "usage.events", "Qm9vZw", "7") == source_of(name)

    def test_a_name_that_only_looks_like_one_is_not(self) -> None:
        assert Source("other") == source_of("kafka:made-up")
        assert Source("http") == source_of("http")


class TestInstruments:
    def test_a_histogram_puts_values_into_buckets(self) -> None:
        histogram = Histogram((1.0, 2.0))
        for seconds in (0.5, 1.0, 1.5, 9.0):
            histogram.observe(seconds)
        assert ([(1.0, 2), (2.0, 3)], 4, 12.0) == tuple(histogram.read())

    def test_what_several_threads_count_adds_up(self) -> None:
        instruments = Instruments()

        def count() -> None:
            for _ in range(10_000):
                instruments.lost_compare_and_sets.add("intake")
                instruments.append_seconds.observe(0.5)

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [(("intake",), 40_000)] == instruments.lost_compare_and_sets.samples()
        assert 40_000 == instruments.append_seconds.read().times

    async def test_a_role_without_a_ledger_tells_its_parts_and_its_intake(self) -> None:
        edge = Edge(settings_for(None, **HTTP))
        part = Part("intake")
        part.is_well(lag=5)
        lags = {("usage.events", "3"): 7.0, ("usage.events", "4"): 1.0}
        edge.instruments.intake_lag.follow(lambda: list(lags.items()))
        del lags["usage.events", "4"]  # taken away by a rebalance
        edge.instruments.lost_compare_and_sets.add("intake")
        server = HttpServer(edge, [part])
        await server.start()
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"http://127.0.0.1:{server.port}/metrics")).text
        await server.stop()
        samples = parsed(text)
        assert 1 == value(samples, "part_alive", part="intake")
        assert 1 == value(samples, "part_ready", part="intake")
        assert 5 == value(samples, "part_lag", part="intake")
        assert 7 == value(samples, "intake_lag_messages", topic="usage.events", partition="3")
        assert 1 == sum(name == "usage_ledger_intake_lag_messages" for name, _ in samples)
        assert 1 == value(samples, "lost_compare_and_sets_total", what="intake")


class TestThePage:
    @pytest.fixture
    def told(self, service: InProcessService) -> dict[str, tuple[str, str]]:
        """Type and help of every metric of a running service."""
        text = httpx.get(address(service, "/metrics")).text
        return {
            family.name + ("_total" if family.type == "counter" else ""): (
                family.type,
                family.documentation,
            )
            for family in text_string_to_metric_families(text)
        }

    @pytest.fixture
    def documented(self) -> dict[str, str]:
        """The type of every metric that the page has in a table."""
        rows = re.findall(r"^\| `([a-z_]+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE)
        return dict(rows)

    def test_names_every_metric_and_no_other(
        self, told: dict[str, tuple[str, str]], documented: dict[str, str]
    ) -> None:
        assert {name: kind for name, (kind, _) in told.items()} == documented

    def test_every_metric_has_a_help_text_and_a_unit_in_its_name(
        self, told: dict[str, tuple[str, str]]
    ) -> None:
        for name, (kind, text) in told.items():
            assert text, name
            if name.startswith("usage_ledger_"):
                assert text.endswith("."), name
            assert (kind == "counter") == name.endswith("_total"), name
            assert kind != "histogram" or name.endswith("_seconds"), name
