"""One CloudEvents line to the fact it reports, or the reason why it reports none."""

import json
import re
from typing import NoReturn

from ._facts import CreditNote, Published, Started, Stopped, Stopping
from ._ids import canonical_payer, canonical_uuid
from ._times import cut_to_ms, instant

STRING_BYTES_MAX = 4_096
EVENT_BYTES_MAX = 256 * 1024
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
WORKSPACE_TYPES = frozenset({"regular", "prebuild", "imagebuild"})

Key = tuple[str, str]
"""(source, id): what identifies an event."""


class LineError(ValueError):
    """The line reports no fact; the text says why."""


def read_line(line: bytes) -> tuple[Key, Published]:
    """The event's key and its fact. Raises LineError.

    Reading: a name that stands twice in one object, or in both spellings, is refused, as protobuf's
    own parsers do. `time`, if there is one, must be valid even where nothing needs it. The limit on
    strings is applied to what we read, not to unknown fields, which are ignored. Instance and user
    IDs are UUIDs in any of the spellings of section 1 and become one; workspace_id may be empty. An
    empty class or type is the same content as the one it means. A published note may have any
    description: the checks of AddUsageCreditNote are that call's own. The envelope's `time` is
    content of a note only, its `subject` of nothing.
    """
    envelope = _json_object(line)
    if envelope.get("specversion") != "1.0":
        raise LineError("specversion must be 1.0")
    key = (_attribute(envelope, "source"), _attribute(envelope, "id"))
    kind = _attribute(envelope, "type")
    _json_content_type(envelope.get("datacontenttype"))
    data = envelope.get("data")
    if not isinstance(data, dict):
        raise LineError("data must be an object")
    time_text = envelope.get("time")
    if time_text is not None and not isinstance(time_text, str):
        raise LineError("time must be a string")
    try:
        time_ms = None if time_text is None else cut_to_ms(instant(time_text))
        return key, _fact(kind, data, time_ms)
    except LineError:
        raise
    except ValueError as error:
        raise LineError(str(error)) from error


def _fact(kind: str, data: dict[str, object], time_ms: int | None) -> Published:
    payer = canonical_payer(_string(data, "attribution_id"))
    match kind:
        case "usage.workspace_instance.started.v1":
            return _started(data, payer)
        case "usage.workspace_instance.stopping.v1":
            return Stopping(
                payer=payer,
                instance_id=canonical_uuid(_string(data, "workspace_instance_id")),
                stopping_ms=_required_ms(data, "stopping_time"),
            )
        case "usage.workspace_instance.stopped.v1":
            return Stopped(
                payer=payer,
                instance_id=canonical_uuid(_string(data, "workspace_instance_id")),
                stopped_ms=_required_ms(data, "stopped_time"),
            )
        case "usage.credit_note.issued.v1":
            if time_ms is None:
                raise LineError("a credit note needs the event's time")
            return CreditNote(
                payer=payer,
                cents=-100 * _int32(data, "credits"),
                user_id=_user_id(data),
                effective_ms=time_ms,
                description=_string(data, "description"),
            )
        case _:
            raise LineError(f"unknown type {kind!r}")


def _started(data: dict[str, object], payer: str) -> Started:
    workspace_type = _string(data, "workspace_type") or "regular"
    if workspace_type not in WORKSPACE_TYPES:
        raise LineError(f"unknown workspace type {workspace_type!r}")
    return Started(
        payer=payer,
        instance_id=canonical_uuid(_string(data, "workspace_instance_id")),
        workspace_class=_string(data, "workspace_class") or "default",
        workspace_type=workspace_type,
        user_id=_user_id(data),
        started_ms=_required_ms(data, "started_time"),
        workspace_id=_string(data, "workspace_id"),
        project_id=_string(data, "project_id"),
        creation_ms=_optional_ms(data, "creation_time"),
        context_url=_string(data, "context_url"),
        user_name=_string(data, "user_name"),
        user_avatar_url=_string(data, "user_avatar_url"),
    )


def _user_id(data: dict[str, object]) -> str:
    text = _string(data, "user_id")
    return canonical_uuid(text) if text else ""


def _json_object(line: bytes) -> dict[str, object]:
    if len(line) > EVENT_BYTES_MAX:
        raise LineError("event over 256 KiB")
    try:
        envelope = json.loads(
            line.decode("utf-8"), object_pairs_hook=_no_twins, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise LineError(f"not JSON: {error}") from error
    if not isinstance(envelope, dict):
        raise LineError("not a JSON object")
    return envelope


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return read


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _json_content_type(text: object) -> None:
    if text is None:
        return
    if not isinstance(text, str) or text.split(";")[0].strip().lower() != "application/json":
        raise LineError("datacontenttype must be application/json")


def _checked(name: str, text: object) -> str:
    if not isinstance(text, str):
        raise LineError(f"{name} must be a string")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise LineError(f"{name} holds half a surrogate pair") from error
    if size > STRING_BYTES_MAX:
        raise LineError(f"{name} over 4096 bytes")
    return text


def _attribute(envelope: dict[str, object], name: str) -> str:
    text = _checked(name, envelope.get(name, ""))
    if not text:
        raise LineError(f"{name} is missing")
    return text


def _field(data: dict[str, object], name: str) -> object:
    """The value under the field's JSON name or its proto name; None if unset or null."""
    first, *others = name.split("_")
    json_name = first + "".join(part.capitalize() for part in others)
    if json_name != name and json_name in data and name in data:
        raise LineError(f"{name} stands in both spellings")
    return data.get(json_name, data.get(name))


def _string(data: dict[str, object], name: str) -> str:
    text = _field(data, name)
    return "" if text is None else _checked(name, text)


def _optional_ms(data: dict[str, object], name: str) -> int | None:
    text = _field(data, name)
    return None if text is None else cut_to_ms(instant(_checked(name, text)))


def _required_ms(data: dict[str, object], name: str) -> int:
    at_ms = _optional_ms(data, name)
    if at_ms is None:
        raise LineError(f"{name} is missing")
    return at_ms


def _int32(data: dict[str, object], name: str) -> int:
    match _field(data, name):
        case None:
            return 0
        case bool():
            raise LineError(f"{name} must be a number")
        case int(number):
            pass
        case float(number) if number.is_integer():
            pass
        case str(text) if re.fullmatch("-?[0-9]{1,10}", text):
            number = int(text)
        case _:
            raise LineError(f"{name} must be a whole number")
    if not INT32_MIN <= number <= INT32_MAX:
        raise LineError(f"{name} does not fit in 32 bits")
    return int(number)
