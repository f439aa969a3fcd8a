"""Heads as text: written one way only, signed as others sign notes, and read without mercy."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.audit.notes import (
    Checkpoint,
    NoteError,
    Signature,
    is_signed_by,
    key_id_of,
    parse_note,
    public_bytes,
    signed_note,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = public_bytes(KEY)
CHECKPOINT = Checkpoint("usage-ledger/x/0", 1_234, bytes(range(32)), 1_793_520_000_123)
TEXT = (
    "usage-ledger/x/0\n"
    "1234\n"
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    "recorded 2026-11-01T08:00:00.123Z\n"
)
# From the documentation of Go's package golang.org/x/mod/sumdb/note.
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_NAME = "PeterNeumann"
GO_KEY = "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SIGNATURE = (
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
)


class TestANote:
    def test_is_the_checkpoint_and_a_signature_of_it(self) -> None:
        note = signed_note(CHECKPOINT, "the-key", KEY)
        text, _, signature = note.partition("\n\n")
        assert TEXT == text + "\n"
        assert signature.startswith("— the-key ")
        raw = base64.b64decode(signature.split(" ")[2])
        assert key_id_of("the-key", PUBLIC) + KEY.sign(TEXT.encode()) == raw
        assert note.endswith("\n")

    def test_is_read_back(self) -> None:
        read = parse_note(signed_note(CHECKPOINT, "the-key", KEY))
        assert CHECKPOINT == read.checkpoint
        (signature,) = read.signatures
        assert "the-key" == signature.key_name
        assert is_signed_by(read.text, signature, PUBLIC)

    def test_is_what_go_signs(self) -> None:
        algorithm, public = base64.b64decode(GO_KEY)[:1], base64.b64decode(GO_KEY)[1:]
        raw = base64.b64decode(GO_SIGNATURE)
        assert b"\x01" == algorithm
        assert bytes.fromhex("c74f20a3") == raw[:4] == key_id_of(GO_NAME, public)
        assert is_signed_by(GO_TEXT, Signature(GO_NAME, raw[:4], raw[4:]), public)

    @given(
        st.integers(0, 10**18 - 1),
        st.binary(min_size=32, max_size=32),
        st.integers(-62_135_596_800_000, 253_402_300_799_999),
    )
    @example(0, bytes(32), 0)
    def test_of_any_tree_is_read_back(self, size: int, root: bytes, recorded: int) -> None:
        checkpoint = Checkpoint("a", size, root, recorded)
        assert checkpoint == parse_note(signed_note(checkpoint, "k", KEY)).checkpoint


class TestAForgery:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("1234", "1235"),
            ("usage-ledger/x/0", "usage-ledger/x/1"),
            ("AAEC", "AAED"),
            ("08:00:00.123Z", "08:00:00.124Z"),
        ],
    )
    def test_of_any_line_is_not_signed(self, old: str, new: str) -> None:
        note = signed_note(CHECKPOINT, "the-key", KEY).replace(old, new, 1)
        read = parse_note(note)
        assert not is_signed_by(read.text, read.signatures[0], PUBLIC)

    def test_by_another_key_is_not_signed(self) -> None:
        other = Ed25519PrivateKey.from_private_bytes(bytes(32))
        read = parse_note(signed_note(CHECKPOINT, "the-key", other))
        assert not is_signed_by(read.text, read.signatures[0], PUBLIC)

    def test_with_the_key_id_of_another_key_is_not_signed(self) -> None:
        read = parse_note(signed_note(CHECKPOINT, "the-key", KEY))
        stranger = read.signatures[0]._replace(key_id=bytes(4))
        assert not is_signed_by(read.text, stranger, PUBLIC)
        renamed = read.signatures[0]._replace(key_name="another-key")
        assert not is_signed_by(read.text, renamed, PUBLIC)


SIGNED = signed_note(CHECKPOINT, "the-key", KEY)


class TestWhatIsNoNote:
    @pytest.mark.parametrize(
        "note",
        [
            "",
            "\n",
            TEXT,
            TEXT + "\n",
            SIGNED[:-1],
            SIGNED + "\n",
            SIGNED + "more\n",
            SIGNED.replace("—", "-"),
            SIGNED.replace("1234", "01234"),
            SIGNED.replace("1234", "-1234"),
            SIGNED.replace("1234", "+1234"),
            SIGNED.replace("1234", "1_234"),
            SIGNED.replace("1234", "१२३४"),
            SIGNED.replace("1234", "9" * 19),
            SIGNED.replace("AAEC", "AAE"),
            SIGNED.replace("Hh8=", "Hh9="),  # other bits behind the last byte
            SIGNED.replace("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "AAEC"),
            SIGNED.replace("usage-ledger/x/0", ""),
            SIGNED.replace("recorded ", "signed "),
            SIGNED.replace("recorded 2026-11-01T08:00:00.123Z\n", ""),
            SIGNED.replace("08:00:00.123Z", "08:00:00Z"),
            SIGNED.replace("08:00:00.123Z", "08:00:61.123Z"),
            SIGNED.replace("2026-11-01", "2026-11-31"),
            SIGNED.replace("123Z\n", "123Z\nmore\n"),
            SIGNED.replace("\n", "\r\n"),
            SIGNED.replace("— the-key ", "— the-key"),
            SIGNED.replace("— the-key ", "— the key "),
            SIGNED.replace("— the-key ", "— the+key "),
            SIGNED.replace("— the-key ", "—  "),
            SIGNED[:-10] + "\n",
        ],
    )
    def test_is_refused(self, note: str) -> None:
        with pytest.raises(NoteError):
            parse_note(note)

    @given(st.text(max_size=200))
    def test_is_refused_whatever_it_is(self, text: str) -> None:
        with pytest.raises(NoteError):
            parse_note(text)
