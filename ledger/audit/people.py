"""Whose personal data an event has, and whether bytes name a user."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote

from events import LedgerEvent, Recorded, StripeCustomerRequested, type_registry
from events.readable import uuid_bytes, uuid_text
from ledger.identifiers import parse_uuid

ERASURE_PREFIX = "erasure:user:"  # of the streams that tell of erasures

# Events whose fields, or some of them, lie in the table of personal data.
COMMITTING = frozenset(
    topic for topic, cls in type_registry.items() if "commitment" in cls.__struct_fields__
)

_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([\"\\/bfnrt]))")
_CONTROLS = dict.fromkeys("bfnrt", "\n")
# Both alphabets; a run of the one may be cut where the other goes on. Shorter ones say nothing.
_BASE64 = (re.compile(r"[A-Za-z0-9+/]{8,}"), re.compile(r"[A-Za-z0-9+/_-]{8,}"))
_ALPHABET = str.maketrans("-_", "+/")
_LINE_ENDS = re.compile(r"[\r\n]+")
ROUNDS_MAX = 3  # a text within a text within a text
WITHIN_MAX = 2  # Base64 of Base64


def erasure_stream(user: bytes) -> str:
    """Name the stream that tells of a user's erasures."""
    return ERASURE_PREFIX + uuid_text(user)


def user_of(event: LedgerEvent) -> bytes | None:
    """Give whom an event names, empty for nobody; None when it is of a kind that names no user."""
    if isinstance(event, StripeCustomerRequested):
        parsed = parse_uuid(event.creator)
        return uuid_bytes(parsed) if parsed else b""
    user: bytes | None = getattr(event, "user", None)
    return user


def committed(stream: Sequence[Recorded]) -> Iterator[tuple[int, bytes]]:
    """Give position and owner of a stream's events that have personal fields.

    An event that names a user is that user's. One that cannot, such as an operator's end of an
    instance with its reason, is of whom the stream has named last. What an erasure says of itself
    is nobody's: it tells that it was asked for, and why.
    """
    owner = b""
    for recorded in stream:
        if recorded.originator_id.startswith(ERASURE_PREFIX):
            continue
        named = user_of(recorded.event)
        owner = owner if named is None else named
        if getattr(recorded.event, "commitment", b""):
            yield recorded.position, owner


class Needles:
    """What is looked for in bytes: a user's ID in any spelling, and names or addresses."""

    def __init__(self, user: bytes, texts: Sequence[str]) -> None:
        """Texts are compared without regard to case."""
        written = uuid_text(user)
        self._texts = [_normal(text) for text in texts]
        self._all = [written, written.replace("-", ""), *self._texts]

    def are_in_letter(self, original: bytes) -> bool:
        """Say whether what was rejected names the user, however it was encoded.

        Undone are JSON's escapes, percent signs of URLs, and Base64, in which JSON carries
        protobuf; each also within another.
        """
        return self._in_text(original.decode("utf-8", "surrogateescape"), WITHIN_MAX)

    def _in_text(self, text: str, within: int) -> bool:
        readings = _readings(text)
        if _hold(readings, self._all):
            return True
        if not within:
            return False
        for decoded, plain in _decoded(readings):
            if _hold((decoded,), self._all) or self._in_text(plain, within - 1):
                return True
        return False

    def are_in_fields(self, fields: bytes) -> bool:
        """Say whether personal fields hold one of the texts; an ID is no personal field."""
        if not self._texts:
            return False
        return _hold(_readings(fields.decode("utf-8", "surrogateescape")), self._texts)


def _hold(readings: Iterable[str], needles: Sequence[str]) -> bool:
    return any(needle in text for text in map(_normal, readings) for needle in needles)


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _readings(text: str) -> set[str]:
    """Give a text as it is, and as it reads without escapes and percent signs."""
    readings = {text}
    newest = readings
    for _ in range(ROUNDS_MAX):
        newest = {other for each in newest for other in _undone(each)} - readings
        readings = readings | newest
    return readings


def _undone(text: str) -> Iterator[str]:
    if "\\" in text:
        yield _unescaped(text)
    if "%" in text:
        yield unquote(text)
    if "+" in text:  # a blank, in forms
        yield text.replace("+", " ")


def _unescaped(text: str) -> str:
    undone = _ESCAPED.sub(
        lambda found: chr(int(found[1], 16)) if found[1] else _CONTROLS.get(found[2], found[2]),
        text,
    )
    # JSON writes what lies beyond 16 bits as two halves.
    return undone.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _decoded(readings: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Give what runs of Base64 may say: each read from its first sign on, or from one behind it.

    Beside it those of them that are text, in which something may be encoded once more.
    """
    runs = {
        run.translate(_ALPHABET)
        for each in readings
        for text in {each, _LINE_ENDS.sub("", each)}
        for alphabet in _BASE64
        for run in alphabet.findall(text)
    }
    for skipped in range(4 if runs else 0):
        decoded = [_from_base64(run[skipped:]) for run in runs]
        plain = [each for each in decoded if each.isascii()]
        yield (
            "\n".join(each.decode("utf-8", "surrogateescape") for each in decoded),
            "\n".join(each.decode() for each in plain),
        )


def _from_base64(run: str) -> bytes:
    whole = run[: len(run) - (len(run) % 4 == 1)]  # no encoder ends so
    return base64.b64decode(whole + "=" * (-len(whole) % 4))
