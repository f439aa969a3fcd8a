"""The application: one place that wires everything, and the use cases."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from events import UnreadableEventError
from ledger import commands
from ledger.audit.erasure import Erasures
from ledger.audit.heads import Heads
from ledger.audit.origins import name_trees
from ledger.clock import Clock, SystemClock, now_ms
from ledger.commands.credit_notes import CreditNote
from ledger.commands.imports import Importing
from ledger.commands.ledger import CLOCK_STREAM, RECONCILED_STREAM
from ledger.core import Core, Work
from ledger.cost_centers import CostCenters
from ledger.dead_letters import DeadLetters
from ledger.directory import Directory, directory_of
from ledger.errors import StartRefusedError
from ledger.facts import complete_facts, spread_facts
from ledger.feeds import Feed
from ledger.free_credit import EmailHmac, load_key
from ledger.group import Group
from ledger.intake import (
    Batch,
    Line,
    Receipt,
    payer_of_line,
    take,
)
from ledger.invoicing import Billing, open_gateway
from ledger.job_plan import JobPlan
from ledger.metrics import Instruments
from ledger.operator import operator
from ledger.placing import Placing, refuse_missing_shards
from ledger.queries import Queries
from ledger.rebuilding.shards import serve_own_version
from ledger.receipts import in_shard, joined
from ledger.settings import Settings
from ledger.shards import Shard, new_holder
from ledger.stores import OpenStore, open_stores
from persistence import BILLING, SourceKey, StoreUnavailableError

if TYPE_CHECKING:
    from billing.gateway import Gateway

KEY_FILE = "free-credit.key"
# A service waits so long at its start to show what was in the log; then it answers that some of it
# is not current.
CURRENT_SECONDS = 30.0
# So long a process tries at its start to write where other processes do, too.
SHARED_START_SECONDS = 30.0
START_AGAIN_SECONDS = 0.5
CALL_PREFIX = "call:"  # of the delivery names of publishing calls that name no source themselves
HTTP_PREFIX = "http:"  # ... and of connections over HTTP that name none
ROLES_THAT_BILL = frozenset({"serve", "jobs"})
CALLS_KEPT = 10_000  # of each of these, whose counts are kept one by one

T = TypeVar("T")
TakeLines = Callable[[Group, Batch], Receipt]

log = logging.getLogger(__name__)


class Ledger:
    """A running ledger over one or more shards. Coroutines run on one event loop."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        directory: Directory | None = None,
        gateway: Gateway | None = None,
        before_fold: Callable[[str], None] | None = None,
        failpoint: Callable[[str], None] = lambda _name: None,
        instruments: Instruments | None = None,
        role: str = "serve",
        projects: bool = True,
    ) -> None:
        """Open the stores and bring them up to date; StartRefusedError says what to change.

        `projects`: whether this process folds a shared store, too.
        """
        self.settings = settings
        self.clock = clock or SystemClock()
        self.operator = operator()
        self.jobs: Sequence[JobPlan] = ()
        self.loop: asyncio.AbstractEventLoop
        directory = directory or directory_of(settings.directory)
        self.cost_centers = CostCenters(self, directory)
        self.dead_letters = DeadLetters(self)
        self.erasures = Erasures(self)
        self.failpoint = failpoint
        self.instruments = instruments or Instruments()
        if gateway is None and role in ROLES_THAT_BILL:
            gateway = open_gateway(settings.stripe)
        self.billing = None if gateway is None else Billing(self, gateway, directory)
        self._email_hmac: EmailHmac | None = None
        self.shards: list[Shard] = []
        holder = new_holder()
        opened = open_stores(settings, role)
        try:
            serve_own_version(settings, opened, author=self.operator, failpoint=failpoint)
            if settings.store != "postgres":
                self.email_hmac()  # refused early where one machine has it
            for number, each in enumerate(opened):
                self.shards.append(
                    Shard(
                        number,
                        each,
                        self.clock,
                        holder=holder,
                        projects=projects,
                        before_fold=before_fold,
                        failpoint=failpoint,
                        instruments=self.instruments,
                    )
                )
            refuse_missing_shards(self.shards)
            if self.billing is not None:
                self._refuse_unfinished()
            self._bring_up_to_date()
        except UnreadableEventError as error:
            self._give_up(opened)
            raise StartRefusedError(f"the log of {_place(settings)}: {error}") from error
        except StoreUnavailableError as error:
            self._give_up(opened)
            raise StartRefusedError(_not_writable(settings, error)) from error
        except BaseException:
            self._give_up(opened)
            raise
        self.placing = Placing(self.shards, settings.open_shards)
        self.heads = Heads(self.shards, settings, self.clock)

    def _refuse_unfinished(self) -> None:
        """Write no event of billing while a role may run that cannot read it."""
        for shard in self.shards:
            if shard.core.store.finished_schema() < BILLING:
                raise StartRefusedError(
                    "stripe.secret_key_file is set, but migrations are not finished: run"
                    " `usage-ledger migrate --finish` once every role is of this version"
                )

    def _bring_up_to_date(self) -> None:
        """Record the configured prices and complete every shard's facts.

        Where others append, too, one of them may hold the lock longer than a start should fail
        for: a process that hangs, a database that starts.
        """
        deadline = time.monotonic() + SHARED_START_SECONDS
        while True:
            try:
                publish_configured_prices(self.shards[0].core, self.settings, author=self.operator)
                complete_facts(self.shards, self.operator)
                name_trees(self.shards)
            except StoreUnavailableError as error:
                if not self.shards[0].core.store.is_shared or time.monotonic() > deadline:
                    raise
                log.warning("waiting at the start: %s", error)
                time.sleep(START_AGAIN_SECONDS)
            else:
                return

    def _give_up(self, opened: Sequence[OpenStore]) -> None:
        """Leave a refused ledger as it was found: an open connection has files beside it."""
        for shard in self.shards:
            shard.queries.reader.close()
        for each in opened:
            each.store.close()

    def start(self) -> None:
        """Start the threads; call it on the event loop."""
        self.loop = asyncio.get_running_loop()
        for shard in self.shards:
            shard.start()

    async def until_current(self) -> None:
        """Return when reads show what was in the logs at the start, if this process folds them."""
        for shard in self.shards:
            await shard.until_current(CURRENT_SECONDS)

    def close(self) -> None:
        """Finish what was submitted and close the stores."""
        for shard in self.shards:
            shard.close()

    def now(self) -> int:
        """Give the time in ms."""
        return now_ms(self.clock)

    @property
    def refused(self) -> str:
        """Say why nothing can be stored; empty while it can."""
        return next((shard.refused for shard in self.shards if shard.refused), "")

    async def read(self, payer: bytes, ask: Callable[[Queries], T]) -> T:
        """Ask the shard of a payer."""
        return await (await self.placing.find(payer)).read(ask)

    async def read_all(self, ask: Callable[[Queries], T]) -> list[T]:
        """Ask every shard; answers in the order of the shards."""
        return [await shard.read(ask) for shard in self.shards]

    def feed(self, source: SourceKey, topic: str) -> Feed:
        """Open the way in of a partition."""
        return Feed(self, source, topic)

    def email_hmac(self) -> EmailHmac:
        """Give what names e-mail addresses; its key is read, or made, when it is first needed."""
        if self._email_hmac is None:
            settings = self.settings
            if settings.store == "memory" and not settings.free_credit_key_file:
                self._email_hmac = EmailHmac(bytes(32))
            else:
                self._email_hmac = EmailHmac(load_key(settings.free_credit_key_path))
        return self._email_hmac

    # Use cases that write ----------------------------------------------------------------------

    async def publish(self, read: Callable[[], Batch], author: str) -> Receipt:
        """Take published events in; with one shard the writer reads the lines."""
        if len(self.shards) == 1:
            return await self._bulk(0, lambda group: take(group, read()), author)
        return await self._spread(await asyncio.to_thread(read), payer_of_line, take, author)

    async def import_lines(self, read: Callable[[], Batch], source: str, author: str) -> Receipt:
        """Take over lines of another ledger's state; the writer reads them."""
        importing = self.importing(source)

        def take_lines(group: Group, batch: Batch) -> Receipt:
            receipt = commands.take_import(group, batch, importing)
            group.context.failpoint("in-import")
            return receipt

        await self._nearly_folded()
        if len(self.shards) == 1:
            return await self._bulk(0, lambda group: take_lines(group, read()), author)
        batch = await asyncio.to_thread(read)
        receipt = await self._spread(batch, commands.payer_of_import, take_lines, author)
        await self._claim_elsewhere(batch, importing, author)
        return receipt

    async def _bulk(self, number: int, act: Callable[[Group], Receipt], author: str) -> Receipt:
        receipt: Receipt = await self.shards[number].bulk(act, author)
        return in_shard(receipt, number)

    async def _spread(
        self,
        batch: Batch,
        payer_of: Callable[[Line], bytes | None],
        take_lines: TakeLines,
        author: str,
    ) -> Receipt:
        """Split a batch by the shards of its payers; what has no payer goes to the first one."""
        payers = {payer_of(line) for line in batch.lines} - {None}
        placed = await self.placing.place(payer for payer in payers if payer is not None)
        parts: dict[int, list[Line]] = {}
        for line in batch.lines:
            payer = payer_of(line)
            parts.setdefault(0 if payer is None else placed[payer], []).append(line)

        async def take_part(number: int, lines: list[Line]) -> Receipt:
            part = Batch(batch.delivery, lines)
            return await self._bulk(number, lambda group: take_lines(group, part), author)

        shares = sorted(parts.items()) or [(0, [])]
        return joined(await asyncio.gather(*[take_part(*share) for share in shares]))

    async def _claim_elsewhere(self, batch: Batch, importing: Importing, author: str) -> None:
        """Claim what imported cost centers brought, in the first shard.

        Also for lines that repeat: a crash may have come between a cost center and its claim.
        """
        for payer in commands.payers_with_free_credit(batch, importing):
            shard = await self.placing.find(payer)
            if shard.number == 0:
                continue
            ask = functools.partial(_claims_of_first_member, payer=payer)
            claims = await shard.read(ask)
            await self.shards[0].command(
                functools.partial(commands.claim_unclaimed, payer=payer, claims=claims), author
            )

    async def _nearly_folded(self) -> None:
        for shard in self.shards:
            await shard.nearly_folded()

    def importing(self, source: str) -> Importing:
        """Give what an import needs to know beside its lines."""
        limits = self.settings.default_spending_limit
        return Importing(source, limits.for_users, self.email_hmac())

    async def add_credit_note(self, note: CreditNote, author: str) -> None:
        """Record a credit note."""
        shard = await self.placing.place_one(note.payer)
        await shard.command(lambda group: commands.add_credit_note(group, note), author)

    async def reconcile_usage(self, from_time: int, to_time: int, author: str) -> None:
        """Accrue everything that runs to now."""
        interval = self.settings.ledger_interval

        def act(group: Group) -> None:
            commands.reconcile_usage(
                group, from_time=from_time, to_time=to_time, ledger_interval_ms=interval
            )

        await self._fact(act, RECONCILED_STREAM, author)

    async def _fact(self, act: Callable[[Group], None], stream: str, author: str) -> None:
        """Record a fact for everybody: in the first shard, then its copies."""
        await self.shards[0].command(act, author)
        await spread_facts(self.shards, stream, author)

    async def confirm_clock(self, author: str) -> None:
        """Record that the clock is right, so that resets go on."""
        await self._fact(commands.confirm_clock, CLOCK_STREAM, author)

    async def end_instance(self, instance_id: str, at: int, reason: str, author: str) -> None:
        """End an instance, or correct when it ended."""
        shard = await self.placing.of_instance(instance_id)
        await shard.command(
            lambda group: commands.end_instance(group, instance_id, at, reason), author
        )

    async def merge_old_calls(self, author: str) -> int:
        """Keep counts of the newest publishing calls one by one, of older ones as a sum."""

        def act(group: Group) -> int:
            merged = sum(
                group.transaction.merge_deliveries(
                    prefix=prefix, into=prefix + "older", keep=CALLS_KEPT
                )
                for prefix in (CALL_PREFIX, HTTP_PREFIX)
            )
            group.caches.deliveries.clear()  # a call that still goes on gets a new row
            return merged

        return sum([await shard.command(act, author) for shard in self.shards])

    async def job_ran(self, name: str, *, started: int, finished: int | None, error: str) -> None:
        """Keep when a job last ran."""
        await self.shards[0].beside(
            lambda transaction: transaction.job_ran(
                name, started=started, finished=finished, error=error
            )
        )


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


def _claims_of_first_member(queries: Queries, payer: bytes) -> list[str]:
    return commands.claims_of_first_member(queries.reader, payer)


def _place(settings: Settings) -> str:
    if settings.store == "postgres":
        return "the database"
    return f"data directory {settings.data_dir}"


def _not_writable(settings: Settings, error: StoreUnavailableError) -> str:
    if settings.store == "postgres":
        return (
            f"the database cannot be written: {error}; when that is a lock, look in"
            " pg_stat_activity who holds it"
        )
    return f"{_place(settings)} cannot be written: {error}; free space or name another one"


def _ms(moment: dt.datetime) -> int:
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)
