"""Between our events and the rows of the event store library."""

from __future__ import annotations

from eventsourcing.persistence import Mapper, StoredEvent

from events import Recorded, decode, encode


class LedgerMapper(Mapper[str]):
    """Encodes with our codec; the library's transcoder costs more than the rest of an append."""

    def __init__(self) -> None:
        """Needs neither transcoder, compressor nor cipher: the codec is the whole encoding."""

    def to_stored_event(self, domain_event: Recorded) -> StoredEvent:  # type: ignore[override]
        """Encode an event in its place."""
        stream, version, event, _ = domain_event
        return StoredEvent(stream, version, event.TOPIC, encode(event))

    def to_domain_event(self, stored_event: StoredEvent) -> Recorded:
        """Decode a stored event; one that comes from the log knows its position."""
        return Recorded(
            str(stored_event.originator_id),
            stored_event.originator_version,
            decode(stored_event.topic, stored_event.state),
            getattr(stored_event, "id", 0),
        )
