"""Counts are kept per publishing call; those of old calls are added up, and stay true."""

from __future__ import annotations

from pathlib import Path

from ledger.group import Group
from tests.harness import InProcessService, settings_for
from tests.oracle.events import credit_note_event, line_of
from usage_ledger.v1 import queries_pb2

PAYER = "team:0b1f6f6e-6d0c-5a52-9d2b-0d1c6f1f8a11"


class TestOldCalls:
    """Housekeeping of the counts of publishing calls."""

    def test_are_added_up_and_the_equation_still_holds(self, tmp_path: Path) -> None:
        """A call too many is merged; its dead letter is still found."""
        with InProcessService(settings_for(tmp_path)) as service:
            calls = 5
            for number in range(calls):
                event = credit_note_event(
                    0, payer=PAYER, event_id=f"note-{number}", credits_given=1
                )
                service.calls.publish([line_of(event), b"garbage %d" % number])
            keep = 2

            def act(group: Group) -> int:
                return group.transaction.merge_deliveries(
                    prefix="call:", into="call:older", keep=keep
                )

            assert service.wait(service.ledger.shards[0].command(act, "test")) == calls - keep
            status = service.calls.queries.GetStatus(queries_pb2.GetStatusRequest())
            counts = {d.delivery: (d.received, d.recorded, d.rejected) for d in status.deliveries}
            assert counts.pop("call:older") == (6, 3, 3)
            assert list(counts.values()) == [(2, 1, 1)] * keep
            letters = service.calls.queries.ListDeadLetters(queries_pb2.ListDeadLettersRequest())
            names = [letter.delivery for letter in letters.dead_letters]
            assert names.count("call:older") == calls - keep
            assert service.calls.breaches() == []
