"""The application: one place that wires everything, and the use cases."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import getpass
import logging
from collections.abc import Callable, Sequence

from events import UnreadableEventError
from ledger import commands
from ledger.arrivals import RejectedError
from ledger.clock import Clock, SystemClock
from ledger.commands.cost_centers import Opening, Terms, resets_held
from ledger.commands.credit_notes import CreditNote
from ledger.commands.imports import Importing
from ledger.core import Core, Work
from ledger.directory import Directory, NoDirectory, directory_of
from ledger.errors import StartRefusedError, UnavailableError
from ledger.free_credit import EmailHmac, claims_for, load_key
from ledger.group import Group
from ledger.intake import Batch, Receipt, Reject, decide_event, retry, take
from ledger.job_plan import JobPlan
from ledger.messages import parser_of
from ledger.queries import Queries
from ledger.settings import Settings
from ledger.writer import Writer
from persistence import StoreRefusedError, StoreUnavailableError
from persistence.sqlite import SQLiteReader, SQLiteStore

RESETS_AT_ONCE = 200  # cost centers handed to the writer together by one reset run
EXPIRED_AT_ONCE = 1_000  # dead letters forgotten in one transaction
KEY_FILE = "free-credit.key"
CALL_PREFIX = "call:"  # of the delivery names of publishing calls that name no source themselves
CALLS_KEPT = 10_000  # publishing calls whose counts are kept one by one
IMPORT_PREFIX = "import:"  # of the delivery names of imports: a retry must know the source

log = logging.getLogger(__name__)


class Ledger:
    """A running ledger. Coroutines run on one event loop; the writer has a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        directory: Directory | None = None,
        before_fold: Callable[[str], None] | None = None,
        failpoint: Callable[[str], None] = lambda _name: None,
    ) -> None:
        """Open the store and bring it up to date; StartRefusedError says what to change."""
        self.settings = settings
        self.clock = clock or SystemClock()
        self.operator = _operator()
        self.jobs: Sequence[JobPlan] = ()
        self._directory = directory or directory_of(settings.directory)
        in_memory = settings.store == "memory"
        try:
            self._store = SQLiteStore(
                None if in_memory else settings.data_dir,
                synchronous=settings.sqlite.synchronous,
            )
        except StoreRefusedError as error:
            raise StartRefusedError(str(error)) from error
        try:
            key_file = settings.free_credit_key_file or settings.data_dir / "secrets" / KEY_FILE
            self._email_hmac = EmailHmac(
                bytes(32) if in_memory and not settings.free_credit_key_file else load_key(key_file)
            )
            self.core = Core(self._store, self.clock, before_fold=before_fold, failpoint=failpoint)
            publish_configured_prices(self.core, settings, author=self.operator)
            self.queries = self.new_queries()
        except UnreadableEventError as error:
            self._store.close()
            raise StartRefusedError(f"the log of {settings.data_dir}: {error}") from error
        except StoreUnavailableError as error:
            self._store.close()
            raise StartRefusedError(
                f"data directory {settings.data_dir} cannot be written: {error}; free space or name"
                " another one"
            ) from error
        except BaseException:
            self._store.close()
            raise
        self._appended: set[asyncio.Event] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.writer = Writer(self.core, on_append=self._wake_tails)

    def start(self) -> None:
        """Start the writer; call it on the event loop."""
        self._loop = asyncio.get_running_loop()
        self.writer.start()

    def close(self) -> None:
        """Finish what was submitted and close the store."""
        self.writer.stop()
        self.queries.reader.close()
        self.core.failpoint("before-close")
        self._store.checkpoint()
        self._store.close()

    def new_queries(self) -> Queries:
        """Give queries on a connection of their own, for a thread."""
        return Queries(SQLiteReader(self._store), self.clock, lambda: self.core.paused)

    # Following the log -------------------------------------------------------------------------

    def _wake_tails(self, _head: int) -> None:
        if self._appended and self._loop is not None:
            self._loop.call_soon_threadsafe(self._set_tails)

    def _set_tails(self) -> None:
        for event in self._appended:
            event.set()

    async def appended(self, event: asyncio.Event) -> None:
        """Wait until something was appended after `event` was last cleared."""
        self._appended.add(event)
        try:
            await event.wait()
        finally:
            self._appended.discard(event)

    # Use cases that write ----------------------------------------------------------------------

    async def publish(self, read: Callable[[], Batch], author: str) -> Receipt:
        """Take published events in; the writer reads the lines."""
        return await self._bulk(lambda group: take(group, read()), author)

    async def import_lines(self, read: Callable[[], Batch], source: str, author: str) -> Receipt:
        """Take over lines of another ledger's state; the writer reads them."""
        importing = self._importing(source)

        def act(group: Group) -> Receipt:
            receipt = commands.take_import(group, read(), importing)
            group.context.failpoint("in-import")
            return receipt

        return await self._bulk(act, author)

    async def _bulk(self, act: Callable[[Group], Receipt], author: str) -> Receipt:
        receipt: Receipt = await self.writer.bulk(act, author)
        return receipt

    def _importing(self, source: str) -> Importing:
        limits = self.settings.default_spending_limit
        return Importing(source, limits.for_users, self._email_hmac)

    async def add_credit_note(self, note: CreditNote, author: str) -> None:
        """Record a credit note."""
        await self.writer.command(lambda group: commands.add_credit_note(group, note), author)

    async def reconcile_usage(self, from_time: int, to_time: int, author: str) -> None:
        """Accrue everything that runs to now."""
        interval = self.settings.ledger_interval

        def act(group: Group) -> None:
            commands.reconcile_usage(
                group, from_time=from_time, to_time=to_time, ledger_interval_ms=interval
            )

        await self.writer.command(act, author)

    async def _opening(self, payer: bytes) -> Opening:
        """Ask the directory, before any write, what a new cost center gets."""
        limits = self.settings.default_spending_limit
        claims: list[str] = []
        if not isinstance(self._directory, NoDirectory):
            claims = await asyncio.to_thread(claims_for, self._directory, self._email_hmac, payer)
        return Opening(limits.for_teams, limits.for_users, claims)

    async def get_cost_center(self, payer: bytes, author: str) -> Terms:
        """Give a cost center, opened on the first read and reset when its cycle has ended."""
        self.queries.refuse_if_paused("cost-centers")
        row = self.queries.reader.cost_center(payer)
        if row is not None and (row.strategy == "stripe" or row.next_billing > self.queries.now()):
            return Terms(
                payer,
                row.spending_limit,
                row.strategy,
                row.cycle_start,
                row.next_billing,
                row.cycle_number,
            )
        opening = Opening(0, 0) if row is not None else await self._opening(payer)
        terms: Terms = await self.writer.command(
            lambda group: commands.open_cost_center(group, payer, opening), author
        )
        return terms

    async def set_cost_center(
        self, payer: bytes, *, spending_limit: int, strategy: str, author: str
    ) -> Terms:
        """Set limit and strategy."""
        if self.queries.reader.cost_center(payer) is None:
            opening = await self._opening(payer)
        else:
            limits = self.settings.default_spending_limit
            opening = Opening(limits.for_teams, limits.for_users)
        terms: Terms = await self.writer.command(
            lambda group: commands.set_cost_center(
                group, payer, spending_limit=spending_limit, strategy=strategy, opening=opening
            ),
            author,
        )
        return terms

    async def reset_usage(self, author: str) -> tuple[int, int]:
        """Reset every cost center whose cycle has ended.

        Give how many were reset and how many failed.
        """
        done = failed = 0
        after = b""
        while True:
            due: list[bytes] = await self.writer.command(
                functools.partial(commands.due_cost_centers, after=after, limit=RESETS_AT_ONCE),
                author,
            )
            if not due:
                return done, failed
            after = due[-1]
            outcomes = await asyncio.gather(
                *[self._reset(payer, author) for payer in due], return_exceptions=True
            )
            for outcome in outcomes:
                if isinstance(outcome, UnavailableError):
                    raise outcome
                if isinstance(outcome, BaseException):
                    failed += 1
                    log.error("a cost center could not be reset", exc_info=outcome)
                else:
                    done += bool(outcome)

    async def _reset(self, payer: bytes, author: str) -> bool:
        def act(group: Group) -> bool:
            done = commands.reset_cost_center(group, payer)
            group.context.failpoint("in-reset")
            return done

        reset: bool = await self.writer.command(act, author)
        return reset

    async def confirm_clock(self, author: str) -> None:
        """Record that the clock is right, so that resets go on."""
        await self.writer.command(commands.confirm_clock, author)

    async def end_instance(self, instance_id: str, at: int, reason: str, author: str) -> None:
        """End an instance, or correct when it ended."""
        await self.writer.command(
            lambda group: commands.end_instance(group, instance_id, at, reason), author
        )

    async def retry_dead_letter(self, letter_id: int, author: str) -> str | Reject | None:
        """Try a dead letter again.

        "" when recorded, "repeated", a reject, or None if there is none.
        """

        def act(group: Group) -> str | Reject | None:
            letter = group.transaction.dead_letter(letter_id)
            if letter is None:
                return None

            def decide(original: bytes) -> str:
                if letter.kind == "import":
                    source = group.transaction.delivery_name(letter.delivery)
                    return commands.decide_import(
                        group, original, self._importing(source.removeprefix(IMPORT_PREFIX))
                    )
                return decide_event(group, original, parser_of(letter.kind))

            try:
                return retry(group, letter, decide)
            except RejectedError as error:
                return Reject(letter.line, str(error), letter.id)

        outcome: str | Reject | None = await self.writer.command(act, author)
        return outcome

    async def forget_expired_dead_letters(self, author: str) -> int:
        """Forget dead letters older than their retention; the counts stay.

        Not while the clock may have leapt: what is forgotten by a wrong clock is gone.
        """
        before = self.queries.now() - self.settings.dead_letters.retention

        def act(group: Group) -> int:
            if resets_held(group.transaction.rows.clock(), group.now):
                return 0
            ids = group.transaction.expired_dead_letters(before, EXPIRED_AT_ONCE)
            group.transaction.remove_dead_letters(ids)
            return len(ids)

        forgotten = 0
        while count := await self.writer.command(act, author):
            forgotten += count
        return forgotten

    async def merge_old_calls(self, author: str) -> int:
        """Keep counts of the newest publishing calls one by one, of older ones as a sum."""

        def act(group: Group) -> int:
            merged = group.transaction.merge_deliveries(
                prefix=CALL_PREFIX, into=CALL_PREFIX + "older", keep=CALLS_KEPT
            )
            group.caches.deliveries.clear()  # a call that still goes on gets a new row
            return merged

        merged: int = await self.writer.command(act, author)
        return merged

    async def job_ran(self, name: str, *, started: int, finished: int | None, error: str) -> None:
        """Keep when a job last ran."""

        def act(group: Group) -> None:
            group.transaction.job_ran(name, started=started, finished=finished, error=error)

        await self.writer.command(act, self.operator)


def publish_configured_prices(core: Core, settings: Settings, *, author: str) -> None:
    """Record the configured price list if its revision is new.

    StartRefusedError if it conflicts.
    """
    prices = settings.prices
    since = prices.effective_from

    def act(group: Group) -> str:
        return commands.publish_prices(
            group,
            revision=prices.revision,
            rates=prices.credits_per_minute,
            in_force_from=None if since is None else _ms(since),
        )

    work = Work(act, author)
    core.run([work])
    if work.error is not None:
        raise work.error
    if work.result:
        log.warning(work.result)


def _operator() -> str:
    try:
        return f"local:{getpass.getuser()}"
    except (KeyError, OSError):  # a user id without a name, as in a container
        return "local:unknown"


def _ms(moment: dt.datetime) -> int:
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)
