"""A writer's transaction but for the append: intake, positions, placement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from persistence.acts import Act
from persistence.billing import BillingRun, Webhook
from persistence.erasures import Personal
from persistence.errors import PositionMovedError
from persistence.generations import clocks_tail
from persistence.sql.acts import add_act
from persistence.sql.billing import SqlBillingReads, add_webhook
from persistence.sql.erasures import SqlErasureWrites
from persistence.sql.generations import READ_MODEL
from persistence.sql.live import SqlLiveRows
from persistence.sql.packs import SqlPackRows
from persistence.sql.rows import SqlRows, storable
from persistence.sql.sealed import SqlSealedRows
from persistence.sql.session import Session, listed
from persistence.sql.tables import SEALED_TABLES
from persistence.sql.tree import SqlTreeRows
from persistence.sql.troubles import PUT_RUN, PUT_TROUBLE
from persistence.store import (
    Counts,
    DeadLetter,
    EventKey,
    Inboxed,
    SourceKey,
    StreamEvent,
)
from projections import VERSION, OtherEntry, Pause

LOG_COLUMNS = ("position", "originator_id", "originator_version", "topic", "state")

NEWEST_VERSION = (
    "SELECT coalesce(max(originator_version), 0) FROM stored_events WHERE originator_id = ?"
)

_ALL = 2**62  # more rows than a table has: PostgreSQL and SQLite spell "no limit" differently
_LETTER = DeadLetter._fields
_INTAKE_KEY = "cluster = ? AND topic_id = ? AND partition = ?"


class SqlTransaction(SqlBillingReads, SqlErasureWrites):
    """Implements what `persistence.Transaction` asks for beside the append."""

    def __init__(self, session: Session) -> None:
        """Take the session of a transaction that has begun."""
        self._session = session
        self._all = session.all
        self._one = session.one
        self._change = session.change
        self.rows = SqlRows(session)
        self.positions = self.rows
        self.live = SqlLiveRows(session)
        self.tree = SqlTreeRows(session)
        self.sealed = SqlSealedRows(session)
        self.packs = SqlPackRows(session)

    @property
    def _select(self) -> Callable[[str, Sequence[Any]], list[Any]]:
        return self._all

    def standing(self) -> tuple[dict[str, int], dict[str, Pause]]:
        """Give where each projection stands, and which are paused."""
        standing: dict[str, int] = {}
        paused: dict[str, Pause] = {}
        for name, position, paused_at, reason in self._all(
            "SELECT name, position, paused_at, paused_reason FROM projections ORDER BY name"
        ):
            standing[name] = position
            if paused_at is not None:
                paused[name] = Pause(paused_at, reason)
        return standing, paused

    def add_act(self, act: Act) -> None:
        """Write down what an operator does beside the log."""
        add_act(self._session, act)

    def outdated(self) -> list[str]:
        """Name the projections that another version of the folds has filled."""
        rows = self._all("SELECT name FROM projections WHERE version <> ?", (VERSION,))
        return [row[0] for row in rows]

    def streams(self, ids: Sequence[str]) -> dict[str, list[StreamEvent]]:
        """Load whole streams, each in order; streams without events are left out."""
        found: dict[str, list[StreamEvent]] = {}
        statement = (
            f"SELECT {listed(LOG_COLUMNS)} FROM stored_events WHERE originator_id {{among}}"
            " ORDER BY originator_id, originator_version"
        )
        for row in self._session.among(statement, ids):
            event = StreamEvent(*row)
            found.setdefault(event.stream, []).append(event)
        return found

    def log(self, *, after: int, limit: int) -> list[StreamEvent]:
        """Read the log in order."""
        rows = self._all(
            f"SELECT {listed(LOG_COLUMNS)} FROM stored_events"
            " WHERE position > ? ORDER BY position LIMIT ?",
            (after, limit),
        )
        return [StreamEvent(*row) for row in rows]

    def version(self, stream: str) -> int:
        """Give the version of a stream's newest event; 0 without events."""
        version: int = self._one(NEWEST_VERSION, (stream,))[0]
        return version

    def resume_projections(self, paused: str) -> None:
        """End the pause of the projections that are paused for this reason."""
        self._change(
            "UPDATE projections SET paused_at = NULL, paused_reason = NULL WHERE paused_reason = ?",
            (paused,),
        )

    @property
    def generation(self) -> int:
        """Give the generation that is read and written."""
        return self._session.generation

    def clear_read_model(self, paused: str) -> None:
        """Empty the generation that is served; with a reason its projections are paused."""
        # First: a follower that has just moved it is waited for, and one that comes later finds
        # nothing where it stood.
        self._change("DELETE FROM tails WHERE name = ?", (clocks_tail(self.generation),))
        for table in (*READ_MODEL, *SEALED_TABLES):
            # Not TRUNCATE: who reads an older state would suddenly see nothing.
            self._change(f"DELETE FROM {table}")
        self._change(
            "UPDATE projections SET position = 0, paused_at = ?, paused_reason = ?, version = ?",
            (0 if paused else None, paused or None, VERSION),
        )
        # What is folded from now on fills every column.
        self._change("UPDATE generations SET structure = NULL WHERE number = ?", (self.generation,))

    # Intake ------------------------------------------------------------------------------------

    def source_number(self, source: str) -> int:
        """Give the number of a source, a new one if it is new."""
        return self._number("sources", "number", "source", source)

    def delivery(self, name: str) -> int:
        """Give the number of a source of delivery, a new one if it is new."""
        return self._number("deliveries", "id", "name", storable(name))

    def delivery_name(self, number: int) -> str:
        """Give the name of a source of delivery."""
        name: str = self._one("SELECT name FROM deliveries WHERE id = ?", (number,))[0]
        return name

    def _number(self, table: str, number: str, column: str, value: str) -> int:
        find = f"SELECT {number} FROM {table} WHERE {column} = ?"
        row = self._one(find, (value,))
        if row is None:
            # Whoever holds no append lock may meet another who adds the same at the same time.
            row = self._one(
                f"INSERT INTO {table} ({column}) VALUES (?) ON CONFLICT DO NOTHING"
                f" RETURNING {number}",
                (value,),
            ) or self._one(find, (value,))
        found: int = row[0]
        return found

    def inbox(self, keys: Sequence[EventKey]) -> dict[EventKey, Inboxed]:
        """Find recorded events by source and id."""
        found: dict[EventKey, Inboxed] = {}
        by_source: dict[int, list[bytes]] = {}
        for source, key in keys:
            by_source.setdefault(source, []).append(key)
        statement = (
            "SELECT event_key, digest, position FROM inbox WHERE source = ? AND event_key {among}"
        )
        for source, event_keys in by_source.items():
            for key, digest, position in self._session.among(statement, event_keys, (source,)):
                found[source, key] = Inboxed(digest, position)
        return found

    def add_inbox(self, rows: Iterable[tuple[int, bytes, bytes, int]]) -> None:
        """Keep (source, event key, digest, position) of recorded events."""
        columns = ("source", "event_key", "digest", "position")
        self._session.insert("inbox", columns, list(rows))

    def add_personal(self, rows: Iterable[Personal]) -> None:
        """Keep personal rows."""
        self._session.insert("personal", Personal._fields, list(rows))

    def personal(self, position: int) -> Personal | None:
        """Load a personal row; None once erased."""
        row = self._one("SELECT * FROM personal WHERE position = ?", (position,))
        kept = Personal(*row) if row else None
        return None if kept is None or kept.erased_by else kept

    def count(self, delivery: int, counts: Counts) -> None:
        """Add to the counts of a source of delivery (moves between counts may be negative)."""
        self._change(
            "UPDATE deliveries SET received = received + ?, recorded = recorded + ?,"
            " repeated = repeated + ?, rejected = rejected + ? WHERE id = ?",
            (*counts, delivery),
        )

    def merge_deliveries(self, *, prefix: str, into: str, keep: int) -> int:
        """Add up all but the newest sources of delivery with a prefix; give how many."""
        rows = self._all(
            "SELECT id FROM deliveries WHERE name >= ? AND name < ? AND name <> ?"
            " ORDER BY id DESC LIMIT ? OFFSET ?",
            (prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1), into, _ALL, keep),
        )
        if not rows:
            return 0
        old = [row[0] for row in rows]
        merged = self.delivery(into)
        total = Counts()
        summed = "SELECT received, recorded, repeated, rejected FROM deliveries WHERE id {among}"
        for counts in self._session.among(summed, old):
            total = total.plus(Counts(*counts))
        self.count(merged, total)
        moved = [
            (letter, merged)
            for (letter,) in self._session.among(
                "SELECT id FROM dead_letters WHERE delivery {among}", old
            )
        ]
        self._session.update("dead_letters", ("id",), ("delivery",), moved)
        self._session.remove("deliveries", ("id",), rows)
        return len(old)

    # Dead letters ------------------------------------------------------------------------------

    def dead_letters(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        """Find the ids of dead letters by the digest of their bytes."""
        statement = "SELECT digest, id FROM dead_letters WHERE digest {among}"
        return dict(self._session.among(statement, digests))

    def dead_letter(self, letter_id: int) -> DeadLetter | None:
        """Load one dead letter."""
        row = self._one("SELECT * FROM dead_letters WHERE id = ?", (letter_id,))
        return DeadLetter(*row) if row else None

    def add_dead_letter(self, letter: DeadLetter) -> int:
        """Keep a rejected line; its id is given by the store."""
        columns = _LETTER[1:]
        added: int = self._one(
            f"INSERT INTO dead_letters ({listed(columns)})"
            f" VALUES ({', '.join('?' * len(columns))}) RETURNING id",
            letter._replace(reason=storable(letter.reason))[1:],
        )[0]
        return added

    def dead_letter_repeated(self, ids: Iterable[int], now: int) -> None:
        """Raise the counters of dead letters whose bytes came again."""
        self._session.update(
            "dead_letters",
            ("id",),
            ("times", "last_rejected"),
            [(letter_id, times, now) for letter_id, times in Counter(ids).items()],
            raised=("times",),
        )

    def dead_letter_reason(self, letter_id: int, reason: str, now: int) -> None:
        """Write today's reason to a dead letter that was retried in vain."""
        self._change(
            "UPDATE dead_letters SET reason = ?, last_rejected = ? WHERE id = ?",
            (storable(reason), now, letter_id),
        )

    def remove_dead_letters(self, ids: Iterable[int]) -> None:
        """Forget dead letters."""
        self._session.remove("dead_letters", ("id",), [(letter_id,) for letter_id in ids])

    def expired_dead_letters(self, before: int, limit: int) -> list[int]:
        """Give ids of dead letters that were last rejected before a time."""
        rows = self._all(
            "SELECT id FROM dead_letters WHERE last_rejected < ? LIMIT ?", (before, limit)
        )
        return [row[0] for row in rows]

    def dead_letters_after(self, letter_id: int, limit: int) -> list[tuple[DeadLetter, str]]:
        """Give dead letters with higher ids, by id, with the names of their deliveries."""
        rows = self._all(
            "SELECT l.*, d.name FROM dead_letters l JOIN deliveries d ON d.id = l.delivery"
            " WHERE l.id > ? ORDER BY l.id LIMIT ?",
            (letter_id, limit),
        )
        return [(DeadLetter(*row[:-1]), row[-1]) for row in rows]

    # Billing, beside the log -------------------------------------------------------------------

    def add_webhook(self, webhook: Webhook) -> bool:
        """Keep what Stripe told; False when its event id is there already."""
        return add_webhook(self._session, webhook)

    def webhook_done(
        self, event_id: str, *, state: str, error: str, now: int, hopeless_since: int = 0
    ) -> None:
        """Count a try and keep what came of it; `waiting` for another try."""
        self._change(
            "UPDATE webhooks SET state = ?, error = ?, tried_at = ?, attempts = attempts + 1,"
            " hopeless_since = ? WHERE event_id = ?",
            (state, storable(error), now, hopeless_since, event_id),
        )

    def add_trouble(self, payer: bytes, reason: str, *, now: int) -> None:
        """Write down that a payer's run failed, and why; since when stays as it is."""
        self._change(PUT_TROUBLE, (payer, storable(reason), now, now))

    def remove_trouble(self, payer: bytes) -> None:
        """Forget a payer's trouble, if there is any."""
        self._change("DELETE FROM billing_troubles WHERE payer = ?", (payer,))

    def put_billing_run(self, run: BillingRun) -> None:
        """Keep how a run went instead of the one before."""
        self._change(PUT_RUN, run._replace(error=storable(run.error)))

    # Decisions and jobs ------------------------------------------------------------------------

    def due_cost_centers(self, now: int, limit: int, after: bytes) -> list[bytes]:
        """Give payers, in order, whose non-Stripe cycle has ended by now."""
        rows = self._all(
            "SELECT payer FROM cost_centers WHERE strategy = 'other' AND next_billing <= ?"
            " AND payer > ? ORDER BY payer LIMIT ?",
            (now, after, limit),
        )
        return [row[0] for row in rows]

    def balance(self, payer: bytes) -> tuple[int, int]:
        """Give (balance in cents, live events) as folded so far."""
        row = self._one(
            "SELECT booked_cents + running_cents, live_events FROM balances WHERE payer = ?",
            (payer,),
        )
        return row or (0, 0)

    def other_entry_of(self, payer: bytes, entry_id: bytes) -> OtherEntry | None:
        """Find an invoice or credit note that counts, by its id, as folded so far."""
        row = self._one(
            f"SELECT {listed(OtherEntry._fields)} FROM other_entries"
            " WHERE payer = ? AND entry_id = ?",
            (payer, entry_id),
        )
        return OtherEntry(*row) if row else None

    def void_of(self, payer: bytes, entry_id: bytes) -> int | None:
        """Give the position of the newest void of an entry, as folded so far."""
        position: int | None = self._one(
            "SELECT max(position) FROM voids WHERE payer = ? AND entry_id = ?", (payer, entry_id)
        )[0]
        return position

    def job_ran(self, name: str, *, started: int, finished: int | None, error: str) -> None:
        """Keep when a job last ran."""
        self._change(
            "INSERT INTO jobs VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
            " last_started = excluded.last_started, last_finished ="
            " coalesce(excluded.last_finished, jobs.last_finished),"
            " last_error = excluded.last_error",
            (name, started, finished, storable(error)),
        )

    # Positions ---------------------------------------------------------------------------------

    def intake_position(self, key: SourceKey) -> int | None:
        """Give the next offset to take of a source; None before the first."""
        row = self._one(f"SELECT position FROM intake_positions WHERE {_INTAKE_KEY}", key)
        return row[0] if row else None

    def advance_intake(
        self, key: SourceKey, *, topic: str, expected: int | None, position: int
    ) -> None:
        """Move by compare-and-set; PositionMovedError when the position is not the expected one."""
        # Compare-and-set, not "greater than": a zombie may hold a batch that begins before our
        # position and ends behind it.
        if expected is None:
            moved = self._change(
                "INSERT INTO intake_positions (cluster, topic_id, partition, topic, position)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (*key, topic, position),
            )
        else:
            moved = self._change(
                "UPDATE intake_positions SET position = ?, topic = ?"
                f" WHERE {_INTAKE_KEY} AND position = ?",
                (position, topic, *key, expected),
            )
        if moved != 1:
            raise PositionMovedError(f"the intake of {key} is not at {expected}")

    def tail_position(self, name: str) -> int:
        """Give where a follower of the log stands; 0 at first."""
        row = self._one("SELECT position FROM tails WHERE name = ?", (name,))
        return row[0] if row else 0

    def advance_tail(self, name: str, *, expected: int, position: int) -> None:
        """Move by compare-and-set; PositionMovedError when the position is not the expected one."""
        if expected == 0:
            self._change(
                "INSERT INTO tails (name, position) VALUES (?, 0) ON CONFLICT DO NOTHING", (name,)
            )
        moved = self._change(
            "UPDATE tails SET position = ? WHERE name = ? AND position = ?",
            (position, name, expected),
        )
        if moved != 1:
            raise PositionMovedError(f"follower {name!r} is not at {expected}")

    def placements(self, payers: Sequence[bytes]) -> dict[bytes, int]:
        """Find the shards of payers; those without one are left out."""
        statement = "SELECT payer, shard FROM placement WHERE payer {among}"
        return dict(self._session.among(statement, payers))

    def place(self, payer_to_shard: Mapping[bytes, int]) -> dict[bytes, int]:
        """Place payers that have no shard; give the shards that are now true."""
        # In one order everywhere: two who place the same payers wait for each other, not in a ring.
        wanted = sorted(payer_to_shard.items())
        self._session.insert("placement", ("payer", "shard"), wanted, missing_only=True)
        return self.placements(list(payer_to_shard))
