"""Fields of an event change by a new version and an upcaster; what nobody can read is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from eventsourcing import utils

from events import LedgerEvent, UnreadableEventError, codec, decode, encode, type_registry, upcasts

TOPIC = "only-in-this-test"
FIRST = b"\x01" + codec._encoder.encode([5, "somebody", b"payer", 100])
SECOND = b"\x02" + codec._encoder.encode([5, "somebody", b"payer", 100, "EUR"])


@contextmanager
def registered() -> Iterator[type[LedgerEvent]]:
    """The third version of an event: the currency came second, then cents became a text."""

    class PriceNoted(LedgerEvent, frozen=True, array_like=True, gc=False):
        TOPIC: ClassVar[str] = TOPIC
        VERSION: ClassVar[int] = 3

        payer: bytes
        amount: str
        currency: str

    try:
        yield PriceNoted
    finally:
        del type_registry[TOPIC]
        codec._decoders.pop(TOPIC, None)
        utils._topic_cache.pop(TOPIC, None)
        utils._type_cache.pop(PriceNoted, None)
        for version in (1, 2):
            codec._upcasters.pop((TOPIC, version), None)


def with_currency(values: list[Any]) -> list[Any]:
    return [*values, "EUR"]


def with_amount(values: list[Any]) -> list[Any]:
    recorded_at, author, payer, cents, currency = values
    return [recorded_at, author, payer, f"{cents / 100:.2f}", currency]


@pytest.fixture
def price_noted() -> Iterator[Callable[..., LedgerEvent]]:
    with registered() as event_class:
        upcasts(TOPIC, version=1)(with_currency)
        upcasts(TOPIC, version=2)(with_amount)
        yield event_class


class TestUpcasting:
    @pytest.mark.parametrize("stored", [FIRST, SECOND])
    def test_goes_through_every_version_between(
        self, price_noted: Callable[..., LedgerEvent], stored: bytes
    ) -> None:
        assert price_noted(5, "somebody", b"payer", "1.00", "EUR") == decode(TOPIC, stored)

    def test_leaves_what_is_stored_today_alone(
        self, price_noted: Callable[..., LedgerEvent]
    ) -> None:
        event = price_noted(5, "somebody", b"payer", "2.50", "USD")
        stored = encode(event)
        assert 3 == stored[0]
        assert event == decode(TOPIC, stored)

    def test_without_an_upcaster_is_refused(self) -> None:
        with registered(), pytest.raises(UnreadableEventError, match=r"no upcaster .* version 1"):
            decode(TOPIC, FIRST)


class TestWhatCannotBeRead:
    def test_is_a_newer_version(self, price_noted: Callable[..., LedgerEvent]) -> None:
        stored = b"\x04" + codec._encoder.encode([5, "somebody"])
        with pytest.raises(
            UnreadableEventError, match=r"version 4, this is 3: use a newer version"
        ):
            decode(TOPIC, stored)

    def test_is_an_unknown_topic(self) -> None:
        with pytest.raises(UnreadableEventError, match="no event class has the topic"):
            decode(TOPIC, FIRST)

    def test_is_a_topic_that_two_classes_claim(
        self, price_noted: Callable[..., LedgerEvent]
    ) -> None:
        with pytest.raises(TypeError, match="two event classes claim"):

            class Another(LedgerEvent, frozen=True, array_like=True):
                TOPIC: ClassVar[str] = TOPIC

        assert price_noted is type_registry[TOPIC]

    @pytest.mark.parametrize("state", [b"", b"\x01", b"\x01\xc1", b"\x01\x93\x01\x02"])
    def test_is_named_when_its_bytes_are_damaged(self, state: bytes) -> None:
        with pytest.raises(UnreadableEventError, match="'usage-reconciled' is damaged"):
            decode("usage-reconciled", state)
