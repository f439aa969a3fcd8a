"""`POST /stripe/invoices/webhook`: what is answered, and what is kept before it is."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from facade import http_webhooks
from facade.http_webhooks import PATH
from ledger.errors import StartRefusedError
from persistence.sqlite import FILE_NAME
from tests.billing.scene import BillingScene
from tests.billing.webhook_scene import WebhookScene, event
from tests.edge.callers import TokensFile
from tests.edge.requests import address
from tests.harness import InProcessService, settings_for
from tests.harness.backends import POSTGRES, SQLITE, choose
from tests.stripe_double import WEBHOOK_SECRET

BODY_BYTES_MAX = 64 * 1024
NO_METER = {
    "id": "evt_thin",
    "object": "v2.core.event",
    "type": "v1.billing.meter.no_meter_found",
    "created": "2026-11-01T00:00:00.000Z",
}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[WebhookScene]:
    with WebhookScene(tmp_path) as scene:
        yield scene


def told(answer: httpx.Response) -> str:
    return str(answer.json().get("error", ""))


class TestAMethod:
    def test_post_is_taken(self, scene: WebhookScene) -> None:
        answer = scene.signed(event("invoice.finalized", "in_1"))
        assert (200, {"received": True}) == (answer.status_code, answer.json())

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
    def test_that_is_another_is_not_allowed(self, scene: WebhookScene, method: str) -> None:
        answer = httpx.request(method, scene.address)
        assert (405, "POST") == (answer.status_code, answer.headers["Allow"])


class TestAContentType:
    @pytest.mark.parametrize(
        "kind",
        ["application/json", "Application/JSON", "application/json; charset=utf-8", "", None],
    )
    def test_of_json_or_none_is_taken(self, scene: WebhookScene, kind: str | None) -> None:
        body = event("invoice.updated", "in_1")
        headers = {"Stripe-Signature": scene.double.webhooks.sign(body)}
        if kind is not None:
            headers["Content-Type"] = kind
        assert 200 == httpx.post(scene.address, content=body, headers=headers).status_code

    @pytest.mark.parametrize(
        "kind",
        ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json", "x"],
    )
    def test_that_is_another_is_refused(self, scene: WebhookScene, kind: str) -> None:
        body = event("invoice.updated", "in_1")
        answer = scene.post(body, scene.double.webhooks.sign(body), **{"Content-Type": kind})
        assert (415, []) == (answer.status_code, scene.kept())
        assert "must be application/json" in told(answer)


class TestASignature:
    @pytest.mark.parametrize("signature", [None, "", "t=1", "v1=1", "x", "t=x,v1=y", "t=1,v1=ä"])
    def test_that_is_none_is_refused(self, scene: WebhookScene, signature: str | None) -> None:
        body = event("invoice.finalized", "in_1")
        headers = {} if signature is None else {"Stripe-Signature": signature.encode("latin-1")}
        answer = httpx.post(scene.address, content=body, headers=headers)  # type: ignore[arg-type]
        assert 400 == answer.status_code
        assert [] == scene.kept()

    def test_under_another_secret_is_refused(self, tmp_path: Path) -> None:
        with WebhookScene(tmp_path, secret="whsec_another") as scene:
            answer = scene.signed(event("invoice.finalized", "in_1"))
            assert (400, []) == (answer.status_code, scene.kept())

    def test_under_any_secret_of_the_file_is_taken(self, tmp_path: Path) -> None:
        """Each destination at Stripe has its own; a new one overlaps with the old one."""
        secrets = f"whsec_another\n\n{WEBHOOK_SECRET}\n"
        with WebhookScene(tmp_path, secret=secrets) as scene:
            assert 200 == scene.signed(event("invoice.updated", "in_1")).status_code
            scene.double.webhooks._secret = "whsec_of_nobody"
            assert 400 == scene.signed(event("invoice.updated", "in_2")).status_code

    def test_of_another_body_is_refused(self, scene: WebhookScene) -> None:
        signature = scene.double.webhooks.sign(event("invoice.finalized", "in_1"))
        answer = scene.post(event("invoice.finalized", "in_2"), signature)
        assert (400, []) == (answer.status_code, scene.kept())

    @pytest.mark.parametrize(
        ("seconds", "status"), [(-301, 400), (-299, 200), (299, 200), (301, 400)]
    )
    def test_counts_for_five_minutes_in_both_directions(
        self, scene: WebhookScene, seconds: int, status: int
    ) -> None:
        body = event("invoice.finalized", "in_1")
        secret = scene.double.webhooks._secret
        at = scene.double.clock.now + seconds
        header = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, at)
        assert status == scene.post(body, header).status_code


class TestABody:
    def test_of_64_kib_is_taken(self, scene: WebhookScene) -> None:
        body = event("customer.created", "cus_1")
        assert 200 == scene.signed(body + b" " * (BODY_BYTES_MAX - len(body))).status_code

    @pytest.mark.parametrize("size", [BODY_BYTES_MAX + 1, 3 << 20])
    def test_that_is_longer_is_refused(self, scene: WebhookScene, size: int) -> None:
        body = event("customer.created", "cus_1")
        answer = scene.signed(body + b" " * (size - len(body)))
        assert (400, []) == (answer.status_code, scene.kept())

    def test_that_is_longer_when_unpacked_is_refused(self, scene: WebhookScene) -> None:
        body = event("customer.created", "cus_1") + b" " * (8 << 20)
        signature = scene.double.webhooks.sign(body)
        packed = {"Content-Encoding": "gzip"}
        answer = scene.post(gzip.compress(body), signature, **packed)
        assert (400, []) == (answer.status_code, scene.kept())

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b'"evt_1"',
            b"{}",
            b'{"object": "charge", "id": "ch_1"}',
            b'{"object": "event", "id": "evt_1"}',
            b'{"object": "event", "id": 7, "type": "x", "created": 1, "data": {}}',
            b'{"type": "invoice.finalized", "data": {"object": {"id": "in_1"}}}',
            b"[" * 10_000,
        ],
    )
    def test_that_is_no_event_is_refused(self, scene: WebhookScene, body: bytes) -> None:
        answer = scene.signed(body)
        assert (400, []) == (answer.status_code, scene.kept())

    def test_that_is_not_utf_8_is_refused(self, scene: WebhookScene) -> None:
        answer = scene.post(b"\xff\xfe", "t=1,v1=00")
        assert (400, "the body is not UTF-8") == (answer.status_code, told(answer))

    def test_that_does_not_come_is_refused(
        self, scene: WebhookScene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Anybody may open a connection; nobody may keep it."""
        monkeypatch.setattr(http_webhooks, "BODY_SECONDS_MAX", 0.2)
        port = httpx.URL(scene.address).port
        with socket.create_connection(("127.0.0.1", port or 0), timeout=10) as slow:
            head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
            slow.sendall(head.encode())
            assert slow.recv(4_096).startswith(b"HTTP/1.1 400 ")


class TestAnEvent:
    @pytest.mark.parametrize("kind", ["invoice.updated", "customer.created", "invoice.sent", "x"])
    def test_of_a_kind_nobody_handles_is_taken_and_ignored(
        self, scene: WebhookScene, kind: str
    ) -> None:
        """D13: a 400, as the original answers, has Stripe send it for days and switch us off."""
        assert 200 == scene.signed(event(kind, None)).status_code
        (kept,) = scene.kept()
        assert (kind, "ignored", 0) == (kept.type, kept.state, kept.attempts)

    @pytest.mark.parametrize(
        "kind",
        ["invoice.finalized", "customer.subscription.deleted", "charge.dispute.created"],
    )
    @pytest.mark.parametrize("about", [{}, {"id": None}, {"id": ""}, {"id": 7}])
    def test_that_names_no_object_is_refused(
        self, scene: WebhookScene, kind: str, about: dict[str, Any]
    ) -> None:
        answer = scene.signed(event(kind, None, data={"object": about}))
        assert (400, []) == (answer.status_code, scene.kept())

    @pytest.mark.parametrize("lacking", ["object", "created"])
    def test_that_says_no_more_than_it_must_is_taken(
        self, scene: WebhookScene, lacking: str
    ) -> None:
        """So are those of the original's tests; one without a time is from now."""
        fields = json.loads(event("invoice.updated", "in_1"))
        del fields[lacking]
        assert 200 == scene.signed(json.dumps(fields).encode()).status_code
        (kept,) = scene.kept()
        now = scene.double.clock.now if lacking == "created" else fields["created"]
        assert now == kept.created.seconds

    @pytest.mark.parametrize("created", [-1, 10**11, 10**12, 2**63, 10**30, 1.5, None])
    def test_of_no_time_on_earth_is_refused_and_hides_no_other(
        self, scene: WebhookScene, created: Any
    ) -> None:
        assert 200 == scene.signed(event("invoice.updated", "in_1")).status_code
        body = event("customer.created", "cus_1", created=created)
        assert 400 == scene.signed(body).status_code
        assert ["invoice.updated"] == [one.type for one in scene.kept()]

    def test_about_no_meter_names_none_and_is_taken(self, scene: WebhookScene) -> None:
        assert 200 == scene.signed(json.dumps(NO_METER).encode()).status_code
        scene.until_done()
        assert ["done"] == [one.state for one in scene.kept()]

    def test_of_an_address_is_told_from_other_changes(self, scene: WebhookScene) -> None:
        customer = scene.customer()
        for number, changed in enumerate(("email", "address")):
            data = {"object": {"id": customer.id}, "previous_attributes": {changed: "x"}}
            body = event("customer.updated", None, data=data, id=f"evt_{number}")
            assert 200 == scene.signed(body).status_code
        scene.until_done()
        assert ["done", "ignored"] == sorted(one.state for one in scene.kept())


NO_IDS = [".", "..", " ", "x\0", "\0", "x\n", "x\x1b[31m", "x y", "x" * 256, "x" * 60_000, "\ud800"]


@pytest.mark.parametrize("backend", [SQLITE, pytest.param(POSTGRES, marks=pytest.mark.postgres)])
class TestAnIdThatIsNone:
    """A signature is no promise that what is signed can be stored and asked for."""

    @pytest.fixture
    def scene(
        self, tmp_path: Path, backend: str, request: pytest.FixtureRequest
    ) -> Iterator[WebhookScene]:
        server = request.getfixturevalue("postgres_server") if backend == POSTGRES else None
        with choose(backend, server) as chosen:
            with WebhookScene(tmp_path) as scene:
                yield scene
            chosen.close()

    def test_of_an_object_is_refused_where_something_is_to_be_done(
        self, scene: WebhookScene
    ) -> None:
        """Otherwise it would be tried for days, and Stripe has none of this name."""
        for odd in NO_IDS:
            answer = scene.signed(event("invoice.finalized", odd))
            assert (400, "the event names no object") == (answer.status_code, told(answer))
        assert [] == scene.kept()

    def test_of_an_object_is_left_out_where_nobody_cares(self, scene: WebhookScene) -> None:
        """People may name what they make at Stripe, such as a coupon, as they like."""
        for odd in NO_IDS:
            assert 200 == scene.signed(event("coupon.created", odd)).status_code
        assert [("ignored", "")] == [(one.state, one.object_id) for one in scene.kept()]

    def test_of_an_event_is_refused(self, scene: WebhookScene) -> None:
        for odd in NO_IDS:
            assert 400 == scene.signed(event("invoice.updated", "in_1", id=odd)).status_code
        assert [] == scene.kept()

    def test_of_a_type_is_refused(self, scene: WebhookScene) -> None:
        for odd in ("x\0", "x\n", "x\x1b[31m", "x" * 256, "\ud800"):
            assert 400 == scene.signed(event(odd, "in_1", id="evt_1")).status_code
        assert [] == scene.kept()


class TestAService:
    def test_without_credentials_is_unavailable(self) -> None:
        """D14: the original answers 200 and forgets it."""
        with InProcessService(settings_for(None, http={"listen": "127.0.0.1:0"})) as service:
            answer = httpx.post(address(service, PATH), content=event("invoice.finalized", "in_1"))
            assert (503, "1") == (answer.status_code, answer.headers["Retry-After"])

    def test_without_a_secret_has_not_got_it(self) -> None:
        with BillingScene(http={"listen": "127.0.0.1:0"}) as scene:
            body = event("invoice.finalized", "in_1")
            answer = httpx.post(
                address(scene.service, PATH),
                content=body,
                headers={"Stripe-Signature": scene.double.webhooks.sign(body)},
            )
            assert (501, "stripe.webhook_secret_file is not set") == (
                answer.status_code,
                told(answer),
            )

    def test_that_wants_tokens_wants_none_of_stripe(self, tmp_path: Path) -> None:
        """The signature is the credential."""
        tokens = TokensFile(tmp_path, {"all": ["admin"]})
        with WebhookScene(tmp_path, **tokens.settings()) as scene:
            assert 200 == scene.signed(event("customer.created", "cus_1")).status_code
            unsigned = scene.post(event("customer.created", "cus_1"), None)
            assert 400 == unsigned.status_code
            assert 401 == httpx.get(address(scene.service, "/metrics")).status_code

    def test_that_cannot_store_it_does_not_take_it(self, tmp_path: Path) -> None:
        """C7: it is stored, or Stripe sends it again."""
        with WebhookScene(tmp_path, data_dir=tmp_path / "data") as scene:
            lock = sqlite3.connect(tmp_path / "data" / FILE_NAME)
            with contextlib.closing(lock):
                lock.execute("BEGIN IMMEDIATE")
                answer = scene.signed(event("customer.created", "cus_1"))
                assert 503 == answer.status_code
                lock.rollback()
            assert [] == scene.kept()
            assert 200 == scene.signed(event("customer.created", "cus_1")).status_code


class TestTheSecret:
    @pytest.mark.parametrize("content", [b"", b" \n\n", b"whsec_\xff"])
    def test_that_cannot_be_read_refuses_the_start_without_showing_it(
        self, tmp_path: Path, content: bytes
    ) -> None:
        scene = WebhookScene(tmp_path)
        (tmp_path / "webhook.secret").write_bytes(content)
        with pytest.raises(StartRefusedError, match=r"stripe\.webhook_secret_file") as refused:
            scene.__enter__()
        assert "whsec" not in str(refused.value)


class TestWhatIsKept:
    def test_is_event_kind_object_and_time_and_never_the_body(self, tmp_path: Path) -> None:
        """C7."""
        data_dir = tmp_path / "data"
        with WebhookScene(tmp_path, data_dir=data_dir) as scene:
            customer = scene.customer(name="Nobody Else", email="nobody@else.example")
            scene.deliver(None, "customer.created")
            data = {
                "object": {"id": "in_1", "account_name": "Somebody Particular"},
                "previous_attributes": {"address": {"line1": "Particular Street"}},
            }
            scene.signed(event("customer.updated", None, data=data, id="evt_1"))
        with contextlib.closing(sqlite3.connect(data_dir / FILE_NAME)) as ledger:
            rows = ledger.execute(
                "SELECT event_id, type, object_id, created, detail FROM webhooks ORDER BY event_id"
            ).fetchall()
        (created,) = [row for row in rows if row[1] == "customer.created"]
        assert (customer.id, scene.double.clock.now - 0) == (created[2], created[3])
        assert ("evt_1", "customer.updated", "in_1", 1_793_500_000, "address") in rows
        for file in data_dir.rglob("*"):
            if file.is_file():
                assert b"Particular" not in file.read_bytes(), file

    def test_is_kept_once_however_often_it_comes(self, scene: WebhookScene) -> None:
        """C7."""
        for _ in range(3):
            assert 200 == scene.signed(event("invoice.updated", "in_1")).status_code
        assert 1 == len(scene.kept())
