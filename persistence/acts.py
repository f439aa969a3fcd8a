"""What operators did beside the log: it moves no number, so it is no event, and has an author."""

from __future__ import annotations

from typing import NamedTuple

ACTS_SHOWN = 20  # of each shard


class Act(NamedTuple):
    """Something that an operator did."""

    done_at: int  # ms
    author: str
    what: str  # named as its command is
    detail: str  # to what; never a personal text
