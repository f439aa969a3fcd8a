"""POST /events: every mode, what is refused, and that nothing counts twice."""

import asyncio
import gzip
import json
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from facade.http import BODY_BYTES_MAX
from ledger.arrivals import EVENT_BYTES_MAX
from tests.edge.callers import TokensFile
from tests.edge.requests import (
    BATCHED,
    NDJSON,
    PAYER,
    STRUCTURED,
    address,
    counts,
    encoded,
    note,
    post,
)
from tests.harness import Calls, InProcessService, ServiceProcess, settings_for
from usage.events.v1 import events_pb2
from usage_ledger.v1 import queries_pb2


@pytest.fixture
def service() -> Iterator[InProcessService]:
    settings = settings_for(None, http={"listen": "127.0.0.1:0"})
    with InProcessService(settings) as service:
        yield service
        assert [] == service.calls.breaches()


def original(service: InProcessService, letter: int) -> bytes:
    request = queries_pb2.GetDeadLetterRequest(id=letter)
    return service.calls.queries.GetDeadLetter(request).original


def deliveries(service: InProcessService) -> dict[str, tuple[int, int, int, int]]:
    status = service.calls.queries.GetStatus(queries_pb2.GetStatusRequest())
    return {d.delivery: (d.received, d.recorded, d.repeated, d.rejected) for d in status.deliveries}


class TestModes:
    def test_one_structured_event(self, service: InProcessService) -> None:
        response = post(service, encoded(note(1, 5)))
        assert (1, 1, 0, 0) == counts(response)
        assert [] == response.json()["rejects"]
        # Durable and visible: the answer names where the log stood, and the balance has it.
        head = service.calls.queries.GetStatus(queries_pb2.GetStatusRequest()).head
        assert {"shard": 0, "number": head.number} == response.json()["position"]
        assert -500 == service.calls.balance_cents(PAYER)

    def test_a_structured_event_may_be_written_over_several_lines(
        self, service: InProcessService
    ) -> None:
        body = json.dumps(note(1), indent=2).encode()
        assert (1, 1, 0, 0) == counts(post(service, body, f"{STRUCTURED}; charset=UTF-8"))

    def test_a_batch(self, service: InProcessService) -> None:
        body = encoded([note(number) for number in range(500)])
        assert (500, 500, 0, 0) == counts(post(service, body, BATCHED))
        assert -50_000 == service.calls.balance_cents(PAYER)

    def test_an_empty_batch_is_none(self, service: InProcessService) -> None:
        assert (0, 0, 0, 0) == counts(post(service, b" [ ] ", BATCHED))

    def test_lines(self, service: InProcessService) -> None:
        lines = [encoded(note(1)), b"", encoded(note(2)) + b"\r", b"nonsense"]
        response = post(service, b"\n".join(lines), NDJSON)
        assert (3, 2, 0, 1) == counts(response)
        (reject,) = response.json()["rejects"]
        assert 3 == reject["index"]

    def test_binary_mode_in_json(self, service: InProcessService) -> None:
        event = note(1, 3)
        data = encoded(event.pop("data"))
        headers = {
            f"ce_{name}": value for name, value in event.items() if name != "datacontenttype"
        }
        assert (1, 1, 0, 0) == counts(post(service, data, "application/json", **headers))
        # The same event in another mode is a repeat: one id, one content.
        assert (1, 0, 1, 0) == counts(post(service, encoded(note(1, 3))))
        assert -300 == service.calls.balance_cents(PAYER)

    def test_binary_mode_in_protobuf(self, service: InProcessService) -> None:
        event = note(1, 3)
        del event["data"], event["datacontenttype"]
        data = events_pb2.CreditNoteIssued(attribution_id=PAYER, credits=3).SerializeToString()
        headers = {f"ce_{name}": value for name, value in event.items()}
        assert (1, 1, 0, 0) == counts(post(service, data, "application/protobuf", **headers))
        assert (1, 0, 1, 0) == counts(post(service, encoded(note(1, 3))))

    def test_attributes_in_headers_are_percent_decoded(self, service: InProcessService) -> None:
        event = note(1, source="/Größe 1%")
        data = encoded(event.pop("data"))
        headers = {
            f"ce_{name}": value for name, value in event.items() if name != "datacontenttype"
        }
        headers["ce_source"] = "/Gr%C3%B6%C3%9Fe%201%25"
        assert (1, 1, 0, 0) == counts(post(service, data, "application/json", **headers))
        assert (1, 0, 1, 0) == counts(post(service, encoded(note(1, source="/Größe 1%"))))

    def test_a_body_that_came_packed_is_unpacked(self, service: InProcessService) -> None:
        body = gzip.compress(encoded([note(1), note(2)]))
        response = post(service, body, BATCHED, content_encoding="gzip")
        assert (2, 2, 0, 0) == counts(response)


class TestRejects:
    def test_each_has_its_index_a_reason_and_a_dead_letter_with_its_own_bytes(
        self, service: InProcessService
    ) -> None:
        bad = b'{"specversion" : "1.0",\n "unicode": "\\u00e9 \xc3\xa9",  "id": 5 }'
        body = b"[ " + encoded(note(1)) + b" , " + bad + b",7 , " + encoded(note(2)) + b"]"
        response = post(service, body, BATCHED)
        assert (4, 2, 0, 2) == counts(response)
        first, second = response.json()["rejects"]
        assert (1, 2) == (first["index"], second["index"])
        assert "not a CloudEvent" in first["reason"]
        assert bad == original(service, first["deadLetterId"])
        assert b"7" == original(service, second["deadLetterId"])

    def test_a_body_that_is_one_damaged_event_is_a_dead_letter(
        self, service: InProcessService
    ) -> None:
        body = b"\x00\xff no event at all"
        response = post(service, body)
        assert (1, 0, 0, 1) == counts(response)
        (reject,) = response.json()["rejects"]
        assert body == original(service, reject["deadLetterId"])

    def test_the_same_bytes_rejected_again_repeat(self, service: InProcessService) -> None:
        assert (1, 0, 0, 1) == counts(post(service, b"nonsense"))
        response = post(service, b"nonsense")
        assert (1, 0, 1, 0) == counts(response)
        assert [] == response.json()["rejects"]

    def test_of_an_event_that_is_too_long_the_beginning_is_kept(
        self, service: InProcessService
    ) -> None:
        long = encoded(note(1, subject="x" * EVENT_BYTES_MAX))
        response = post(service, b"[" + long + b"," + encoded(note(2)) + b"]", BATCHED)
        assert (2, 1, 0, 1) == counts(response)
        (reject,) = response.json()["rejects"]
        assert f"event of {len(long)} bytes" in reject["reason"]
        assert long[:EVENT_BYTES_MAX] == original(service, reject["deadLetterId"])

    @pytest.mark.parametrize(
        ("body", "content_type", "reason"),
        [
            (b"{", "application/json", "data"),
            (b'{"attributionId":"x"},"id":"other"', "application/json", "data"),
            (b"\xff\xff", "application/protobuf", "CreditNoteIssued"),
            (b"", "application/json", "empty"),
            (b"{}", "text/plain", "content-type 'text/plain'"),
        ],
    )
    def test_in_binary_mode_the_data_may_be_what_is_wrong(
        self, service: InProcessService, body: bytes, content_type: str, reason: str
    ) -> None:
        headers = {
            f"ce_{name}": value
            for name, value in note(1).items()
            if name not in {"data", "datacontenttype"}
        }
        response = post(service, body, content_type, **headers)
        assert (1, 0, 0, 1) == counts(response)
        assert reason in response.json()["rejects"][0]["reason"]

    def test_in_binary_mode_a_header_may_be_missing(self, service: InProcessService) -> None:
        response = post(service, b"{}", "application/json", ce_specversion="1.0", ce_id="x")
        assert (1, 0, 0, 1) == counts(response)
        assert "the header ce-type is missing" in response.json()["rejects"][0]["reason"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "content_type", "status", "told"),
        [
            (b"{}", BATCHED, 400, "not a JSON array of events"),
            (b"[{},", BATCHED, 400, "not a JSON array of events"),
            (b"", BATCHED, 400, "not a JSON array of events"),
            (b"[" * 100_000, BATCHED, 400, "not a JSON array of events"),
            (b"[\xff]", BATCHED, 400, "not a JSON array of events"),
            (b"", STRUCTURED, 400, "the body is empty"),
            (b" \n", STRUCTURED, 400, "the body is empty"),
            (b"{}", "", 415, "content type 'missing'"),
            (b"{}", "text/plain", 415, "content type 'text/plain'"),
            (b"{}", "application/json", 415, "ce-specversion"),
            (b"{}", "application/cloudevents+xml", 415, "content type"),
            (b"{}", "application/x-usage-events+protobuf", 415, "content type"),
            (b"{}", f"{STRUCTURED}; charset=latin-1", 415, "must be utf-8"),
            (b"[" + b"5," * 10_000 + b"5]", BATCHED, 413, "10,001 events: at most 10,000"),
            (b"5\n" * 10_001, NDJSON, 413, "more than 10000 lines"),
            (b"x" * (BODY_BYTES_MAX + 1), STRUCTURED, 413, "more than 3,145,728 bytes"),
        ],
    )
    def test_a_body_that_is_not_understood_is_refused_whole(
        self, service: InProcessService, body: bytes, content_type: str, status: int, told: str
    ) -> None:
        response = post(service, body, content_type)
        assert status == response.status_code
        assert told in response.json()["error"]
        assert {} == deliveries(service)

    def test_a_small_body_that_unpacks_to_a_large_one_is_refused(
        self, service: InProcessService
    ) -> None:
        bomb = gzip.compress(b" " * (64 << 20))
        response = post(service, bomb, BATCHED, content_encoding="gzip")
        assert 413 == response.status_code

    def test_a_body_that_is_not_packed_as_it_says_is_refused(
        self, service: InProcessService
    ) -> None:
        response = post(service, b"[]", BATCHED, content_encoding="gzip")
        assert 400 == response.status_code
        assert response.json()["error"]

    @pytest.mark.parametrize(
        "headers",
        [
            [("ce-specversion", "1.0"), ("ce-data", "{}")],
            [("ce-specversion", "1.0"), ("ce-data_base64", "e30=")],
            [("ce-specversion", "1.0"), ("ce-datacontenttype", "application/json")],
            [("ce-specversion", "1.0"), ("ce-id", "a"), ("ce-id", "b")],
        ],
    )
    def test_headers_that_say_two_things_are_refused(
        self, service: InProcessService, headers: list[tuple[str, str]]
    ) -> None:
        response = httpx.post(
            address(service),
            content=b"{}",
            headers=[("content-type", "application/json"), *headers],
        )
        assert 400 == response.status_code
        assert "header ce-" in response.json()["error"]

    def test_another_method_or_path_is_told_what_there_is(self, service: InProcessService) -> None:
        wrong = httpx.get(address(service))
        assert (405, "POST") == (wrong.status_code, wrong.headers["Allow"])
        assert "only POST" in wrong.json()["error"]
        nowhere = httpx.post(address(service, "/event"), content=b"{}")
        assert 404 == nowhere.status_code
        assert "POST to /events" in nowhere.json()["error"]

    def test_a_client_that_goes_away_in_the_middle_leaves_nothing(
        self, service: InProcessService, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert service.service.http is not None
        with socket.create_connection(("127.0.0.1", service.service.http.port)) as connection:
            connection.sendall(
                b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
                b"Content-Length: 1000\r\n\r\n" + encoded(note(1)) + b"\n"
            )
        assert (1, 1, 0, 0) == counts(post(service, encoded(note(2))))
        assert 1 == sum(received for received, *_ in deliveries(service).values())
        assert "failed" not in caplog.text

    def test_while_nothing_can_be_stored_it_is_told_to_come_again(
        self, service: InProcessService
    ) -> None:
        service.ledger.shards[0].writer.stop()
        response = post(service, encoded(note(1)))
        assert 503 == response.status_code
        assert "1" == response.headers["Retry-After"]
        assert response.json()["error"]


class TestDeliveries:
    def test_a_connection_has_a_name_and_its_own_counts(self, service: InProcessService) -> None:
        with httpx.Client() as first, httpx.Client() as second:
            for client, numbers in ((first, (1, 2)), (second, (1,))):
                for number in numbers:
                    client.post(
                        address(service),
                        content=encoded(note(number)),
                        headers={"content-type": STRUCTURED},
                    ).raise_for_status()
        counted = deliveries(service)
        assert all(name.startswith("http:") and uuid.UUID(name[5:]) for name in counted)
        assert [(1, 0, 1, 0), (2, 2, 0, 0)] == sorted(counted.values())

    def test_a_sender_may_name_it(self, service: InProcessService) -> None:
        post(service, encoded(note(1)), usage_ledger_delivery="nightly").raise_for_status()
        assert {"nightly": (1, 1, 0, 0)} == deliveries(service)

    @pytest.mark.parametrize("name", ["kafka:c:usage.events:t:0", "x" * 256])
    def test_but_not_after_a_partition_or_without_end(
        self, service: InProcessService, name: str
    ) -> None:
        response = post(service, encoded(note(1)), usage_ledger_delivery=name)
        assert 400 == response.status_code
        assert {} == deliveries(service)

    def test_many_senders_at_once_count_each_event_once(self, service: InProcessService) -> None:
        async def send_all() -> list[httpx.Response]:
            async with httpx.AsyncClient(timeout=60) as client:
                return await asyncio.gather(
                    *[
                        client.post(
                            address(service),
                            content=encoded([note(number) for number in range(first, first + 20)]),
                            headers={"content-type": BATCHED},
                        )
                        for first in range(0, 400, 10)
                    ]
                )

        responses = asyncio.run(send_all())
        assert [200] * 40 == [response.status_code for response in responses]
        totals = [sum(column) for column in zip(*map(counts, responses), strict=True)]
        assert [800, 410, 390, 0] == totals
        assert -41_000 == service.calls.balance_cents(PAYER)


class TestCallers:
    def test_the_role_publish_is_needed_and_its_name_is_the_author(
        self, guarded: InProcessService, tokens: TokensFile
    ) -> None:
        body = encoded(note(1))
        unknown = post(guarded, body)
        assert (401, "Bearer") == (unknown.status_code, unknown.headers["WWW-Authenticate"])
        assert "send `authorization: Bearer TOKEN`" in unknown.json()["error"]
        reader = post(guarded, body, authorization=f"Bearer {tokens.tokens['read']}")
        assert 403 == reader.status_code
        assert "POST /events needs the role publish" in reader.json()["error"]
        publisher = post(guarded, body, authorization=f"Bearer {tokens.tokens['publish']}")
        assert (1, 1, 0, 0) == counts(publisher)
        (answer,) = guarded.calls.queries.TailLog(
            queries_pb2.TailLogRequest(last=1),
            metadata=(("authorization", f"Bearer {tokens.tokens['audit']}"),),
        )
        assert "publish" == answer.events[-1].author

    def test_without_tokens_the_author_is_the_service_s_own_user(
        self, service: InProcessService
    ) -> None:
        post(service, encoded(note(1))).raise_for_status()
        (answer,) = service.calls.queries.TailLog(queries_pb2.TailLogRequest(last=1))
        assert service.ledger.operator == answer.events[-1].author


class TestKilled:
    # The first transaction is that of the price list.
    @pytest.mark.parametrize("failpoint", ["before-commit:2", "after-commit:2"])
    def test_what_has_no_receipt_is_sent_again_and_counts_once(
        self, tmp_path: Path, failpoint: str
    ) -> None:
        config = tmp_path / "usage-ledger.toml"
        config.write_text("[serve]\nparts = []\n")  # no part commits but for what is posted
        options = ("--no-jobs", "--http-listen", "127.0.0.1:0", "--config", str(config))
        service = ServiceProcess(tmp_path / "d", options=options, failpoint=failpoint).start()
        body = encoded([note(number) for number in range(100)])

        def send(service: ServiceProcess) -> httpx.Response:
            port = service.log.rsplit("answers HTTP at 127.0.0.1:", 1)[1].split()[0]
            return httpx.post(
                f"http://127.0.0.1:{port}/events",
                content=body,
                headers={"content-type": BATCHED},
                timeout=60,
            )

        with pytest.raises(httpx.TransportError):
            send(service)
        service.wait_dead()
        with ServiceProcess(tmp_path / "d", options=options) as again:
            received, recorded, repeated, rejected = counts(send(again))
            assert (100, 100, 0) == (received, recorded + repeated, rejected)
            calls: Calls = again.calls
            assert -10_000 == calls.balance_cents(PAYER)
            assert [] == calls.breaches()
