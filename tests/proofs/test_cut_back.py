"""A ledger that was cut back, heads and all, signs no head over what retired keys have signed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ledger.audit.keys import LastHead, Retired, write_key_list
from tests.proofs.scene import BackDoor, Signing, add_notes, tree_scene, until_current
from tests.proofs.test_calls import PRECONDITION, refused, sign, status

AT, BY = "2026-12-01T08:00:00.000Z", "local:root"


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(tmp_path / "keys")


def retire(signing: Signing, last: LastHead) -> None:
    """The first key gives way to another one, which signs from now on."""
    signing.rotate("next-key")
    signing.keys = signing.keys.retiring(signing.name, Retired(AT, BY, (last,)))
    write_key_list(signing.keys_file, signing.keys)


class TestWithARetiredKey:
    def test_that_signed_more_than_there_is(self, place: BackDoor, signing: Signing) -> None:
        with tree_scene(place, **signing.settings) as scene:
            add_notes(scene, 3)
            count = until_current(place)
            origin = status(scene).trees[0].origin
            retire(signing, LastHead(origin, count + 2, bytes(32)))
            with refused(
                PRECONDITION,
                f'retired key "test-key" has signed a head of {count + 2} events, but the log has'
                f" only {count}",
            ):
                sign(scene)
            assert f"only {count}" in place.fault()

    def test_that_signed_more_is_told_after_a_restart_too(
        self, place: BackDoor, signing: Signing
    ) -> None:
        """The follower of the log sees nothing of it: its own look finds a whole tree."""
        with tree_scene(place, **signing.settings) as scene:
            add_notes(scene, 3)
            count = until_current(place)
            origin = status(scene).trees[0].origin
            retire(signing, LastHead(origin, count + 2, bytes(32)))
            with refused(PRECONDITION, f"only {count}"):
                sign(scene)
            fault = place.fault()
        with tree_scene(place, **signing.settings) as scene:
            add_notes(scene, 1, first=3)
            until_current(place)
            assert fault == place.fault() == status(scene).trees[0].fault
            mended = signing.keys.correcting(signing.name, ())
            write_key_list(signing.keys_file, mended)
            sign(scene)
            assert "" == place.fault()

    def test_that_signed_another_log(self, place: BackDoor, signing: Signing) -> None:
        with tree_scene(place, **signing.settings) as scene:
            add_notes(scene, 3)
            count = until_current(place)
            origin = status(scene).trees[0].origin
            retire(signing, LastHead(origin, count - 1, bytes(32)))
            with refused(PRECONDITION, 'not the one that retired key "test-key" has signed'):
                sign(scene)

    def test_of_another_ledger_it_signs(self, place: BackDoor, signing: Signing) -> None:
        with tree_scene(place, **signing.settings) as scene:
            add_notes(scene, 3)
            retire(signing, LastHead("usage-ledger/another/0", 1_000, bytes(32)))
            (signed,) = sign(scene)
            assert "next-key" == signed.key_name

    def test_that_began_the_log_it_signs(self, place: BackDoor, signing: Signing) -> None:
        with tree_scene(place, **signing.settings) as scene:
            add_notes(scene, 3)
            (first,) = sign(scene)
            origin = status(scene).trees[0].origin
            retire(signing, LastHead(origin, first.size, first.root))
            add_notes(scene, 2, first=3)
            (second,) = sign(scene)
            assert ("next-key", first.size + 2) == (second.key_name, second.size)
            assert "" == place.fault()


def test_a_backup_that_was_restored_is_not_signed_until_somebody_says_which_head_holds(
    tmp_path: Path, signing: Signing
) -> None:
    """The heads of after it are gone, and the list of keys is all that remembers them."""
    place = BackDoor(tmp_path / "ledger", "")
    with tree_scene(place, **signing.settings) as scene:
        add_notes(scene, 3)
        (holds,) = sign(scene)
        origin = status(scene).trees[0].origin
    shutil.copytree(place.data_dir, tmp_path / "backup")
    with tree_scene(place, **signing.settings) as scene:
        add_notes(scene, 2, first=3)
        (lost,) = sign(scene)
    retire(signing, LastHead(origin, lost.size, lost.root))
    shutil.rmtree(place.data_dir)
    shutil.copytree(tmp_path / "backup", place.data_dir)

    with tree_scene(place, **signing.settings) as scene:
        with refused(PRECONDITION, f"has signed a head of {lost.size} events"):
            sign(scene)
        add_notes(scene, 9, first=100)  # another history grows beyond it
        until_current(place)
        with refused(PRECONDITION, 'not the one that retired key "test-key" has signed'):
            sign(scene)

        (listed,) = (key for key in signing.keys.keys if key.name == signing.name)
        assert listed.retired is not None
        last = LastHead(origin, holds.size, holds.root)
        others = [key for key in signing.keys.keys if key.name != signing.name]
        signing.keys = signing.keys._replace(
            keys=(listed._replace(retired=listed.retired._replace(last_heads=(last,))), *others)
        )
        write_key_list(signing.keys_file, signing.keys)
        (signed,) = sign(scene)
        assert "next-key" == signed.key_name
        assert "" == place.fault()
