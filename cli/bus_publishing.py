"""`usage-ledger publish --kafka`: the same lines, sent to the topic instead of to the service.

The lines are looked at only as far as it takes to find the payer, which is the key. What the ledger
makes of them is seen there: `usage-ledger status`, `dead-letters list`.
"""

import gc
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from cli.blocks import LongLine, Part, cut
from cli.delivery import SHOWN_REJECTS_MAX
from cli.exits import FAILED, OK, REJECTED, USAGE, CommandFailed
from cli.json_form import encode
from cli.progress import progress, rejects_file
from cli.reading import Source, opened
from cli.tables import note, print_table
from cli.values import printable
from consumers.connecting import client_options
from ledger.errors import StartRefusedError
from ledger.settings import KafkaSettings, SettingsError, read_settings
from publisher import BufferFull, NotDelivered, Publisher, Security, Unreachable, lines

# As much as is on its way at a time: more is no faster, and it bounds the memory.
WINDOW_EVENTS = 20_000
WINDOW_BYTES = 64 << 20
# Packed, the window is what a message is packed from.
PACKED_WINDOW_EVENTS = 50_000
# New objects before the collector looks through those that wait: by Python's own 700 it takes two
# fifths of the time, and finds nothing, for what waits is no garbage.
GC_THRESHOLD = 50_000
# How long an event may take; a broker that restarts in order is back before.
DELIVERY_SECONDS = 30.0
CONNECT_SECONDS = 15.0
# Every so often it is said that nothing is acknowledged any more.
SILENCE_SECONDS = 10.0
# After Ctrl-C: for what is on its way.
INTERRUPTED_SECONDS = 5.0


@dataclass
class Sent:
    """What became of the lines: read = acknowledged + not acknowledged."""

    rejects_file: TextIO | None
    read: int = 0
    acknowledged: int = 0
    # Lines without a payer. They are sent, too, and the ledger will reject them.
    payerless: int = 0
    shown: list[tuple[int, str]] = field(default_factory=list)
    # Why an event was not acknowledged; the first one, for they all are alike.
    trouble: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def settle(self, outcome: object) -> None:
        """Counts what became of one event; called on the publisher's threads."""
        with self._lock:
            if isinstance(outcome, NotDelivered):
                self.trouble = self.trouble or str(outcome)
            else:
                self.acknowledged += 1

    def reject(self, line: int, reason: str) -> None:
        """Notes that a line has no payer."""
        self.payerless += 1
        if len(self.shown) < SHOWN_REJECTS_MAX:
            self.shown.append((line, reason))
        if self.rejects_file is not None:
            told = json.dumps({"line": line, "reason": reason}, ensure_ascii=False)
            self.rejects_file.write(f"{told}\n")


def publish(
    path: str,
    *,
    servers: str,
    topic: str | None,
    packed: bool,
    config: Path | None,
    rejects: Path | None,
    as_json: bool,
) -> int:
    """Sends the file, or standard input for `-`; answers the exit code."""
    gc.set_threshold(GC_THRESHOLD, 50, 100)
    kafka = _settings(config, servers, topic)
    started = time.monotonic()
    with opened(path) as source, rejects_file(rejects) as file:
        sent = Sent(file)
        with progress(source.size_bytes, quiet=as_json) as advance:

            def sent_block(part: Part) -> None:
                advance(part.size_bytes, sent.acknowledged / (time.monotonic() - started))

            reason = _send(source, kafka, sent, sent_block, packed=packed)
        seconds = time.monotonic() - started
        _show(sent, source.name, kafka, seconds, finished=not reason, as_json=as_json)
    if reason:
        sys.stderr.write(
            f"{printable(reason)}\nNot finished: of {sent.read:,} events that were read the broker "
            f"acknowledged {sent.acknowledged:,}. Run it again: nothing counts twice.\n"
        )
        return FAILED
    return REJECTED if sent.payerless else OK


def _settings(config: Path | None, servers: str, topic: str | None) -> KafkaSettings:
    """The group `kafka` of the settings; what the command line says goes first."""
    options = {"bootstrap_servers": servers, "topics": {"usage_events": topic}}
    try:
        return read_settings(config, kafka=options).settings.kafka
    except SettingsError as error:
        raise CommandFailed(str(error), exit_code=USAGE) from None


def _send(
    source: Source,
    kafka: KafkaSettings,
    sent: Sent,
    sent_block: Callable[[Part], None],
    *,
    packed: bool,
) -> str:
    """Sends all lines; answers why it ended before the end, or nothing."""
    publisher = _publisher(kafka, packed=packed)
    reason = ""
    try:
        publisher.connect(CONNECT_SECONDS)
        for part in cut(source.read):
            for message in _messages(part, sent, packed=packed):
                sent.read += 1
                _put(publisher, message, sent)
            sent_block(part)
            if sent.trouble:
                break
        _wait(publisher, sent)
    except Unreachable as error:
        reason = f"Kafka cannot be reached: {error}."
    except OSError as error:
        reason = f"The input cannot be read: {error.strerror or error}."
    except KeyboardInterrupt:
        reason = "Interrupted."
    publisher.close(INTERRUPTED_SECONDS)
    return reason or (f"{sent.trouble}." if sent.trouble else "")


def _publisher(kafka: KafkaSettings, *, packed: bool) -> Publisher:
    try:
        options = client_options(kafka, "publish")
    except StartRefusedError as error:
        raise CommandFailed(str(error), exit_code=USAGE) from None
    # Kafka's client logs every retry. Nobody is shown that, but the publisher listens for reasons.
    logging.getLogger("kafka").propagate = False
    logging.getLogger("kafka").setLevel(logging.WARNING)
    security: Any = {name: options[name] for name in Security.__annotations__ if name in options}
    try:
        return Publisher(
            options["bootstrap_servers"],
            source="usage-ledger publish",  # of no event: each line brings its own
            topic=kafka.topics.usage_events,
            packed=packed,
            buffer_events_max=PACKED_WINDOW_EVENTS if packed else WINDOW_EVENTS,
            buffer_bytes_max=WINDOW_BYTES,
            delivery_timeout=DELIVERY_SECONDS,
            **security,
        )
    except (ValueError, OSError) as error:
        raise CommandFailed(f"Kafka's client refuses: {error}", exit_code=USAGE) from None


def _messages(part: Part, sent: Sent, *, packed: bool) -> Iterator[lines.Message]:
    if isinstance(part, LongLine):
        sent.reject(part.line, f"a line of {part.line_bytes:,} bytes: no event is that long")
        yield lines.cut_short(part.head, size_bytes=part.line_bytes, sha256=part.sha256)
        return
    for number, raw in enumerate(part.lines.split(b"\n"), start=part.first_line):
        line = raw.removesuffix(b"\r")
        if not line or line.isspace():
            continue
        try:
            yield lines.message_of(line, packed=packed)
        except lines.Unreadable as error:
            sent.reject(number, str(error))
            yield lines.keyless(line)


def _put(publisher: Publisher, message: lines.Message, sent: Sent) -> None:
    while True:
        try:
            publisher.send(message, settled=sent.settle, timeout=SILENCE_SECONDS)
        except BufferFull:
            _say_silent(publisher)
        else:
            return


def _wait(publisher: Publisher, sent: Sent) -> None:
    before = -1
    while publisher.flush(SILENCE_SECONDS).pending:
        if sent.acknowledged == before:
            _say_silent(publisher)
        before = sent.acknowledged


def _say_silent(publisher: Publisher) -> None:
    sys.stderr.write(
        f"{publisher.pending:,} events wait: the broker has acknowledged none for "
        f"{SILENCE_SECONDS:.0f} seconds.\n"
    )


def _show(
    sent: Sent,
    name: str,
    kafka: KafkaSettings,
    seconds: float,
    *,
    finished: bool,
    as_json: bool,
) -> None:
    topic = kafka.topics.usage_events
    missing = sent.read - sent.acknowledged
    hidden = sent.payerless - len(sent.shown)
    if as_json:
        answer = {
            "delivery": name,
            "topic": topic,
            "finished": finished,
            "read": sent.read,
            "acknowledged": sent.acknowledged,
            "not_acknowledged": missing,
            "rejected": sent.payerless,
            "rejects": [{"line": line, "reason": reason} for line, reason in sent.shown],
            "rejects_not_shown": hidden,
            "seconds": round(seconds, 3),
        }
        sys.stdout.write(f"{encode(answer, indent=2)}\n")
        return
    rate = sent.acknowledged / max(seconds, 0.001)
    note(
        f"read {sent.read:,} = acknowledged {sent.acknowledged:,} + not acknowledged {missing:,}  "
        f"({name} to {topic}, {seconds:.1f} s, {rate:,.0f} events/s)"
    )
    if sent.payerless:
        note(f"without a payer, so that the ledger keeps it as a dead letter: {sent.payerless:,}")
        print_table("", (">line", "reason"), [(f"{line}", why) for line, why in sent.shown])
    if hidden:
        note(f"… and {hidden:,} more; --rejects FILE writes all of them.")
