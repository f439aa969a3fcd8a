"""An erasure that is asked for again, or while another one is under way, leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from persistence import BillingRun, Transaction
from tests.contract.audit.erasing import broken_laws, erase, erased, erasures, metadata
from tests.contract.data.scene import PAYER, USER, Scene, ran
from tests.oracle.events import named_uuid, payer_of
from usage_ledger.v1 import audit_erasure_pb2 as pb

pytestmark = pytest.mark.sharded

OTHER_USER = named_uuid("other user")
ADDRESS = "ada@example.org"
GONE, KEPT = ("", "", ""), ("Ada Lovelace", "", "")
PAYERS = [payer_of(f"payer {n}") for n in range(6)]


class Cut:
    """Fails once where it is told to, as a process that dies would."""

    def __init__(self) -> None:
        self.at = ""

    def __call__(self, name: str) -> None:
        if name == self.at:
            self.at = ""
            raise RuntimeError(f"cut off at {name}")


@pytest.fixture
def cut() -> Cut:
    return Cut()


@pytest.fixture
def cut_scene(cut: Cut) -> Iterator[Scene]:
    with Scene(failpoint=cut) as scene:
        yield scene
        assert [] == scene.calls.breaches()


def keep_failures(scene: Scene) -> None:
    """In the last shard why a payer waits; in the first how a run, a job and a webhook failed."""

    def of_a_payer(transaction: Transaction) -> None:
        transaction.add_trouble(bytes(16), f"{ADDRESS} is no address", now=1)

    def of_the_first(transaction: Transaction) -> None:
        transaction.put_billing_run(BillingRun(1, 2, 3, 4, f"of {ADDRESS}", 0))
        transaction.job_ran("ledger", started=1, finished=None, error=f"of {ADDRESS.upper()}")

    shards = scene.service.ledger.shards
    scene.service.wait(shards[-1].beside(of_a_payer))
    scene.service.wait(shards[0].beside(of_the_first))


def failures(scene: Scene) -> list[str]:
    found = []
    for shard in scene.service.ledger.shards:
        reader = shard.new_queries().reader
        try:
            found += [each.text.strip() for each in reader.sentences()]
        finally:
            reader.close()
    return sorted(found)


class TestATextThatOnlyFailuresHold:
    def test_is_erased_though_the_user_was_erased_before(self, scene: Scene) -> None:
        scene.record(*ran("a", "06:00", "07:00", userName="Ada Lovelace"))
        erase(scene)
        keep_failures(scene)

        erasure = erase(scene, texts=[ADDRESS])

        assert (2, False) == (erasure.number, erasure.repeated)
        assert ["erased"] * 3 == failures(scene)
        assert erase(scene, texts=[ADDRESS]).repeated
        assert [] == broken_laws(scene)

    def test_is_counted(self, scene: Scene) -> None:
        keep_failures(scene)

        counted = erase(scene, reason="", dry_run=True, texts=[ADDRESS])

        assert (0, 0, 3) == (counted.personal_rows, counted.dead_letters, counted.failures)
        assert 0 == erase(scene, reason="", dry_run=True).failures
        assert 3 == sum(ADDRESS in each.lower() for each in failures(scene))


class TestWhileAnErasureIsUnderWay:
    @pytest.mark.parametrize("point", ["erasure-requested", "erased-rows", "erased-letters"])
    def test_another_text_is_looked_for_all_the_same(
        self, cut_scene: Scene, cut: Cut, point: str
    ) -> None:
        scene = cut_scene
        scene.record(
            *ran("a", "06:00", "07:00", userName="Ada Lovelace"),
            *ran("b", "06:00", "07:01", userName="Countess", userId=OTHER_USER),
        )
        self.begin(scene, cut, point)

        erasure = erase(scene, texts=["countess"], reason="and her title")

        assert (2, 1, "and her title") == (erasure.number, erasure.personal_rows, erasure.reason)
        assert [GONE, GONE] == metadata(scene, PAYER)
        states = [(each.number, each.state) for each in erasures(scene)]
        assert [(1, pb.ERASURE_STATE_DONE), (2, pb.ERASURE_STATE_DONE)] == states
        assert [] == broken_laws(scene)

    def test_what_was_recorded_meanwhile_is_erased_too(self, cut_scene: Scene, cut: Cut) -> None:
        """Whoever asks now means all that there is now."""
        scene = cut_scene
        scene.record(*ran("a", "06:00", "07:00", userName="Ada Lovelace"))
        self.begin(scene, cut, "erasure-requested")
        scene.record(*ran("b", "06:00", "07:01", userName="Ada Lovelace"))
        assert [KEPT, KEPT] == metadata(scene, PAYER)

        assert (1, 0) == erased(scene)

        assert [GONE, GONE] == metadata(scene, PAYER)
        assert [1, 1] == [each.personal_rows for each in erasures(scene)]

    def test_the_same_once_more_is_one(self, cut_scene: Scene, cut: Cut) -> None:
        scene = cut_scene
        for n, payer in enumerate(PAYERS):
            scene.record(*ran(f"{n}", "06:00", "07:00", payer=payer, userName="Ada Lovelace"))
        self.begin(scene, cut, "erased-rows")

        erasure = erase(scene)

        assert (1, 6, False) == (erasure.number, erasure.personal_rows, erasure.repeated)
        assert [USER] == [each.user_id for each in erasures(scene)]

    def begin(self, scene: Scene, cut: Cut, point: str) -> None:
        """An erasure that is cut off at a point."""
        cut.at = point
        with pytest.raises(grpc.RpcError):
            erase(scene)
        assert [pb.ERASURE_STATE_ERASING] == [each.state for each in erasures(scene)]
