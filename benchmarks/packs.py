"""Evidence packs of a long log: made, verified without the product, taken over; time and memory."""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from benchmarks import common
from events import (
    LedgerEvent,
    PriceListPublished,
    WorkspaceInstanceStarted,
    WorkspaceInstanceStopped,
    encode,
    recorded_time,
)
from ledger.audit.following import leaves_of
from ledger.audit.keys import KeyList, ListedKey, load_signer, new_key_file, write_key_list
from ledger.audit.notes import Checkpoint
from ledger.audit.tiles import Edge
from ledger.settings import load_settings
from ledger.stores import open_stores
from persistence import TREE_TAIL, Head, StreamEvent

VERIFIER = Path(__file__).parents[1] / "clients" / "verifier" / "usage_ledger_verify.py"
PAYERS = 100
BATCH = 20_000
RATE = "0.3333333333"
RECORDED = 1_790_000_000_000


def measure(options: argparse.Namespace) -> None:
    """Export, verify and import a log of `--events`, of everything and of one payer."""
    with tempfile.TemporaryDirectory(prefix="usage-ledger-bench-") as name:
        folder = Path(name)
        if common.server is not None:
            os.environ["USAGE_LEDGER_STORE"] = "postgres"
            os.environ["USAGE_LEDGER_POSTGRES__URLS"] = common.server.new_ledger()
        # By a process of its own: what it takes would be told as that of its successors.
        filling = multiprocessing.get_context("spawn").Process(
            target=_fill, args=(folder, options.events)
        )
        filling.start()
        filling.join()
        assert filling.exitcode == 0
        keys = folder / "keys.json"
        place = ["--data-dir", str(folder / "ledger")]
        payer = _attribution_id(7)
        for what, chosen in (("everything", ["--everything"]), ("a payer", ["--payer", payer])):
            pack = folder / what.replace(" ", "-")
            made = _run([*_COMMAND, "export", str(pack), *chosen, *place])
            _tell(f"export of {what}", made, options.events)
            size = sum(path.stat().st_size for path in pack.rglob("*") if path.is_file())
            print(f"      {size / options.events:.0f} bytes for each event of the log")
            # Without a reader of Parquet, as on an auditor's machine.
            program = (
                "import runpy, sys; sys.modules['pyarrow'] = None; sys.argv = sys.argv[1:];"
                " runpy.run_path(sys.argv[0], run_name='__main__')"
            )
            verify = [sys.executable, "-I", "-c", program, str(VERIFIER), "pack", str(pack)]
            _tell(f"verify of {what}", _run([*verify, "--keys", str(keys)]), options.events)
        if common.server is not None:
            os.environ["USAGE_LEDGER_POSTGRES__URLS"] = common.server.new_ledger()
        command = [*_COMMAND, "import-pack", str(folder / "everything"), "--keys", str(keys)]
        taken = _run([*command, "--data-dir", str(folder / "new")])
        _tell("import of everything, folded", taken, options.events)
        print(f"   load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")


_COMMAND = [sys.executable, "-m", "cli.main"]


class _Ran(NamedTuple):
    seconds: float
    cpu: float
    memory_mib: float


def _run(command: list[str]) -> _Ran:
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return _Ran(time.perf_counter() - began, _cpu(usage), usage.ru_maxrss / 1_024)


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def _tell(what: str, ran: _Ran, events: int) -> None:
    print(
        f"   {what}: {events / ran.seconds:,.0f} events/s, {1e6 * ran.cpu / events:.1f} µs of"
        f" processor an event, at most {ran.memory_mib:.0f} MiB",
        flush=True,
    )


def _payer(number: int) -> bytes:
    return bytes([number % PAYERS]) * 16


def _attribution_id(number: int) -> str:
    text = _payer(number).hex()
    return f"team:{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _events(count: int) -> Iterator[StreamEvent]:
    """A price list, then starts and stops of as many instances, as stored."""
    prices = PriceListPublished(RECORDED, "local:benchmark", 1, None, {"g1-large": RATE}, "1/6")
    yield StreamEvent(1, "price-list", 1, prices.TOPIC, encode(prices))
    for position in range(2, count + 1):
        number, is_stop = divmod(position - 2, 2)
        at = RECORDED + position // 20
        event: LedgerEvent
        if is_stop:
            event = WorkspaceInstanceStopped(
                at, "local:benchmark", _payer(number), at + number % 9_999_999
            )
        else:
            event = WorkspaceInstanceStarted(
                recorded_at=at,
                author="local:benchmark",
                payer=_payer(number),
                workspace_id=f"ws-{number}",
                workspace_class="g1-large",
                workspace_type="regular",
                user=_payer(number + 1),
                project_id="",
                creation_time=None,
                started_time=at,
                price_revision=1,
                rate=RATE,
                commitment=b"",
            )
        # As random as they are: neighbours in the log are none by their names.
        name = f"{number * 2_654_435_761 % (1 << 32):08x}"
        stream = f"instance:{name}-0000-4000-8000-{number:012x}"
        yield StreamEvent(position, stream, is_stop + 1, event.TOPIC, encode(event))


def _fill(folder: Path, count: int) -> None:
    """Make the log and its tree without a service, and sign a head."""
    key, keys = folder / "signing.key", folder / "keys.json"
    listed = ListedKey("benchmark", new_key_file(key), "now", "benchmark", None)
    write_key_list(keys, KeyList((listed,)))
    began = time.perf_counter()
    (opened,) = open_stores(load_settings(None, data_dir=folder / "ledger"), "benchmark")
    edge, position, recorded = Edge(0, {}), 0, 0
    events = _events(count)
    with closing(opened.store) as store:
        with store.transaction() as transaction:
            origin = transaction.tree.name("usage-ledger/benchmark/0")
            transaction.place({_payer(number): 0 for number in range(PAYERS)})
        while batch := list(itertools.islice(events, BATCH)):
            grown, tiles = edge.grown(leaves_of(batch), [event.position for event in batch])
            with store.transaction() as transaction:
                transaction.packs.restore(batch)
                transaction.tree.put(tiles)
                transaction.tree.resize(expected=edge.size, size=grown.size)
                end, recorded = batch[-1].position, recorded_time(batch[-1].state)
                transaction.advance_tail(TREE_TAIL, expected=position, position=end)
            edge, position = grown, end
            store.checkpoint()
        note = load_signer(key, keys).sign(Checkpoint(origin, edge.size, edge.root(), recorded))
        with store.transaction() as transaction:
            transaction.tree.add_head(
                Head(1, edge.size, edge.root(), recorded, recorded, "benchmark", "local", note)
            )
    print(f"   made {count:,} events and their tree in {time.perf_counter() - began:,.0f} s")
