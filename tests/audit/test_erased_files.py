"""What was erased leaves the files of a SQLite ledger, not only its tables."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from persistence import Transaction, Webhook
from persistence.sqlite import SQLiteStore
from tests.contract.audit.erasing import broken_laws, erase, erased, erasures, steps
from tests.contract.data.scene import PAYER, USER, Scene, note, ran, started
from tests.oracle.events import line_of, named_uuid
from tests.store.facts import letter
from usage_ledger.v1 import audit_erasure_pb2 as pb

NAME, TEXT = "Needle-Of-Ada", "Needle-In-A-Text"
INSTANCES = 3_000


def copies(data_dir: Path, needle: str = NAME) -> int:
    """In all files of the ledger."""
    return sum(
        path.read_bytes().lower().count(needle.lower().encode())
        for path in data_dir.rglob("*")
        if path.is_file()
    )


def fill(scene: Scene, *, seed: int = 1, prefix: str = "i") -> int:
    """Record and reject events of many users, a tenth of them the needle's; give how many."""
    rng = random.Random(seed)
    count = 0
    lines = []
    for n in range(INSTANCES):
        is_hers = rng.random() < 0.1
        count += is_hers
        padding = "x" * rng.choice((0, 10, 100, 900))
        name = f"{NAME}-{n}{padding}" if is_hers else f"somebody-{n}{padding}"
        user = USER if is_hers else named_uuid("user", n % 7)
        lines += ran(f"{prefix}{n}", "06:00", "07:00", userId=user, userName=name)
    scene.record(*lines)
    return count


def reject(scene: Scene, *, seed: int = 1) -> int:
    """Dead letters that are tried again, forgotten and repeated: rows that move in their pages."""
    rng = random.Random(seed)
    count = 0
    for n in range(300):
        is_hers = rng.random() < 0.2
        count += is_hers
        fields = {"n": n, "padding": "x" * rng.choice((0, 200, 2_000, 9_000))}
        if is_hers:
            fields |= {"userId": USER, "userName": f"{NAME}-{n}"}
        line = line_of(fields)
        scene.publish(line, *[line] * rng.choice((0, 0, 5)))
    scene.retry()
    return count


def churn(transaction: Transaction, rng: random.Random, hers: dict[int, None]) -> None:
    """Keep a dead letter, change the reason of any, or let any go."""
    is_hers = rng.random() < 0.3
    text = NAME.encode() if is_hers else b"of somebody"
    original = text + rng.randbytes(rng.choice((3, 30, 100, 400, 1_500)))
    kept = letter(original, rng.randbytes(32))._replace(reason="x" * rng.randint(1, 300))
    new = transaction.add_dead_letter(kept)
    if is_hers:
        hers[new] = None
    for _ in range(3):
        transaction.dead_letter_reason(rng.randint(1, new), "y" * rng.randint(1, 900), 1)
    if rng.random() < 0.9:
        gone = rng.randint(1, new)
        hers.pop(gone, None)
        transaction.remove_dead_letters([gone])


def churn_webhooks(transaction: Transaction, rng: random.Random) -> None:
    """Let webhooks fail of one thing, then of another: rows get longer and shorter."""
    for _ in range(100):
        text = rng.choice((NAME, "somebody", ""))
        error = text and text + "x" * rng.randint(0, rng.choice((50, 400, 900, 2_000)))
        number = rng.randint(1, 300)
        event_id = f"evt_{number}{'x' * (number % 7) * 9}"
        transaction.add_webhook(Webhook(event_id, "type", "object", 1, number))
        transaction.webhook_done(event_id, state="waiting", error=error, now=1)


class TestTheFiles:
    @pytest.fixture
    def data_dir(self, tmp_path: Path) -> Path:
        return tmp_path / "ledger"

    @pytest.fixture
    def scene(self, data_dir: Path) -> Iterator[Scene]:
        with Scene(data_dir) as scene:
            yield scene

    def test_hold_no_copy_in_a_page_or_in_the_write_ahead_log(
        self, scene: Scene, data_dir: Path
    ) -> None:
        rows, letters = fill(scene), reject(scene)
        scene.record(note(3, description=f"from {NAME}", userId=USER))
        assert copies(data_dir) > rows + letters
        cents = scene.cents()

        assert (rows + 1, letters) == erased(scene)

        assert 0 == copies(data_dir)
        assert cents == scene.cents()
        assert [] == broken_laws(scene)

    def test_hold_no_copy_of_one_whose_neighbours_were_erased_before(
        self, scene: Scene, data_dir: Path
    ) -> None:
        """A row that had to move, because one beside it went, would have left a copy."""
        fill(scene)
        reject(scene)
        for n in range(7):
            erase(scene, named_uuid("user", n))
        rows = fill(scene, seed=2, prefix="j")
        assert copies(data_dir) >= rows

        erase(scene)

        assert 0 == copies(data_dir)

    def test_hold_no_copy_of_dead_letters_that_moved_from_page_to_page(
        self, data_dir: Path
    ) -> None:
        """They get longer and shorter and go in any order, so pages are divided and joined."""
        rng = random.Random(1)
        with closing(SQLiteStore(data_dir, synchronous="off")) as store:
            hers: dict[int, None] = {}
            for n in range(60):
                with store.transaction() as transaction:
                    for _ in range(100):
                        churn(transaction, rng, hers)
                if n % 10 == 0:
                    store.checkpoint()
            assert copies(data_dir) > len(hers) > 100
            with store.transaction() as transaction:
                assert len(hers) == transaction.erase_dead_letters(list(hers), "erased")
                transaction.scrub_pages()
            assert store.scrub()
            assert 0 == copies(data_dir)

    def test_forget_the_texts_that_were_looked_for(self, scene: Scene, data_dir: Path) -> None:
        scene.record(*ran("a", "06:00", "07:00", userId=None, userName=TEXT))

        assert (1, 0) == erased(scene, texts=[TEXT, "somebody-else@example.org"])

        assert 0 == copies(data_dir, TEXT)
        assert 0 == copies(data_dir, "somebody-else@example.org")

    def test_are_emptied_later_when_a_reader_stands_in_the_way(
        self, scene: Scene, data_dir: Path
    ) -> None:
        scene.record(*ran("a", "06:00", "07:00", userName=NAME))
        # A backup, say, or a check.
        reader = sqlite3.connect(data_dir / "ledger.db")
        with closing(reader):
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM personal").fetchone()
            told = steps(scene)[-1].erasure
            assert pb.ERASURE_STATE_SCRUBBING == told.state
            assert copies(data_dir) > 0
            scene.record(started("b", "07:30"))  # nobody else has to wait for it
            assert 0 == sum(NAME in entry.metadata for entry in scene.usage(PAYER))

        scene.service.run_job("reset")

        assert [pb.ERASURE_STATE_DONE] == [each.state for each in erasures(scene)]
        assert 0 == copies(data_dir)

    def test_are_emptied_when_it_is_asked_again(self, scene: Scene, data_dir: Path) -> None:
        scene.record(*ran("a", "06:00", "07:00", userName=NAME))
        reader = sqlite3.connect(data_dir / "ledger.db")
        with closing(reader):
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM personal").fetchone()
            steps(scene)

        again = erase(scene)

        assert (True, pb.ERASURE_STATE_DONE) == (again.repeated, again.state)
        assert 0 == copies(data_dir)

    @pytest.mark.parametrize("seed", [2, 4])
    def test_hold_no_copy_of_webhooks_whose_rows_moved(
        self, scene: Scene, data_dir: Path, seed: int
    ) -> None:
        rng = random.Random(seed)
        shard = scene.service.ledger.shards[0]
        for _ in range(40):
            scene.service.wait(shard.beside(lambda transaction: churn_webhooks(transaction, rng)))
        assert copies(data_dir) > 100

        erase(scene, texts=[NAME])

        assert 0 == copies(data_dir)
