"""Keys that are exchanged while heads are signed: nothing is wrong with the tree by that."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cli.connection import connected
from cli.keys import Places, retire_key
from ledger.audit.heads import Heads
from ledger.audit.keys import LastHead, read_key_list
from ledger.errors import FailedPreconditionError
from persistence import Head
from tests.contract.data.scene import Scene
from tests.harness import settings_for
from tests.proofs.scene import BackDoor, Signing, add_notes, tree_scene, until_current
from tests.proofs.test_calls import sign, status

WAIT_SECONDS = 20.0


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(tmp_path / "keys")


@pytest.fixture
def scene(place: BackDoor, signing: Signing) -> Iterator[Scene]:
    with tree_scene(place, **signing.settings) as scene:
        add_notes(scene, 3)
        sign(scene)
        yield scene


def heads_of(scene: Scene, key_file: Path, keys_file: Path) -> Heads:
    """Of another process, whose files lie elsewhere."""
    files = {"signing_key_file": str(key_file), "keys_file": str(keys_file)}
    ledger = scene.service.ledger
    return Heads(ledger.shards, settings_for(None, audit=files), ledger.clock)


def copied(signing: Signing, folder: Path) -> tuple[Path, Path]:
    folder.mkdir()
    copies = folder / "signing.key", folder / "keys.json"
    shutil.copy(signing.key_file, copies[0])
    shutil.copy(signing.keys_file, copies[1])
    return copies


def until_read(pipe: Path) -> int:
    """Wait until somebody reads a file; give the end to write to. Who reads it next waits anew."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            end = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads
            assert time.monotonic() < deadline, f"nobody reads {pipe}"
            time.sleep(0.01)
        else:
            break
    pipe.unlink()
    os.mkfifo(pipe)
    return end


def give(end: int, text: bytes) -> None:
    """Let whoever reads have this, and nothing else."""
    os.write(end, text)
    os.close(end)


class TestAListThatIsOlderThanTheNewestHead:
    def test_signs_nothing_and_finds_no_fault(
        self, place: BackDoor, signing: Signing, scene: Scene, tmp_path: Path
    ) -> None:
        """As where a Secret was exchanged for one process and not yet for another."""
        key_file, keys_file = copied(signing, tmp_path / "elsewhere")
        elsewhere = heads_of(scene, key_file, keys_file)
        signing.rotate("next-key")
        add_notes(scene, 2, first=3)
        sign(scene)

        with pytest.raises(FailedPreconditionError, match=r'"next-key", which .* does not list'):
            scene.service.wait(elsewhere.sign("somebody"))

        assert "" == place.fault()
        assert str(keys_file) in elsewhere.trouble

    def test_is_read_again(
        self, place: BackDoor, signing: Signing, scene: Scene, tmp_path: Path
    ) -> None:
        """It was read just before another process listed its key and signed with it."""
        pipe = tmp_path / "keys.pipe"
        os.mkfifo(pipe)
        heads = heads_of(scene, signing.key_file, pipe)
        before = signing.keys_file.read_bytes()
        with ThreadPoolExecutor(1) as threads:
            signed = threads.submit(lambda: scene.service.wait(heads.sign("somebody")))
            old_key = signing.key_file.read_bytes()
            reads = until_read(pipe)  # so its key is read
            signing.rotate("next-key")
            add_notes(scene, 2, first=3)
            (newest,) = sign(scene)
            assert old_key != signing.key_file.read_bytes()
            give(reads, before)
            give(until_read(pipe), signing.keys_file.read_bytes())
            ((_, head),), lacking = signed.result()

        assert ("next-key", newest.number, 0) == (head.key_name, head.number, lacking)
        assert "" == place.fault()
        assert "" == heads.trouble


class TestAKeyThatSignsWhileItIsRetired:
    def test_is_listed_with_the_last_head_that_it_has_signed(
        self, place: BackDoor, signing: Signing, scene: Scene, tmp_path: Path
    ) -> None:
        """A process has read the list before it was written, and signs after."""
        elsewhere = heads_of(scene, *copied(signing, tmp_path / "elsewhere"))
        signing.rotate("next-key")
        # The old list, and the new key in it: this process believes both.
        shutil.copy(signing.keys_file, tmp_path / "elsewhere" / "keys.json")
        add_notes(scene, 2, first=3)
        sign(scene)
        signed: list[Head] = []

        def once_it_is_listed(name: str) -> None:
            if name == "key-list-in-place" and not signed:
                add_notes(scene, 2, first=5)
                until_current(place)
                heads, _ = scene.service.wait(elsewhere.sign("somebody"))
                signed.extend(head for _, head in heads)

        files = Places(signing.key_file, signing.keys_file)
        with connected(scene.service.target) as services:
            retire_key(signing.name, files, services, once_it_is_listed)

        (head,) = signed
        assert signing.name == head.key_name
        (listed,) = (key for key in read_key_list(signing.keys_file).keys if key.retired)
        assert listed.retired is not None
        origin = status(scene).trees[0].origin
        assert (LastHead(origin, head.size, head.root),) == listed.retired.last_heads
        add_notes(scene, 2, first=7)
        (newest,) = sign(scene)
        assert ("next-key", head.number + 1) == (newest.key_name, newest.number)
        assert "" == place.fault()
