"""Telling the database's trouble from our own mistakes.

Trouble passes, or an operator ends it: the connection is lost, the server shuts down, disk or
memory are full, a lock is not given in time, the server became a standby, two transactions met.
Everything else is a mistake of ours: it meets the one command it lies in.
"""

from __future__ import annotations

import psycopg

_CLASSES = (
    "08",  # connection
    "28",  # who we are is not accepted (any more)
    "40",  # rolled back: serialization, deadlock
    "53",  # disk full, out of memory, too many connections
    "57",  # shutting down, starting, cancelled by a timeout or an operator
    "58",  # input and output of the server
    "XX",  # damaged, or an error inside the server
)
_STATES = {
    "25006",  # read-only: it is a standby now
    "25P03",  # idle in a transaction for too long
    "25P04",  # a transaction for too long
    "3D000",  # the database is gone
    "55P03",  # a lock was not given in time
    "55006",  # in use by somebody else
}


def is_trouble(error: BaseException) -> bool:
    """Say whether an error is the database's trouble."""
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:
        # Without a state it comes from the client's side: what is operational there is a lost
        # connection or one that could not be made, in time or at all.
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate[:2] in _CLASSES or error.sqlstate in _STATES
