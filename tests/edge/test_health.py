"""/healthz and /readyz: alive, ready, and the reason for each part that is not."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from facade.edge import Edge
from facade.http import HttpServer
from ledger.errors import StartRefusedError
from ledger.health import Part
from tests.edge.requests import BATCHED, address, encoded, note, post
from tests.harness import InProcessService, ServiceProcess, settings_for

HTTP = {"http": {"listen": "127.0.0.1:0"}}


class Parts:
    """An HTTP server of a role that has two parts and neither gRPC nor a ledger."""

    def __init__(self) -> None:
        self.intake = Part("intake")
        self.relay = Part("relay", is_needed=False)
        self.server = HttpServer(Edge(settings_for(None, **HTTP)), [self.intake, self.relay])

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.get(f"http://127.0.0.1:{self.server.port}{path}")


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    parts = Parts()
    await parts.server.start()
    yield parts
    await parts.server.stop()


class TestParts:
    async def test_a_part_that_has_not_begun_is_alive_and_not_ready(self, parts: Parts) -> None:
        assert 200 == (await parts.get("/healthz")).status_code
        ready = await parts.get("/readyz")
        assert 503 == ready.status_code
        intake = {"alive": True, "ready": False, "reason": "it has not begun yet"}
        assert {"ok": False, "parts": {"intake": intake, "relay": intake}} == ready.json()

    async def test_the_process_is_ready_when_every_needed_part_is(self, parts: Parts) -> None:
        parts.intake.is_well(lag=7)
        parts.relay.waits("the broker does not answer")
        ready = await parts.get("/readyz")
        assert 200 == ready.status_code
        assert 7 == ready.json()["parts"]["intake"]["lag"]
        assert "the broker does not answer" == ready.json()["parts"]["relay"]["reason"]

    async def test_one_part_can_be_asked_for(self, parts: Parts) -> None:
        parts.intake.is_well()
        parts.relay.waits("the broker does not answer")
        assert 200 == (await parts.get("/readyz/intake")).status_code
        relay = await parts.get("/readyz/relay")
        assert (503, ["relay"]) == (relay.status_code, list(relay.json()["parts"]))
        assert 404 == (await parts.get("/readyz/other")).status_code

    async def test_a_part_that_died_asks_for_a_restart(self, parts: Parts) -> None:
        parts.intake.is_well()
        parts.intake.died("its thread ended")
        for path in ("/healthz", "/readyz"):
            answer = await parts.get(path)
            assert 503 == answer.status_code
            assert "its thread ended" == answer.json()["parts"]["intake"]["reason"]

    async def test_a_role_without_a_ledger_takes_no_events(self, parts: Parts) -> None:
        assert 404 == (await parts.get("/events")).status_code

    async def test_a_port_that_is_taken_is_told_in_a_sentence(self, parts: Parts) -> None:
        taken = {"http": {"listen": f"127.0.0.1:{parts.server.port}"}}
        with pytest.raises(StartRefusedError, match=r"http\.listen .* cannot be used"):
            await HttpServer(Edge(settings_for(None, **taken)), []).start()


class TestAService:
    def test_that_runs_is_alive_and_ready(self) -> None:
        with InProcessService(settings_for(None, **HTTP)) as service:
            for path in ("/healthz", "/readyz", "/readyz/grpc", "/readyz/store-0"):
                answer = httpx.get(address(service, path))
                assert (200, True) == (answer.status_code, answer.json()["ok"])

    def test_that_cannot_store_anything_is_ready_for_reads_and_says_why(
        self, tmp_path: Path
    ) -> None:
        with InProcessService(settings_for(tmp_path, **HTTP)) as service:
            execute = service.sqlite.connection.execute
            pages = execute("PRAGMA page_count").fetchone()[0]
            execute(f"PRAGMA max_page_count = {pages}")
            events = encoded([note(number) for number in range(2_000)])
            assert 503 == post(service, events, BATCHED).status_code
            assert 200 == httpx.get(address(service, "/healthz")).status_code
            assert 200 == httpx.get(address(service, "/readyz")).status_code
            store = httpx.get(address(service, "/readyz/store-0"))
            assert 503 == store.status_code
            assert "nothing can be stored now" in store.json()["parts"]["store-0"]["reason"]
            execute("PRAGMA max_page_count = 1073741823")

    def test_without_the_setting_nothing_listens(self) -> None:
        with InProcessService(settings_for(None)) as service:
            assert service.service.http is None

    def test_answers_name_the_product_and_not_its_libraries(self) -> None:
        with InProcessService(settings_for(None, **HTTP)) as service:
            for path in ("/healthz", "/nothing"):
                assert "usage-ledger" == httpx.get(address(service, path)).headers["Server"]

    def test_a_port_that_is_taken_is_refused(self, tmp_path: Path) -> None:
        with InProcessService(settings_for(None, **HTTP)) as first:
            assert first.service.http is not None
            at = f"127.0.0.1:{first.service.http.port}"
            with pytest.raises(RuntimeError, match=r"http\.listen .* cannot be used"):
                ServiceProcess(tmp_path / "d", options=("--http-listen", at)).start()
