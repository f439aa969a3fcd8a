"""Evidence packs: made from a store, and taken over into an empty one."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.configuration import read as read_settings
from cli.exits import FAILED, OK, UNREACHABLE, USAGE, CommandFailed
from cli.json_form import encode
from cli.tables import note
from cli.values import credits_text, parse_time
from ledger.audit.keys import KeysError, read_key_list
from ledger.audit.packs.exporting import Exported, Wanted
from ledger.audit.packs.exporting import export as export_pack
from ledger.audit.packs.importing import Imported
from ledger.audit.packs.importing import import_pack as take_over
from ledger.audit.packs.layout import PackError
from ledger.audit.packs.reading import Pack
from ledger.commands.credit_notes import payer_of
from ledger.errors import InvalidArgumentError, StartRefusedError
from ledger.failpoints import failpoint_of_environment
from ledger.operator import operator
from ledger.stores import open_readers, open_stores
from persistence import StoreUnavailableError

Advance = Callable[[int, str, int, int], None]  # shard, step, done, size


def export(
    target: Path,
    *,
    payer: str,
    everything: bool,
    start: str | None,
    end: str | None,
    head: int,
    more_heads: Sequence[int],
    with_personal: bool,
    archive: bool,
    config: Path | None,
    options: dict[str, Any],
    as_json: bool,
) -> int:
    """Makes a pack; answers the exit code."""
    if bool(payer) == everything:
        raise CommandFailed("Say --payer PAYER, or --everything.", exit_code=USAGE)
    wanted = Wanted(
        _payer(payer) if payer else None,
        _milliseconds(start, "--from"),
        _milliseconds(end, "--to"),
        head,
        more_heads,
        with_personal,
    )
    if everything and (start or end or more_heads):
        raise CommandFailed(
            "--from, --to and --with-head are for the pack of a payer.", exit_code=USAGE
        )
    settings = read_settings(config, options).settings
    if everything and head and settings.shard_count > 1:
        raise CommandFailed("--head is for a ledger of one shard.", exit_code=USAGE)
    begin, end_ms = wanted.period_from, wanted.period_to
    if begin is not None and end_ms is not None and begin > end_ms:
        raise CommandFailed("--from lies behind --to.", exit_code=USAGE)
    try:
        keys = read_key_list(settings.keys_path, may_lack=True)
        readers = open_readers(settings)
    except (KeysError, StartRefusedError) as error:
        raise CommandFailed(f"{error}.", exit_code=USAGE) from None
    began = time.monotonic()
    try:
        with _bar(quiet=as_json) as advance:
            made = export_pack(
                readers,
                wanted,
                target,
                made_by=f"usage-ledger {_version()}",
                keys=keys,
                archive=archive,
                tell=lambda told: advance(told.shard, "read", told.passed, told.size),
                failpoint=failpoint_of_environment(),
            )
    except PackError as error:
        raise CommandFailed(f"{error}.", exit_code=FAILED) from None
    except StoreUnavailableError as error:
        raise CommandFailed(f"The store cannot be read: {error}.", exit_code=UNREACHABLE) from None
    finally:
        for reader in readers:
            reader.close()
    _tell_made(made, time.monotonic() - began, as_json=as_json)
    return OK


def _payer(text: str) -> bytes:
    try:
        return payer_of(text)
    except InvalidArgumentError as error:
        raise CommandFailed(f"--payer: {error}.", exit_code=USAGE) from None


def _milliseconds(text: str | None, option: str) -> int | None:
    moment = parse_time(text, option=option)
    return None if moment is None else moment.ToMilliseconds()


def _version() -> str:
    try:
        return version("usage-ledger")
    except PackageNotFoundError:  # straight from the source tree
        return "unreleased"


def _tell_made(made: Exported, seconds: float, *, as_json: bool) -> None:
    manifest = made.manifest
    events = sum(shard.events for shard in manifest.shards)
    passed = sum(shard.size for shard in manifest.shards)
    totals = manifest.totals
    if as_json:
        told = {
            "pack": str(made.path),
            "events": events,
            "payers": totals.payers,
            "entries": totals.entries,
            "balance_cents": totals.balance_cents,
            "behind": made.behind,
            "seconds": round(seconds, 3),
        }
        sys.stdout.write(f"{encode(told, indent=2)}\n")
        return
    note(
        f"{made.path}: {events:,} of {passed:,} events, {totals.entries:,} entries,"
        f" {totals.payers:,} {'payer' if totals.payers == 1 else 'payers'}"
    )
    note(
        f"carried {credits_text(totals.carried_cents)} + period"
        f" {credits_text(totals.period_cents)} + later {credits_text(totals.later_cents)} = balance"
        f" {credits_text(totals.balance_cents)} credits"
    )
    if made.behind:
        note(f"{made.behind:,} events that no head covers yet are not in it.")
    note(f"{passed:,} events in {seconds:.1f} s, {passed / max(seconds, 0.001):,.0f} a second.")


def import_pack(
    path: Path, *, keys: Path, config: Path | None, options: dict[str, Any], as_json: bool
) -> int:
    """Takes a pack over; answers the exit code."""
    settings = read_settings(config, options).settings
    if settings.store == "memory":
        raise CommandFailed(
            'store is "memory": name a data directory, or postgres.urls.', exit_code=USAGE
        )
    began = time.monotonic()
    try:
        listed = read_key_list(keys, may_lack=False)
        pack = Pack(path)
    except (KeysError, PackError) as error:
        raise CommandFailed(f"{error}.", exit_code=USAGE) from None
    try:
        opened = open_stores(settings, "import-pack")
    except StartRefusedError as error:
        pack.close()
        raise CommandFailed(f"{error}.", exit_code=USAGE) from None
    try:
        with _bar(quiet=as_json) as advance:
            imported = take_over(
                pack,
                listed,
                opened,
                author=operator(),
                tell=lambda told: advance(told.shard, told.step, told.done, told.size),
                failpoint=failpoint_of_environment(),
            )
    except PackError as error:
        raise CommandFailed(f"{error}.", exit_code=FAILED) from None
    except StoreUnavailableError as error:
        raise CommandFailed(
            f"The store cannot be written: {error}.", exit_code=UNREACHABLE
        ) from None
    finally:
        pack.close()
        for each in opened:
            each.store.close()
    _tell_imported(imported, time.monotonic() - began, as_json=as_json)
    return OK


def _tell_imported(imported: Sequence[Imported], seconds: float, *, as_json: bool) -> None:
    if as_json:
        told = {"shards": [each._asdict() for each in imported], "seconds": round(seconds, 3)}
        sys.stdout.write(f"{encode(told, indent=2)}\n")
        return
    for each in imported:
        how = "was there already" if each.was_there else "is there"
        note(f"shard {each.shard}: {each.events:,} events under {each.heads:,} heads, {how}")
    events = sum(each.events for each in imported)
    note(f"{events:,} events in {seconds:.1f} s, {events / max(seconds, 0.001):,.0f} a second.")


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Advance]:
    if quiet or not sys.stderr.isatty():
        yield lambda _shard, _step, _done, _size: None
        return
    with Progress(
        TextColumn("shard {task.fields[shard]}: {task.fields[step]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=None, shard=0, step="-")

        def advance(shard: int, step: str, done: int, size: int) -> None:
            bar.update(task, completed=done, total=size, shard=shard, step=step)

        yield advance
