"""Publishes the events of one workspace instance, and a credit note, to Kafka.

pip install 'usage-ledger[publisher]'
python publish.py localhost:9092 usage.events
"""

import datetime as dt
import sys

from publisher import (
    Publisher,
    credit_note_issued,
    workspace_instance_started,
    workspace_instance_stopped,
)

SOURCE = "/workspace-manager/eu01"
PAYER = "team:0b1f6f6e-6d0c-4a52-9d2b-0d1c6f1f8a11"
INSTANCE = "0d5a1c3e-6c1f-4f6e-8b1c-2f6b8c1d9e42"


def main(servers: str, topic: str) -> None:
    """Publish three events, and say what became of them."""
    started = dt.datetime(2026, 11, 1, 8, tzinfo=dt.UTC)
    stopped = started + dt.timedelta(minutes=90)
    events = [
        # An ID that says what happened: whoever publishes it again, it counts once.
        workspace_instance_started(
            event_id=f"{INSTANCE}/started",
            workspace_instance_id=INSTANCE,
            attribution_id=PAYER,
            workspace_id="demo-1",
            workspace_class="g1-large",
            started_time=started,
        ),
        workspace_instance_stopped(
            event_id=f"{INSTANCE}/stopped",
            workspace_instance_id=INSTANCE,
            attribution_id=PAYER,
            stopped_time=stopped,
        ),
        credit_note_issued(
            event_id="ticket-4711",
            attribution_id=PAYER,
            credits=5,
            effective_time=stopped,
            description="Sorry for the outage",
        ),
    ]
    with Publisher(servers, topic=topic, source=SOURCE) as publisher:
        for event in events:
            publisher.publish(event)
        flushed = publisher.flush(timeout=60)
        for event_id, error in flushed.failed:
            print(f"{event_id}: {error}", file=sys.stderr)
        print(f"{flushed.acknowledged} acknowledged, {flushed.pending} still on their way")


if __name__ == "__main__":
    main(*sys.argv[1:])
