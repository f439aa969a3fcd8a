"""Hypothesis strategies: small histories made of what goes wrong, and other deliveries of the same.

The law they serve: for events that do not contradict, order, repeats and batches between two
barriers change no cent. `scenarios()` draws a history, `orderly()` delivers it as it happened,
`deliveries()` draws another delivery of it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from hypothesis import strategies as st

from ._times import NS_PER_MS, NS_PER_S, instant
from .events import (
    InstanceEventKind,
    credit_note_event,
    instance_event,
    line_of,
    named_uuid,
    payer_of,
)
from .model import called_name, published_name
from .operations import (
    AddCreditNote,
    Barrier,
    EndInstance,
    GetCostCenter,
    Operation,
    Publish,
    PublishPrices,
    Reconcile,
    ResetUsage,
    SetCostCenter,
    VoidInstance,
    VoidNote,
)
from .respelling import respelled

DAY_NS = 86_400 * NS_PER_S
FIRST_INSTANTS = tuple(
    instant(text)
    for text in (
        "2026-01-31T12:00:00.000000001Z",
        "2026-02-28T23:59:59.999500Z",
        "2027-10-31T00:00:00Z",
        "1969-12-31T23:59:59.999Z",
    )
)
# Short of a month: a longer silence is a clock that may have jumped, and resets would be held.
CLOCK_STEPS_NS = (0, 1, NS_PER_MS, NS_PER_S - 1, 3600 * NS_PER_S, 9 * DAY_NS, 27 * DAY_NS)
CLASSES = ("default", "g1-large", "no-rate", "")
RATES = ("0.1666666667", "0.3333333333", "0.3", "1.05", "0.0000000001", "0", "7")
KINDS: tuple[InstanceEventKind, ...] = ("started", "stopping", "stopped")


@dataclass(frozen=True, kw_only=True)
class Segment:
    """What is delivered between two barriers, all at one instant of the ledger's clock."""

    at_ns: int
    lines: tuple[bytes, ...]
    notes: tuple[AddCreditNote, ...]
    barrier: Barrier | None


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A history without contradictions. The first segment's barrier is the first price list."""

    payers: tuple[str, ...]
    instance_ids: tuple[str, ...]
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class _Delivery:
    """A line, the segment it is delivered in, and of which instance it tells what."""

    segment: int
    line: bytes
    instance_id: str = ""
    kind: InstanceEventKind | None = None
    payer: str = ""


def durations_ns() -> st.SearchStrategy[int]:
    """Runtimes at and around ties: of seconds (x.5 s), of cents (9 + 18k s at 1/6), and any."""
    near = st.integers(-2, 2).map(lambda ms: ms * NS_PER_MS)
    cent_tie = st.integers(0, 3000).map(lambda k: (9 + 18 * k) * NS_PER_S)
    second_tie = st.integers(0, 5000).map(lambda k: k * NS_PER_S + NS_PER_S // 2)
    ties = st.tuples(
        st.one_of(cent_tie, second_tie, cent_tie.map(lambda ns: ns - NS_PER_S // 2)),
        near,
        st.sampled_from((0, 1, NS_PER_MS // 2, NS_PER_MS - 1)),
    ).map(sum)
    backwards = st.integers(-3 * 3600 * NS_PER_S, 0)
    return st.one_of(ties, ties, ties, backwards, st.integers(0, 40 * DAY_NS))


@st.composite
def _instance_deliveries(
    draw: st.DrawFn,
    number: int,
    payers: Sequence[str],
    clocks_ns: Sequence[int],
    *,
    life: int = 0,
    first: int = 1,
) -> list[_Delivery]:
    """Some of the three events of one life of an instance, each in any segment from `first` on."""
    payer = draw(st.sampled_from(payers))
    instance_id = named_uuid("law", number)
    around_ns = draw(st.sampled_from(clocks_ns))
    start_ns = around_ns + draw(
        st.one_of(st.integers(-40 * DAY_NS, 3 * DAY_NS), st.sampled_from((-1, 0, 1)))
    )
    stopping_ns = start_ns + draw(durations_ns())
    stopped_ns = stopping_ns + draw(
        st.one_of(st.integers(0, 90 * NS_PER_S), durations_ns(), st.just(0))
    )
    times_ns = dict(zip(KINDS, (start_ns, stopping_ns, stopped_ns), strict=True))
    kinds = draw(st.sets(st.sampled_from(KINDS), min_size=1))
    if draw(st.booleans()):
        kinds |= {"started"}
    told_in = draw(_segments_of_kinds(first, len(clocks_ns) - 1))
    deliveries: list[_Delivery] = []
    for kind in KINDS:
        if kind not in kinds:
            continue
        extra: dict[str, object] = {}
        if kind == "started":
            extra = {
                "workspaceId": f"law-{number}",
                "workspaceClass": draw(st.sampled_from(CLASSES)),
                "workspaceType": draw(st.sampled_from(("", "regular", "prebuild"))),
                "userId": draw(st.sampled_from(("", named_uuid("user", 1), named_uuid("user", 2)))),
                "userName": "someone",
            }
        event = instance_event(
            kind,
            times_ns[kind],
            instance_id=instance_id,
            payer=payer,
            event_id=named_uuid("life", life, instance_id, kind) if life else "",
            more=extra,
        )
        deliveries.append(_Delivery(told_in[kind], line_of(event), instance_id, kind, payer))
    return deliveries


@st.composite
def _segments_of_kinds(draw: st.DrawFn, first: int, last: int) -> dict[InstanceEventKind, int]:
    """In any segments, or one after the other, or with a stopping that comes days after stopped."""
    drawn = [draw(st.integers(first, last)) for _ in KINDS]
    match draw(st.sampled_from(("any", "in order", "late stopping"))):
        case "in order":
            drawn.sort()
        case "late stopping":
            earliest, second, third = sorted(drawn)
            drawn = [earliest, third, second]
    return dict(zip(KINDS, drawn, strict=True))


@st.composite
def _published_note(
    draw: st.DrawFn, number: int, payers: Sequence[str], clocks_ns: Sequence[int]
) -> _Delivery:
    segment = draw(st.integers(1, len(clocks_ns) - 1))
    payer = draw(st.sampled_from(payers))
    event = credit_note_event(
        clocks_ns[segment] - draw(st.integers(0, 40 * DAY_NS)),
        payer=payer,
        credits_given=draw(st.integers(-300, 300)),
        event_id=named_uuid("note", number),
        user_id=draw(st.sampled_from(("", named_uuid("user", 1)))),
    )
    return _Delivery(segment, line_of(event), payer=payer)


@st.composite
def _called_notes(
    draw: st.DrawFn, segment: int, payers: Sequence[str], at_ns: int
) -> tuple[AddCreditNote, ...]:
    return tuple(
        AddCreditNote(
            at_ns=at_ns,
            payer=draw(st.sampled_from(payers)),
            credits_given=draw(st.sampled_from((1, -1, 250, -(2**31), 2**31 - 1))),
            description=f"note {segment}.{index}",
            idempotency_key=f"{segment}.{index}" if draw(st.booleans()) else None,
        )
        for index in range(draw(st.sampled_from((0, 0, 0, 1, 2))))
    )


@st.composite
def _barrier(
    draw: st.DrawFn,
    segment: int,
    payers: Sequence[str],
    deliveries: Sequence[_Delivery],
    at_ns: int,
) -> Barrier | None:
    payer = draw(st.sampled_from(payers))
    known = sorted({each.instance_id for each in deliveries if each.segment <= segment} - {""})
    kinds = ["reconcile", "reconcile", "reset", "reset", "get", "set", "set", "prices", "none"]
    kind = draw(st.sampled_from([*kinds, "end"] if known else kinds))
    barrier: Barrier | None = None
    match kind:
        case "reconcile":
            barrier = Reconcile(at_ns=at_ns)
        case "reset":
            barrier = ResetUsage(at_ns=at_ns)
        case "get":
            barrier = GetCostCenter(at_ns=at_ns, payer=payer)
        case "set":
            barrier = SetCostCenter(
                at_ns=at_ns,
                payer=payer,
                spending_limit=draw(st.sampled_from((0, 1, 3, 500))),
                strategy=draw(st.sampled_from(("STRIPE", "OTHER"))),
            )
        case "prices":
            barrier = draw(price_lists(segment + 2, at_ns))
        case "end":
            ended_ns = at_ns + draw(st.one_of(st.just(0), st.integers(-30 * DAY_NS, DAY_NS)))
            instance_id = draw(st.sampled_from(known))
            barrier = EndInstance(at_ns=at_ns, instance_id=instance_id, ended_ns=ended_ns)
    return barrier


@st.composite
def price_lists(draw: st.DrawFn, revision: int, at_ns: int) -> PublishPrices:
    """Rates for some of the classes; one class never has any."""
    priced = [name for name in CLASSES if name not in ("", "no-rate")]
    rates = tuple((name, draw(st.sampled_from(RATES))) for name in priced if draw(st.booleans()))
    return PublishPrices(at_ns=at_ns, revision=revision, rates=rates)


@st.composite
def scenarios(
    draw: st.DrawFn, *, payers_max: int = 2, instances_max: int = 4, segments_max: int = 6
) -> Scenario:
    """A history; the clock moves between segments, never by a month or more."""
    payers = [payer_of(("law", n)) for n in range(draw(st.integers(1, payers_max)))]
    clock_ns = draw(st.sampled_from(FIRST_INSTANTS))
    clocks_ns = [clock_ns]
    for _ in range(draw(st.integers(1, segments_max))):
        clock_ns += draw(st.sampled_from(CLOCK_STEPS_NS))
        clocks_ns.append(clock_ns)
    deliveries: list[_Delivery] = []
    instances = draw(st.integers(1, instances_max))
    for number in range(instances):
        deliveries += draw(_instance_deliveries(number, payers, clocks_ns))
    for number in range(draw(st.sampled_from((0, 0, 1, 2)))):
        deliveries.append(draw(_published_note(number, payers, clocks_ns)))
    segments = [
        Segment(at_ns=clocks_ns[0], lines=(), notes=(), barrier=draw(price_lists(1, clocks_ns[0])))
    ]
    keyed: list[AddCreditNote] = []
    for segment in range(1, len(clocks_ns)):
        at_ns = clocks_ns[segment]
        notes = draw(_called_notes(segment, payers, at_ns))
        keyed += [note for note in notes if note.idempotency_key is not None]
        barrier: Barrier | None
        if segment == 1 and draw(st.booleans()):
            # Early cycles, or hardly anything would ever be late.
            barrier = GetCostCenter(at_ns=at_ns, payer=payers[0])
        elif draw(st.integers(0, 4)) == 0:
            deliveries, barrier = draw(_void(segment, payers, deliveries, keyed, clocks_ns))
        else:
            barrier = draw(_barrier(segment, payers, deliveries, at_ns))
        if isinstance(barrier, EndInstance):
            deliveries = _without_later_stop(deliveries, barrier.instance_id, segment)
        segments.append(
            Segment(
                at_ns=at_ns,
                lines=tuple(each.line for each in deliveries if each.segment == segment),
                notes=notes,
                barrier=barrier,
            )
        )
    return Scenario(
        payers=tuple(payers),
        instance_ids=tuple(named_uuid("law", number) for number in range(instances)),
        segments=tuple(segments),
    )


@st.composite
def _void(
    draw: st.DrawFn,
    segment: int,
    payers: Sequence[str],
    deliveries: list[_Delivery],
    called: Sequence[AddCreditNote],
    clocks_ns: Sequence[int],
) -> tuple[list[_Delivery], VoidInstance | VoidNote | None]:
    """Void something that was told by the end of a segment, and let it perhaps begin anew."""
    told = [each for each in deliveries if each.segment <= segment]
    notes = [(each.payer, _name_of(each.line)) for each in told if each.kind is None]
    notes += [(note.payer, called_name(note.idempotency_key or "")) for note in called]
    instances = sorted({each.instance_id for each in told} - {""})
    choices = [*(("note", note) for note in notes), *(("instance", name) for name in instances)]
    if not choices:
        return deliveries, None
    kind, what = draw(st.sampled_from(choices))
    at_ns = clocks_ns[segment]
    if kind == "note":
        payer, name = what
        return deliveries, VoidNote(at_ns=at_ns, payer=payer, name=name)
    void = VoidInstance(at_ns=at_ns, instance_id=str(what))
    return draw(_begun_anew(segment, payers, deliveries, void, clocks_ns)), void


@st.composite
def _begun_anew(
    draw: st.DrawFn,
    segment: int,
    payers: Sequence[str],
    deliveries: list[_Delivery],
    void: VoidInstance,
    clocks_ns: Sequence[int],
) -> list[_Delivery]:
    """Leave out what would be told later of the voided life, and tell of another, or of none.

    A stop of a payer for whom the instance was voided is refused until another start is recorded,
    so it is told in a later segment than that start: within one the order may be any.
    """
    own = [each for each in deliveries if each.instance_id == void.instance_id]
    kept = [each for each in deliveries if each not in own or each.segment <= segment]
    last = len(clocks_ns) - 1
    if segment == last or draw(st.booleans()):
        return kept
    number = next(n for n in range(100) if named_uuid("law", n) == void.instance_id)
    anew = draw(
        _instance_deliveries(number, payers, clocks_ns, life=len(own) + segment, first=segment + 1)
    )
    if anew[0].payer in {each.payer for each in own}:
        begins = min((each.segment for each in anew if each.kind == "started"), default=last)
        anew = [each for each in anew if each.kind == "started" or each.segment > begins]
    return kept + anew


def _name_of(line: bytes) -> str:
    fields = json.loads(line)
    return published_name(fields["source"], fields["id"])


def _without_later_stop(
    deliveries: Sequence[_Delivery], instance_id: str, segment: int
) -> list[_Delivery]:
    """A stopped event after an operator's end contradicts it, so it is left out."""
    return [
        each
        for each in deliveries
        if each.segment <= segment or each.kind != "stopped" or each.instance_id != instance_id
    ]


def orderly(scenario: Scenario) -> tuple[Operation, ...]:
    """As it happened: nothing twice, started before stopping, one batch a segment."""
    operations: list[Operation] = []
    for segment in scenario.segments:
        if segment.lines:
            operations.append(Publish(at_ns=segment.at_ns, lines=segment.lines))
        operations += segment.notes
        if segment.barrier is not None:
            operations.append(segment.barrier)
    return tuple(operations)


@st.composite
def deliveries(
    draw: st.DrawFn, scenario: Scenario, *, with_rejects: bool = False
) -> tuple[Operation, ...]:
    """The same history in another order and other batches, with repeats, also late ones."""
    operations: list[Operation] = []
    delivered: list[_Told] = []
    keyed_notes: list[AddCreditNote] = []
    for number, segment in enumerate(scenario.segments):
        delivered += [
            _Told(line, number, _voided_in(scenario, number, line)) for line in segment.lines
        ]
        keyed_notes += [note for note in segment.notes if note.idempotency_key is not None]
        lines: list[bytes] = list(segment.lines)
        if delivered:
            lines += draw(st.lists(_repeats(delivered, number), max_size=3))
        if with_rejects:
            lines += draw(st.lists(invalid_lines(), max_size=2))
        steps: list[Operation] = [
            Publish(at_ns=segment.at_ns, lines=batch)
            for batch in _batches(draw(st.permutations(lines)), draw(_cuts(len(lines))))
        ]
        steps += segment.notes
        if keyed_notes:
            again = draw(st.lists(st.sampled_from(keyed_notes), max_size=2))
            steps += [replace(note, at_ns=segment.at_ns) for note in again]
        operations += draw(st.permutations(steps))
        if segment.barrier is not None:
            operations.append(segment.barrier)
    return tuple(operations)


class _Told(NamedTuple):
    """A line, the segment it is told in, and the one in which what it tells of is voided."""

    line: bytes
    segment: int
    voided_in: int | None


def _voided_in(scenario: Scenario, segment: int, line: bytes) -> int | None:
    instance_id = json.loads(line)["data"].get("workspaceInstanceId")
    for number in range(segment, len(scenario.segments)):
        barrier = scenario.segments[number].barrier
        if isinstance(barrier, VoidInstance) and barrier.instance_id == instance_id:
            return number
    return None


@st.composite
def _repeats(draw: st.DrawFn, delivered: Sequence[_Told], segment: int) -> bytes:
    """A line again, or in other words.

    Once an instance is void, only what comes under an ID that was recorded is a repeat: anything
    else begins it anew. So what will be voided is told under another ID after its own was
    recorded, and before the void.
    """
    told = draw(st.sampled_from(delivered))
    if draw(st.booleans()):
        return told.line
    keeps_id = told.voided_in is not None and not told.segment < segment <= told.voided_in
    return respelled(told.line, draw(st.integers(0, 10_000)), keeps_id=keeps_id)


def _cuts(length: int) -> st.SearchStrategy[set[int]]:
    return st.sets(st.integers(1, max(1, length)), max_size=3)


def _batches(lines: Sequence[bytes], cuts: set[int]) -> list[tuple[bytes, ...]]:
    edges = [0, *sorted(cut for cut in cuts if cut < len(lines)), len(lines)]
    batches = [tuple(lines[first:end]) for first, end in pairwise(edges)]
    return [batch for batch in batches if batch]


def invalid_lines() -> st.SearchStrategy[bytes]:
    """Lines that no ledger may record, whatever it has recorded."""
    payer, instance_id = payer_of("law"), named_uuid("invalid")
    good = instance_event("stopped", 0, instance_id=instance_id, payer=payer)
    bad_events: list[dict[str, object]] = [
        {**good, "type": "usage.workspace_instance.exploded.v1"},
        {**good, "specversion": "0.3"},
        {**good, "id": ""},
        {**good, "data": "text"},
        instance_event("stopped", 0, instance_id="7", payer=payer),
        instance_event("stopped", 0, instance_id=instance_id, payer=f" {payer}"),
        instance_event("stopped", 0, instance_id=instance_id, payer=payer.replace("team", "user")),
    ]
    bad_times = ("0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2026-01-01T00:00:00", 5)
    bad_events += [
        instance_event("stopped", 0, instance_id=instance_id, payer=payer, more={"stoppedTime": at})
        for at in bad_times
    ]
    bad_events.append(credit_note_event(0, payer=payer, credits_given=2**31, event_id="big"))
    broken = [b"", b"{", b"[]", b"\xff\xfe", line_of(good)[:-9], b'"text"', b"null"]
    return st.sampled_from([*map(line_of, bad_events), *broken])
