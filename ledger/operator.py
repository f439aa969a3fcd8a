"""Who gives a command on this machine."""

from __future__ import annotations

import getpass


def operator() -> str:
    """Name the user as the author of what a command changes."""
    try:
        return f"local:{getpass.getuser()}"
    except (KeyError, OSError):  # a user id without a name, as in a container
        return "local:unknown"
