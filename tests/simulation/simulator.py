"""Steps of one ledger's life, all from one seed; after every one of them the laws are looked at."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from events import Recorded, decode
from events.readable import attribution_id
from ledger.core import Work
from ledger.group import Caches, Group
from persistence import StoreUnavailableError, Transaction
from projections import ReadModel
from tests.laws.acts import act_of
from tests.laws.adapter import AUTHOR, ProductLedger, product_entry_id
from tests.oracle import Oracle, Strategy, instant
from tests.oracle.operations import (
    AddCreditNote,
    EndInstance,
    GetCostCenter,
    PublishPrices,
    Reconcile,
    SetCostCenter,
    VoidInstance,
    VoidNote,
)
from tests.simulation.checks import Checks
from tests.simulation.faults import Died, Faults
from tests.simulation.jobs import Job, call, crash, due, publish, refused, reset, retry_letter, said
from tests.simulation.world import DAY_NS, HOUR_NS, MS_NS, SECOND_NS, World

STEPS = 40
BEGINNINGS = (
    "2026-01-31T12:00:00.000000001Z",
    "2026-02-28T23:59:59.999500Z",
    "2027-10-31T00:00:00Z",
    "1969-12-29T23:59:59.999Z",
)
AHEAD_NS = (0, 1, MS_NS, SECOND_NS, 61 * SECOND_NS, HOUR_NS, DAY_NS, 9 * DAY_NS, 26 * DAY_NS)
BACK_NS = (1, MS_NS, SECOND_NS, HOUR_NS, 3 * DAY_NS)
SILENCE_NS_MAX = 28 * DAY_NS  # after a longer one resets are held: tests/faults/test_clock.py
RATES = ("0.1666666667", "0.3333333333", "0.3", "1.05", "0", "7")


class BrokenLawError(AssertionError):
    """A law does not hold; the text has the seed and the last steps."""


class SimulatedLedger(ProductLedger):
    """The real core with faults handed in."""

    def __init__(self, faults: Faults, data_dir: Path | None = None) -> None:
        """Keep it in memory unless there is a directory."""
        self._faults = faults
        super().__init__(data_dir, before_fold=faults.before_fold)

    def _passed(self, failpoint: str) -> None:
        self._faults.passed(failpoint)


class Simulation:
    """One run."""

    def __init__(self, seed: int, data_dir: Path | None = None) -> None:
        """Draw a world."""
        self.seed = seed
        self._rng = random.Random(seed)
        self.now_ns = instant(self._rng.choice(BEGINNINGS))
        self._world = World(self._rng, self.now_ns)
        self._faults = Faults(self._rng)
        self._ledger = SimulatedLedger(self._faults, data_dir)
        self._oracle = Oracle(entry_id=product_entry_id)
        self._checks = Checks(self._ledger, self._oracle, self._rng)
        self._again: deque[Job] = deque()  # what nobody answered; the client comes again
        self._revision = 0
        self._notes = 0
        self._ended = ""
        self.told: list[str] = []

    def run(self, steps: int = STEPS) -> None:
        """Take the steps; raise BrokenLawError as soon as a law does not hold."""
        try:
            self._prices()
            self._look()
            for step in range(steps):
                self._move_clock()
                self._step()
                self._look()
                if step % 8 == 7:
                    self._hold(self._checks.all_views())
            self._restart()
            self._look()
            self._hold(self._checks.all_views())
        finally:
            self._ledger.close()

    def _look(self) -> None:
        self._hold(self._checks.after_step(self.now_ns))

    def _hold(self, broken: Sequence[str]) -> None:
        if broken:
            last = "\n  ".join(self.told[-8:])
            wrong = "\n  ".join(broken[:8])
            raise BrokenLawError(f"seed {self.seed}:\n  {wrong}\nafter\n  {last}")

    # Steps -------------------------------------------------------------------------------------

    def _move_clock(self) -> None:
        rng = self._rng
        moved = rng.choice(AHEAD_NS) if rng.random() < 0.85 else -rng.choice(BACK_NS)
        newest_ns = self._ledger.reader.clock().newest_recorded * MS_NS
        if self.now_ns + moved - newest_ns < SILENCE_NS_MAX:
            self.now_ns += moved
        self._world.now_ns = self.now_ns
        self._ledger.clock.set_ns(self.now_ns)
        for _ in range(rng.randint(0, 2)):
            self._world.produce()

    def _step(self) -> None:
        rng = self._rng
        match rng.choice(("work",) * 14 + ("reset",) * 3 + ("prices", "restart", "zombie")):
            case "work":
                self._group(self._some_jobs())
            case "reset":
                self._reset()
            case "prices":
                self._prices()
            case "restart":
                self._restart()
            case "zombie":
                self._zombie()

    def _some_jobs(self) -> list[Job]:
        rng = self._rng
        jobs = [self._a_job() for _ in range(rng.choice((1, 1, 2, 3, 4)))]
        while self._again and rng.random() < 0.6:
            jobs.insert(rng.randint(0, len(jobs)), self._again.popleft())
        return jobs

    def _a_job(self) -> Job:
        rng, payer = self._rng, self._rng.choice(self._world.payers)
        kinds = ("publish", "note", "get", "set", "reconcile", "end", "void", "retry", "crash")
        job: Job | None = None
        match rng.choices(kinds, (10, 3, 2, 3, 3, 2, 3, 1.5, 0.5))[0]:
            case "note":
                job = call(self._note(payer))
            case "get":
                job = call(GetCostCenter(at_ns=0, payer=payer))
            case "set":
                job = call(self._set(payer))
            case "end":
                job = self._end()
            case "void":
                job = self._void()
            case "retry":
                job = self._retry()
            case "crash":
                job = crash()
            case "publish":
                job = publish(rng.choice(("a file", "another")), self._world.batch())
        return job or call(Reconcile(at_ns=0))

    def _set(self, payer: str) -> SetCostCenter:
        limit = self._rng.choice((0, 1, 3, 500, -1))
        strategies: tuple[Strategy, ...] = ("STRIPE", "OTHER", "OTHER")
        strategy = self._rng.choice(strategies)
        return SetCostCenter(at_ns=0, payer=payer, spending_limit=limit, strategy=strategy)

    def _note(self, payer: str) -> AddCreditNote:
        rng = self._rng
        self._notes += 1
        key = rng.choice((None, f"key-{self._notes}", f"key-{rng.randint(1, 4)}"))
        return AddCreditNote(
            at_ns=0,
            payer=payer,
            credits_given=rng.choice((1, 1, -1, 250, -(2**31))),
            description=rng.choice(("sorry", "sorry", "thanks", " ")),
            user_id=rng.choice(("", self._world.users[0])),
            idempotency_key=key,
        )

    def _end(self) -> Job | None:
        """End an instance that is known to have started; the call refuses every other."""
        starts = {
            entry.instance_id: entry.started.started_ms
            for payer in self._oracle.payers()
            for entry in self._oracle.entries(payer)
            if entry.started and entry.started.started_ms * MS_NS <= self.now_ns
        }
        if not starts:
            return None
        instance_id = self._rng.choice(sorted(starts))
        if self._ended in starts and self._rng.random() < 0.6:
            instance_id = self._ended  # corrected once more
        self._ended = instance_id
        ended_ns = self._rng.randint(starts[instance_id], self.now_ns // MS_NS) * MS_NS
        return call(EndInstance(at_ns=0, instance_id=instance_id, ended_ns=ended_ns))

    def _void(self) -> Job | None:
        """Void whatever was ever told of: also what is void, and for whom it is not."""
        rng = self._rng
        notes = sorted(self._oracle._notes)
        instances = sorted(self._oracle.instance_ids())
        if notes and rng.random() < 0.4:
            payer, name = rng.choice(notes)
            return call(VoidNote(at_ns=0, payer=payer, name=name))
        if not instances:
            return None
        payer = rng.choice(("", "", "", *self._world.payers))
        return call(VoidInstance(at_ns=0, instance_id=rng.choice(instances), payer=payer))

    def _retry(self) -> Job | None:
        letters = self._ledger.select("SELECT original, id FROM dead_letters ORDER BY id")
        return retry_letter(*self._rng.choice(letters)) if letters else None

    def _prices(self) -> None:
        """Prices are published by themselves, when a process starts."""
        self._revision += self._rng.random() < 0.8 or not self._revision
        rng = random.Random(f"{self.seed}.{self._revision}")
        names = [name for name in ("default", "g1-large") if rng.random() < 0.8]
        rates = tuple((name, rng.choice(RATES)) for name in names)
        self._ledger.clock.set_ns(self.now_ns)
        first = not self._ledger.core.head  # without a list no process serves
        self._group(
            [call(PublishPrices(at_ns=0, revision=self._revision, rates=rates))], faulty=not first
        )

    def _reset(self) -> None:
        """As a reset run: what is due, then each cost center by itself, beside other work."""
        found: list[bytes] = []
        asked = due()
        self._group([Job(asked.name, asked.act, asked.expect, _keep(found))])
        jobs = [reset(attribution_id(payer)) for payer in found]
        if jobs:
            self._group([*jobs, *(self._some_jobs() if self._rng.random() < 0.5 else ())])

    def _restart(self) -> None:
        self.told.append("restart")
        self._ledger.reopen()

    def _zombie(self) -> None:
        """A runner that stands behind folds what the live one has folded, and what nobody has."""
        self.told.append("zombie")
        head = self._ledger.core.head
        if head < 2:
            return
        stale = self._rng.randint(max(0, head - 5), head - 1)
        note = AddCreditNote(
            at_ns=0, payer=self._world.payers[0], credits_given=9, description="nobody's"
        )
        act = act_of(self._rng.choice((note, Reconcile(at_ns=0))))
        try:
            with self._ledger.store.transaction() as transaction:
                standing = dict.fromkeys(transaction.standing()[0], stale)
                group = Group(transaction, Caches(), self._ledger.core._context())
                act(group)
                group.flush()
                behind = ReadModel(transaction.rows, transaction.positions, standing, {})
                behind.fold(_log_of(transaction, after=stale))
        except StoreUnavailableError:
            return
        self._ledger.reopen()

    # Groups ------------------------------------------------------------------------------------

    def _group(self, jobs: list[Job], *, faulty: bool = True) -> None:
        """Do work in one transaction, perhaps with a fault; tell the oracle what was answered."""
        rng = self._rng
        if not faulty:
            self._faults.disarm()
        elif any(job.name == "crash" for job in jobs):
            # The group is tried piece by piece: only the answers tell what was stored.
            self._faults.arm(rng.choice(("", "", "refuse")))
        else:
            self._faults.arm(
                rng.choice(("",) * 14 + ("die", "die", "die after", "refuse", "refuse", "fold"))
            )
        works = [Work(job.act(), AUTHOR) for job in jobs]
        self.told.append(f"{self.now_ns} {self._faults}: " + "; ".join(job.name for job in jobs))
        try:
            self._ledger.core.run(works)
        except StoreUnavailableError:
            pass
        except Died as died:
            self._faults.disarm()
            if died.committed:
                for job in jobs:
                    job.expect(self._oracle, self.now_ns)
            self._come_again(jobs)
            self._restart()
            return
        self._faults.disarm()
        for job, work in zip(jobs, works, strict=True):
            self._told_to(job, work)
        if self._ledger.core.paused:
            self._restart()

    def _told_to(self, job: Job, work: Work) -> None:
        if refused(work):
            self._come_again([job])
            return
        expected, answer = job.expect(self._oracle, self.now_ns), said(job, work)
        if expected != answer:
            self._hold([f"{job.name} answers {answer}, not {expected}"])

    def _come_again(self, jobs: Sequence[Job]) -> None:
        """Clients come again, but for what depends on the clock or the order of steps."""
        self._again += [job for job in jobs if not job.name.startswith(("End", "Publish", "due"))]


def _keep(found: list[bytes]) -> Callable[[object], object]:
    def keep(result: object) -> object:
        assert isinstance(result, list)
        found.extend(result)
        return result

    return keep


def _log_of(transaction: Transaction, *, after: int) -> list[Recorded]:
    return [
        Recorded(e.stream, e.version, decode(e.topic, e.state), e.position)
        for e in transaction.log(after=after, limit=100)
    ]
