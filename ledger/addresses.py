"""Hosts and ports. Imports nothing heavy, for the command line asks here, too."""

from __future__ import annotations

import ipaddress


def host_and_port(at: str) -> tuple[str, int]:
    """Cut HOST:PORT; the host loses its brackets."""
    host, _, port = at.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine is reached under a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name may stand for any address, so it is taken for the widest
