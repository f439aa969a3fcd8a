"""Deliveries: which are taken, what is taken of them, and why the others are not."""

import gc
import json
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from billing import EventNotice, GatewayMisuseError, Secret, WebhookRefusedError
from billing.webhooks import BODY_BYTES_MAX, verify
from tests.billing.gateway.samples import JULY, event

SECRET = Secret("whsec_OfTheTests")
NOW = JULY + 7200
CREATED = "2026-07-01T00:00:00.999Z"


def thin(**changes: Any) -> dict[str, Any]:
    return {
        "id": "evt_test_9",
        "object": "v2.core.event",
        "type": "v1.billing.meter.error_report_triggered",
        "created": CREATED,
        "livemode": False,
        "related_object": {
            "id": "mtr_1",
            "type": "billing.meter",
            "url": "/v1/billing/meters/mtr_1",
        },
        **changes,
    }


def signature(body: str, *, secret: Secret = SECRET, at: int = NOW) -> str:
    header: str = stripe.WebhookSignature.generate_signature_header(
        body, secret.reveal(), timestamp=at
    )
    return header


def delivered(
    fields: object, *, at: int = NOW, now_seconds: float = NOW, secret: Secret = SECRET
) -> EventNotice:
    body = json.dumps(fields)
    header = signature(body, at=at)
    return verify(body.encode(), header, secret, now_seconds=now_seconds)


class TestSnapshots:
    def test_one_tells_what_happened_to_what(self) -> None:
        assert EventNotice(
            event_id="evt_1", type="invoice.finalized", object_id="in_1", created=JULY
        ) == delivered(event())

    def test_one_of_a_connected_account_names_it(self) -> None:
        assert "acct_1" == delivered(event(account="acct_1")).account

    @pytest.mark.parametrize(
        ("kind", "previous", "changes"),
        [
            ("customer.updated", {"address": None}, True),
            ("customer.updated", {"address": {"city": "Kiel"}, "name": "x"}, True),
            ("customer.updated", {"name": "x"}, False),
            ("customer.updated", None, False),
            ("customer.created", {"address": None}, False),
        ],
    )
    def test_one_tells_whether_the_address_changed(
        self, kind: str, previous: dict[str, Any] | None, changes: bool
    ) -> None:
        content = {"object": {"id": "cus_1"}, "previous_attributes": previous}
        assert changes == delivered(event(type=kind, data=content)).changes_address

    @pytest.mark.parametrize("content", [{"object": {}}, {"object": {"id": None}}, {}])
    def test_one_about_nothing_with_an_id_says_so(self, content: dict[str, Any]) -> None:
        assert None is delivered(event(type="balance.available", data=content)).object_id

    @pytest.mark.parametrize("lacking", ["object", "created", "livemode", "api_version"])
    def test_one_that_says_no_more_than_it_must_is_taken(self, lacking: str) -> None:
        """Such are those of the original's own tests; one without a time is from now."""
        fields = event()
        fields.pop(lacking, None)
        told = EventNotice(
            event_id="evt_1",
            type="invoice.finalized",
            object_id="in_1",
            created=NOW if lacking == "created" else JULY,
        )
        assert told == delivered(fields)

    @pytest.mark.parametrize("odd", [" ", ".", "..", "in_\0", "in 1", "in_\n", "\u00ef", "x" * 256])
    def test_an_id_that_no_request_could_name_is_none(self, odd: str) -> None:
        """A coupon, say, is named by people. Nobody asks for it, and it is kept of no use."""
        fields = event(type="coupon.created", data={"object": {"id": odd}})
        assert None is delivered(fields).object_id

    def test_one_of_an_unknown_type_is_taken(self) -> None:
        assert "a.type.of.the.future" == delivered(event(type="a.type.of.the.future")).type


class TestThinEvents:
    def test_an_error_report_names_its_meter(self) -> None:
        assert EventNotice(
            event_id="evt_test_9",
            type="v1.billing.meter.error_report_triggered",
            object_id="mtr_1",
            created=JULY,
        ) == delivered(thin())

    def test_one_about_no_meter_has_no_object(self) -> None:
        fields = thin(type="v1.billing.meter.no_meter_found", related_object=None)
        assert None is delivered(fields).object_id

    def test_its_context_is_the_account(self) -> None:
        assert "acct_1" == delivered(thin(context="acct_1")).account

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("2026-07-01T00:00:00Z", JULY),
            ("2026-07-01T02:00:00.5+02:00", JULY),
            ("1970-01-01T00:00:00.5Z", 0),
        ],
    )
    def test_its_time_is_in_whole_seconds(self, text: str, seconds: int) -> None:
        assert seconds == delivered(thin(created=text)).created

    @pytest.mark.parametrize(
        "text",
        ["", "soon", "2026-07-01T00:00:00", "2026-07-01", "1969-12-31T23:59:59Z", "0001-01-01T00Z"],
    )
    def test_one_without_a_time_is_refused(self, text: str) -> None:
        with pytest.raises(WebhookRefusedError, match="no event"):
            delivered(thin(created=text))

    def test_the_library_reads_the_same(self) -> None:
        body = json.dumps(thin())
        client = stripe.StripeClient("sk_test_1", http_client=stripe.HTTPClient())
        theirs: Any = client.parse_event_notification(
            body, signature(body), SECRET.reveal(), tolerance=10**10
        )
        ours = delivered(thin())
        assert (theirs.id, theirs.type, theirs.related_object.id) == (
            ours.event_id,
            ours.type,
            ours.object_id,
        )


class TestSignatures:
    BODY = json.dumps(event())

    @pytest.mark.parametrize(
        ("header", "reason"),
        [
            (None, "there is no signature"),
            ("", "there is no signature"),
            ("nonsense", "not that of this body"),
            ("t=,v1=", "not that of this body"),
            ("t=1", "not that of this body"),
            ("v1=00", "not that of this body"),
            (f"t={NOW},v0=00", "not that of this body"),
            (f"t={NOW},v1=00", "not that of this body"),
            (f"t={NOW},v1=é", "cannot be read"),
            (f"t={NOW}," + "v1=00," * 1000, "cannot be read"),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_what_is_none_is_refused(self, header: str | None, reason: str) -> None:
        with pytest.raises(WebhookRefusedError, match=reason):
            verify(self.BODY.encode(), header, SECRET, now_seconds=NOW)

    def test_that_of_another_secret_is_refused(self) -> None:
        header = signature(self.BODY, secret=Secret("whsec_other"))
        with pytest.raises(WebhookRefusedError, match="not that of this body"):
            verify(self.BODY.encode(), header, SECRET, now_seconds=NOW)

    def test_that_of_another_body_is_refused(self) -> None:
        header = signature(self.BODY)
        with pytest.raises(WebhookRefusedError, match="not that of this body"):
            verify(self.BODY.encode() + b" ", header, SECRET, now_seconds=NOW)

    def test_one_of_several_is_enough(self) -> None:
        header = signature(self.BODY).replace(",v1=", ",v1=00,v0=11,v1=")
        assert "evt_1" == verify(self.BODY.encode(), header, SECRET, now_seconds=NOW).event_id

    def test_a_second_time_does_not_make_an_old_body_new(self) -> None:
        header = signature(self.BODY, at=NOW - 86400) + f",t={NOW}"
        with pytest.raises(WebhookRefusedError, match="ago"):
            verify(self.BODY.encode(), header, SECRET, now_seconds=NOW)
        with pytest.raises(WebhookRefusedError, match="not that of this body"):
            verify(self.BODY.encode(), f"t={NOW}," + header, SECRET, now_seconds=NOW)

    @pytest.mark.parametrize("age", [-300, -299.5, 0, 299.5, 300])
    def test_five_minutes_are_allowed_either_way(self, age: float) -> None:
        assert "evt_1" == delivered(event(), now_seconds=NOW + age).event_id

    @pytest.mark.parametrize(
        ("age", "reason"),
        [(301, "301 s ago"), (-301, "301 s in the future"), (-86400, "86400 s in the future")],
    )
    def test_more_is_refused(self, age: int, reason: str) -> None:
        with pytest.raises(WebhookRefusedError, match=reason):
            delivered(event(), now_seconds=NOW + age)

    @pytest.mark.parametrize("empty", ["", "  "])
    def test_without_a_secret_nothing_is_checked(self, empty: str) -> None:
        with pytest.raises(GatewayMisuseError, match="secret"):
            delivered(event(), secret=Secret(empty))


class TestBodies:
    def refused(self, body: bytes, reason: str) -> WebhookRefusedError:
        """Signed by us, whatever it is."""
        header = signature(
            body.decode("utf-8", "surrogateescape").encode(errors="replace").decode()
        )
        with pytest.raises(WebhookRefusedError, match=reason) as caught:
            verify(body, header, SECRET, now_seconds=NOW)
        return caught.value

    def test_one_that_is_not_utf_8(self) -> None:
        self.refused(b"\xff\xfe{}", "not UTF-8")

    @pytest.mark.parametrize("body", [b"", b"hello", b"{", b"[]", b"1", b"null", b"[" * 50_000])
    def test_one_that_is_signed_and_no_json_object(self, body: bytes) -> None:
        self.refused(body, "no JSON object")

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"object": "customer"},
            {"object": ["event"]},
            event(id=None),
            event(id=7),
            event(id="evt_\0"),
            event(id="evt_\n"),
            event(id="evt 1"),
            event(id="evt_\ud800"),
            event(id="x" * 256),
            event(type=""),
            event(type="x\0"),
            event(type="x\x1b[31m"),
            event(type="x\ud800"),
            event(type="x" * 256),
            event(object=None),
            event(created=None),
            event(created=-1),
            event(created=10**11),
            event(created=2**63),
            event(created=10**30),
            event(created="2026"),
            event(data=[]),
            event(data={"object": "in_1"}),
            event(data={"object": {"id": 7}}),
            event(
                data={"object": {"id": "cus_1"}, "previous_attributes": []}, type="customer.updated"
            ),
            thin(related_object="mtr_1"),
            thin(id=None),
            thin(id="evt_\0"),
            thin(type="x\0"),
            thin(created=JULY),
        ],
    )
    def test_one_that_is_no_event(self, fields: dict[str, Any]) -> None:
        self.refused(json.dumps(fields).encode(), "no event")

    def test_the_largest_is_taken_and_one_byte_more_is_not(self) -> None:
        body = json.dumps(event(padding="")).encode()
        body = body.replace(
            b'"padding": ""', b'"padding": "%s"' % (b"x" * (BODY_BYTES_MAX - len(body)))
        )
        assert BODY_BYTES_MAX == len(body) == 65536
        notice = verify(body, signature(body.decode()), SECRET, now_seconds=NOW)
        assert "evt_1" == notice.event_id
        self.refused(body + b" ", "65537 bytes: 65536 at most")

    def test_nothing_of_it_is_kept(self) -> None:
        body = json.dumps(event(data={"object": {"id": "cus_1", "email": "ada@example.org"}}))
        notice = verify(body.encode(), signature(body), SECRET, now_seconds=NOW)
        assert "ada@example.org" not in repr(notice)
        error = self.refused(body.encode() + b"}", "no JSON object")
        assert (None, None) == (error.__cause__, error.__context__)
        assert "ada@example.org" not in repr(error.args)

    def test_a_wrong_signature_leads_back_to_no_body(self) -> None:
        with pytest.raises(WebhookRefusedError) as caught:
            verify(b'{"email": "ada@example.org"}', f"t={NOW},v1=00", SECRET, now_seconds=NOW)
        assert (None, None) == (caught.value.__cause__, caught.value.__context__)
        gc.collect()
        assert [] == [
            one for one in gc.get_objects() if type(one) is stripe.SignatureVerificationError
        ]

    @given(body=st.binary(max_size=200), header=st.text(max_size=100))
    def test_whatever_comes_is_taken_or_refused(self, body: bytes, header: str) -> None:
        with pytest.raises(WebhookRefusedError):
            verify(body, header, SECRET, now_seconds=NOW)

    @given(
        fields=st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["id", "object", "type", "created", "data", "related_object"]),
                    inner | st.sampled_from(["event", "v2.core.event"]),
                )
            ),
        )
    )
    def test_whatever_is_signed_is_read_or_refused(self, fields: object) -> None:
        try:
            notice = delivered(fields)
        except WebhookRefusedError:
            return
        assert notice.event_id
        assert notice.type
