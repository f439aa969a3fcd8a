"""The same event in other words: each of these has to count as a repeat (section 6)."""

import json
import random
import re
from typing import Any

from ._times import NS_PER_MS, NS_PER_S, instant, text_of
from .events import line_of, named_uuid

_CAPITAL = re.compile("([A-Z])")


def respelled(line: bytes, seed: int, *, keeps_id: bool = False) -> bytes:
    """Legal JSON, equal by the contract, mostly other bytes. The seed chooses the differences.

    Free texts and personal fields may differ; an instance event may come under another ID, and then
    with another workspace_id, project_id and creation_time. A credit note keeps its ID, and
    everything does that `keeps_id`.
    """
    rng = random.Random(seed)
    event = json.loads(line)
    fields = event["data"]
    fields["attributionId"] = _other_payer_spelling(fields["attributionId"], rng)
    for name in ("userName", "contextUrl", "description"):
        if name in fields and rng.random() < 0.5:
            fields[name] = f"other words {seed}"
    if event["type"] == "usage.credit_note.issued.v1":
        _respell_note(event, fields, rng)
    else:
        _respell_instance_event(event, fields, rng, keeps_id=keeps_id)
    if rng.random() < 0.5:
        fields = {_CAPITAL.sub(r"_\1", name).lower(): value for name, value in fields.items()}
    if rng.random() < 0.3:
        fields["not_yet_known"] = {"nested": [1, None]}
    event["data"] = dict(rng.sample(sorted(fields.items()), len(fields)))
    return line_of(event)


def _respell_note(event: dict[str, Any], fields: dict[str, Any], rng: random.Random) -> None:
    event["time"] = _same_millisecond(event["time"], rng)
    if rng.random() < 0.5:
        fields["credits"] = str(fields["credits"])


def _respell_instance_event(
    event: dict[str, Any], fields: dict[str, Any], rng: random.Random, *, keeps_id: bool
) -> None:
    for name in ("startedTime", "stoppingTime", "stoppedTime"):
        if name in fields:
            fields[name] = _same_millisecond(fields[name], rng)
    if fields.get("workspaceClass") == "default" and rng.random() < 0.5:
        del fields["workspaceClass"]
    if not keeps_id and rng.random() < 0.5:
        other = rng.randrange(2**32)
        event["id"] = named_uuid("again", event["id"], other)
        if "startedTime" in fields:
            fields["workspaceId"] = f"other-{other}"
            fields["projectId"] = "other"
            fields["creationTime"] = "2020-02-29T23:59:59Z"


def _other_payer_spelling(payer: str, rng: random.Random) -> str:
    digits = payer.removeprefix("team:")
    spelling = rng.choice([digits, digits.upper(), digits.replace("-", ""), f"{{{digits}}}"])
    return f"team:{spelling}"


def _same_millisecond(text: str, rng: random.Random) -> str:
    at_ns = instant(text) // NS_PER_MS * NS_PER_MS + rng.randrange(NS_PER_MS)
    hours = rng.choice([0, 0, 2, -7])
    if hours == 0:
        return text_of(at_ns)
    return f"{text_of(at_ns + hours * 3600 * NS_PER_S)[:-1]}{hours:+03d}:00"
