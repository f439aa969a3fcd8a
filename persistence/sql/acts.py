"""What operators did beside the log, by SQL."""

from __future__ import annotations

from persistence.acts import ACTS_SHOWN, Act
from persistence.sql.rows import storable
from persistence.sql.session import Session, listed

SHOWN = f"SELECT {listed(Act._fields)} FROM acts ORDER BY number DESC LIMIT {ACTS_SHOWN}"
ADD = f"INSERT INTO acts ({listed(Act._fields)}) VALUES (?, ?, ?, ?)"


def add_act(session: Session, act: Act) -> None:
    """Write down what is done in the same transaction."""
    done_at, *texts = act
    session.change(ADD, (done_at, *map(storable, texts)))
