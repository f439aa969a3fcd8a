"""Events over HTTP, as services send them."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.harness import InProcessService

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
NDJSON = "application/x-ndjson"
PAYER = "team:7f7e0b2c-93a4-4d0a-9d5e-0c7f3f5b1a11"


def note(number: int, credits: int = 1, **attributes: Any) -> dict[str, Any]:
    """Give a credit note as a structured event; its number is its id."""
    return {
        "specversion": "1.0",
        "id": f"note-{number}",
        "source": "/tests",
        "type": "usage.credit_note.issued.v1",
        "time": "2026-11-01T08:00:00Z",
        "datacontenttype": "application/json",
        "data": {"attributionId": PAYER, "credits": credits},
        **attributes,
    }


def encoded(value: Any) -> bytes:
    """Write JSON."""
    return json.dumps(value).encode()


def address(service: InProcessService, path: str = "/events") -> str:
    """Give the address of a service's path."""
    assert service.service.http is not None
    return f"http://127.0.0.1:{service.service.http.port}{path}"


def post(
    service: InProcessService, body: Any, content_type: str = STRUCTURED, **headers: str
) -> httpx.Response:
    """Post events; headers have underscores for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type:
        named["content-type"] = content_type
    return httpx.post(address(service), content=body, headers=named, timeout=60)


def counts(response: httpx.Response) -> tuple[int, int, int, int]:
    """Give received, recorded, repeated and rejected of a receipt."""
    assert 200 == response.status_code, response.text
    receipt = response.json()
    names = ("received", "recorded", "repeated", "rejected")
    return tuple(receipt[name] for name in names)
