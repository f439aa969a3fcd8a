"""IDs as the contract's section 1 spells them."""

import re

_HEX = "[0-9a-fA-F]"
_HYPHENATED = f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"
_UUID = re.compile(f"(?:{_HYPHENATED}|{_HEX}{{32}}|\\{{{_HYPHENATED}\\}})")


def canonical_uuid(text: str) -> str:
    """Lower case with hyphens; ValueError if it is no UUID."""
    if _UUID.fullmatch(text) is None:
        raise ValueError(f"not a UUID: {text!r}")
    digits = text.strip("{}").replace("-", "").lower()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def canonical_payer(text: str) -> str:
    """The one spelling of an attribution ID; ValueError if it is none."""
    parts = text.split(":")
    if len(parts) != 2 or parts[0] != "team":
        raise ValueError(f"not an attribution ID: {text!r}")
    return f"team:{canonical_uuid(parts[1])}"
