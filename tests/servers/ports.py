"""Ports for servers that are told theirs before they start."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

# Below those that the system gives to clients: it would give one of them away between its choice
# and its use, or while a server restarts, and a client that looks for the server could even be
# given the very port and meet itself.
PORTS = range(10_000, 30_000)


def free_ports(count: int) -> list[int]:
    """Find ports of the loopback address that nobody listens on."""
    found: set[int] = set()
    while len(found) < count:
        port = secrets.choice(PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.add(port)
    return list(found)
