"""The shortest way to say a history in a test of the oracle itself."""

from . import DEFAULT_RATES, Oracle, Outcome, instant
from .events import (
    InstanceEventKind,
    credit_note_event,
    instance_event,
    line_of,
    named_uuid,
    payer_of,
)

PAYER = payer_of("payer")
USER = named_uuid("user")
DAY = "2026-02-28T"


def at(text: str) -> int:
    """`HH:MM[:SS[.fff]]` on 28 February 2026 UTC, or a whole RFC 3339 time."""
    if "T" in text:
        return instant(text)
    return instant(f"{DAY}{text if text.count(':') == 2 else text + ':00'}Z")


def instance(name: str) -> str:
    return named_uuid("instance", name)


class Bench:
    """An oracle with the default rates, and events of named instances."""

    def __init__(self, *, rates: dict[str, str] | None = None, hold_resets: bool = False) -> None:
        self.oracle = Oracle(hold_resets=hold_resets)
        prices = {**DEFAULT_RATES, "cent": "0.01"} if rates is None else rates
        self.oracle.publish_price_list(1, prices, at("00:00"))

    def tell(
        self,
        name: str,
        kind: InstanceEventKind,
        time: str,
        *,
        payer: str = PAYER,
        workspace_class: str = "cent",
        user_id: str = USER,
        event_id: str = "",
        recorded: str = "00:00",
        **more: object,
    ) -> Outcome:
        """Publishes one event. Class `cent` costs a cent a minute."""
        if kind == "started":
            more = {"workspaceClass": workspace_class, "userId": user_id, **more}
        event = instance_event(
            kind,
            at(time),
            instance_id=instance(name),
            payer=payer,
            event_id=event_id,
            more=more,
        )
        return self.oracle.publish(line_of(event), at(recorded))

    def run(self, name: str, start: str, stop: str, *, workspace_class: str = "cent") -> None:
        """A whole instance: started, stopping and stopped at the same time."""
        self.tell(name, "started", start, workspace_class=workspace_class)
        self.tell(name, "stopping", stop)
        self.tell(name, "stopped", stop)

    def note(self, credits_given: int, *, event_id: str = "note", time: str = "07:00") -> Outcome:
        event = credit_note_event(
            at(time), payer=PAYER, credits_given=credits_given, event_id=event_id
        )
        return self.oracle.publish(line_of(event), at("00:00"))

    @property
    def balance(self) -> int:
        return self.oracle.balance_cents(PAYER)
