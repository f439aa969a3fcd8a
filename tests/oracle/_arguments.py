"""IDs in calls: one spelling, or INVALID_ARGUMENT."""

from ._ids import canonical_payer, canonical_uuid
from .refused import CallError


def payer_argument(text: str) -> str:
    try:
        return canonical_payer(text)
    except ValueError as error:
        raise CallError("INVALID_ARGUMENT", "attribution_id") from error


def uuid_argument(text: str, name: str) -> str:
    try:
        return canonical_uuid(text) if text else ""
    except ValueError as error:
        raise CallError("INVALID_ARGUMENT", name) from error
