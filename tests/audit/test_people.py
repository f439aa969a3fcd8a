"""Whose personal data an event has, and whether bytes name a user."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import (
    CreditNoteIssued,
    CreditNoteVoided,
    EntryImported,
    LedgerEvent,
    Recorded,
    StripeCustomerRequested,
    UserErasureRequested,
    WorkspaceInstanceEnded,
    WorkspaceInstanceImported,
    WorkspaceInstanceStarted,
    WorkspaceInstanceStopped,
    WorkspaceInstanceVoided,
    type_registry,
)
from ledger.audit.people import COMMITTING, Needles, committed, user_of
from ledger.identifiers import parse_uuid
from tests.stored.samples import FULL, _struct

ADA, BOB = bytes(range(16)), bytes(range(16, 32))
ADA_ID = "00010203-0405-0607-0809-0a0b0c0d0e0f"


def event(event_class: type[LedgerEvent], **fields: Any) -> Any:
    return msgspec.structs.replace(_struct(event_class, FULL), **fields)


def stream(name: str, *events: LedgerEvent) -> list[Recorded]:
    return [Recorded(name, n, each, n) for n, each in enumerate(events, start=1)]


_NAMED = json.dumps({"userName": "Zoë Lovelace", "at": "08:00"}, ensure_ascii=False).encode()
_MIME = base64.encodebytes(b"x" * 60 + _NAMED).decode()
SPELLED: dict[str, bytes] = {
    "a JSON text within JSON": json.dumps({"log": json.dumps({"name": "Zoë Lovelace"})}).encode(),
    "that within JSON again": json.dumps(
        [json.dumps({"log": json.dumps({"name": "Zoë Lovelace"})})]
    ).encode(),
    "a form": b"name=Zo%C3%AB+Lovelace&id=1",
    "a URL within a URL": quote(quote("?name=Zoë Lovelace")).encode(),
    "Base64 alone": base64.b64encode("Zoë Lovelace".encode()),
    "Base64 for URLs": base64.urlsafe_b64encode(b"\xff\xfe" * 9 + _NAMED),
    "Base64 in a path": b"https://x/" + base64.b64encode(_NAMED),
    "Base64 in lines": _MIME.encode(),
    "Base64 in lines within JSON": json.dumps({"mail": _MIME}).encode(),
    "Base64 of Base64": base64.b64encode(base64.b64encode(_NAMED)),
    "the ID in Base64 of JSON": json.dumps(
        {"data_base64": base64.urlsafe_b64encode(b"\xff" + ADA_ID.encode()).decode()}
    ).encode(),
    "a part of a longer name": b'{"userName":"Zo\\u00eb Lovelace-Byron"}',
    "an address within another": "anzoë lovelace@example.org".encode(),
}


class TestCommitted:
    @pytest.mark.parametrize(
        "event_class",
        [WorkspaceInstanceStarted, WorkspaceInstanceImported, CreditNoteIssued, EntryImported],
    )
    def test_an_event_that_names_a_user_is_that_users(self, event_class: type[LedgerEvent]) -> None:
        assert [(1, ADA)] == list(committed(stream("a", event(event_class, user=ADA))))

    @pytest.mark.parametrize(
        "creator", [ADA_ID, ADA_ID.upper(), ADA_ID.replace("-", ""), "{" + ADA_ID + "}"]
    )
    def test_a_customers_request_is_of_who_made_it(self, creator: str) -> None:
        requested = event(StripeCustomerRequested, creator=creator)
        assert [(1, ADA)] == list(committed(stream("billing-account:x", requested)))

    def test_a_reason_is_of_whom_the_stream_has_named_last(self) -> None:
        """An ID that was freed may start again, for somebody else."""
        events = stream(
            "instance:x",
            event(WorkspaceInstanceStopped),
            event(WorkspaceInstanceStarted, user=ADA),
            event(WorkspaceInstanceEnded),
            event(WorkspaceInstanceStarted, user=BOB),
            event(WorkspaceInstanceVoided),
            event(WorkspaceInstanceStarted, user=b""),
            event(WorkspaceInstanceEnded),
        )
        assert [(2, ADA), (3, ADA), (4, BOB), (5, BOB), (6, b""), (7, b"")] == list(
            committed(events)
        )

    def test_the_reason_of_a_voided_note_is_of_who_issued_it(self) -> None:
        events = stream("note:x", event(CreditNoteIssued, user=ADA), event(CreditNoteVoided))
        assert [(1, ADA), (2, ADA)] == list(committed(events))

    def test_an_event_without_personal_fields_has_none(self) -> None:
        assert [] == list(committed(stream("a", event(CreditNoteIssued, commitment=b""))))

    def test_the_reason_of_an_erasure_is_nobodys(self) -> None:
        asked = event(UserErasureRequested, user=ADA)
        assert [] == list(committed(stream(f"erasure:user:{ADA_ID}", asked)))

    @pytest.mark.parametrize("topic", sorted(COMMITTING))
    def test_every_event_with_personal_fields_names_somebody_or_follows_who_is_named(
        self, topic: str
    ) -> None:
        """A new class has to be thought of: here, and in `user_of`."""
        follows = {"instance-ended", "instance-voided", "credit-note-voided"}
        sample = _struct(type_registry[topic], FULL)
        assert (user_of(sample) is None) == (topic in follows)


SPELLINGS = (
    lambda text: text,
    str.upper,
    lambda text: text.replace("-", ""),
    lambda text: "{" + text.upper() + "}",
)
PLACES = (
    lambda text: text.encode(),
    lambda text: json.dumps({"userId": text}).encode(),
    lambda text: json.dumps({"url": quote(text, safe="").replace("-", "%2D")}).encode(),
    lambda text: "".join(f"\\u{ord(sign):04x}" for sign in text).encode(),
    lambda text: b"\x0a\x30" + text.encode() + b"\xff\xfe",
    lambda text: b'{"data_base64":"' + base64.b64encode(b"\x3a\x24" + text.encode()) + b'"}',
    lambda text: b'"' + base64.b64encode(text.encode()).replace(b"/", b"\\/").rstrip(b"=") + b'"',
    lambda text: msgspec.msgpack.encode((None, (("ce_x", text.encode()),), text.encode())),
)


class TestNeedles:
    @given(
        st.uuids(), st.sampled_from(SPELLINGS), st.sampled_from(PLACES), st.binary(), st.binary()
    )
    def test_find_an_id_in_any_spelling_that_is_taken_anywhere(
        self, user: Any, spell: Any, place: Any, before: bytes, after: bytes
    ) -> None:
        spelt = spell(str(user))
        assert str(user) == parse_uuid(spelt)
        # What comes before may end in the middle of something that Base64 goes on with.
        original = before + b'"' + place(spelt) + b'"' + after
        assert Needles(user.bytes, ()).are_in_letter(original)

    @given(st.binary())
    def test_find_nothing_where_nothing_is(self, original: bytes) -> None:
        assert not Needles(ADA, ["Ada Lovelace"]).are_in_letter(original)

    @pytest.mark.parametrize(
        "original",
        [
            b"ada LOVELACE",
            b'{"userName":"Ada Lovelace"}',
            b'{"userName":"\\u0041da Lovelace"}',
            b"https://x/?name=Ada%20Lovelace",
            base64.b64encode(b"\x0a\x20 of Ada Lovelace, so"),
        ],
    )
    def test_find_a_text_without_regard_to_case(self, original: bytes) -> None:
        needles = Needles(BOB, ["Ada Lovelace"])
        assert needles.are_in_letter(original)
        assert not Needles(BOB, ["Ada Lovelace!"]).are_in_letter(original)

    def test_find_a_text_however_its_letters_are_composed(self) -> None:
        assert Needles(BOB, ["Zoe\u0308"]).are_in_letter("Zo\u00eb".encode())
        assert Needles(BOB, ["Stra\u00dfe"]).are_in_fields(msgspec.msgpack.encode(("STRASSE",)))
        assert Needles(BOB, ["\U0001f600 Ada"]).are_in_letter(b'"\\ud83d\\ude00 Ada"')

    def test_look_for_texts_only_in_personal_fields(self) -> None:
        """An ID there is part of a URL, and not what it is about."""
        fields = msgspec.msgpack.encode((ADA_ID, "Ada", ""))
        assert not Needles(ADA, ()).are_in_fields(fields)
        assert Needles(BOB, ["ada"]).are_in_fields(fields)

    @pytest.mark.parametrize("name", SPELLED)
    def test_find_what_was_encoded_as_others_do_it(self, name: str) -> None:
        assert Needles(ADA, ["Zoë Lovelace"]).are_in_letter(SPELLED[name])

    @pytest.mark.parametrize(
        "url", ["https://x/?by=Zo%C3%AB%20Lovelace", "https://x/?by=Zo%C3%AB+Lovelace"]
    )
    def test_find_a_text_in_a_url_among_personal_fields(self, url: str) -> None:
        assert Needles(ADA, ["Zoë Lovelace"]).are_in_fields(msgspec.msgpack.encode(("", "", url)))
