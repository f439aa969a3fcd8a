"""The keys that sign heads: made, listed, exchanged, retired."""

import datetime as dt
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cli.configuration import read as read_settings
from cli.connection import READ_SECONDS, WRITE_SECONDS, Services, connected
from cli.exits import OK, CommandFailed
from cli.json_form import encode
from cli.tables import note, print_table
from ledger.audit.keys import (
    KeysError,
    LastHead,
    ListedKey,
    Retired,
    new_key_file,
    public_key_of,
    read_key_list,
    write_key_list,
)
from ledger.audit.notes import NoteError, key_id_of, parse_note
from ledger.audit.whole_files import Failpoint, lying, move, tidy
from ledger.failpoints import failpoint_of_environment
from ledger.operator import operator
from usage_ledger.v1 import audit_proofs_pb2 as audit
from usage_ledger.v1 import queries_pb2 as queries

COLUMNS = ("key", "id", "added (UTC)", "by", "retired (UTC)", "signed last")


class Places(NamedTuple):
    """Where the private key lies, and the list."""

    key_file: Path
    keys_file: Path


def places(
    key_file: Path | None, keys_file: Path | None, config: Path | None, data_dir: Path | None
) -> Places:
    """Gives the files, from the options or from the settings."""
    settings = read_settings(config, {"data_dir": data_dir}).settings
    return Places(key_file or settings.signing_key_path, keys_file or settings.keys_path)


def new_key(name: str, files: Places) -> int:
    """Makes a key and lists it."""
    try:
        listed = read_key_list(files.keys_file, may_lack=True)
        if name and listed.named(name):
            raise KeysError(f'the list has a key "{name}" already: take another name')
        failpoint = failpoint_of_environment()
        key = _listed(name, new_key_file(files.key_file, failpoint))
        write_key_list(files.keys_file, listed.with_key(key), failpoint)
    except KeysError as error:
        raise CommandFailed(f"{error}.") from None
    note(f"{files.key_file} holds the private key: keep it outside the database and its backups.")
    note(f'{files.keys_file} lists it as "{key.name}", id {key.id}: give that file to auditors.')
    return OK


def add_key(name: str, files: Places) -> int:
    """Lists a key that is there."""
    try:
        tidy(files.key_file)
        key = _listed(name, public_key_of(files.key_file))
        listed = read_key_list(files.keys_file, may_lack=True)
        write_key_list(files.keys_file, listed.with_key(key))
    except KeysError as error:
        raise CommandFailed(f"{error}.") from None
    note(f'{files.keys_file} lists it as "{key.name}", id {key.id}.')
    return OK


def list_keys(files: Places, *, as_json: bool) -> int:
    """Shows the list."""
    try:
        listed = read_key_list(files.keys_file)
    except KeysError as error:
        raise CommandFailed(f"{error}.") from None
    if as_json:
        sys.stdout.write(f"{encode({'keys': list(map(_told, listed.keys))}, indent=2)}\n")
    else:
        print_table("", COLUMNS, map(_row, listed.keys))
    return OK


def rotate(name: str, files: Places, *, target: str) -> int:
    """Lets another key sign, step by step: whatever interrupts it, every head can be checked.

    Run again under the same name it goes on, wherever it was interrupted.
    """
    failpoint = failpoint_of_environment()
    try:
        new, old = _exchanged(name, files, failpoint)
    except KeysError as error:
        raise CommandFailed(f"{error}.") from None
    except OSError as error:
        raise CommandFailed(f"{files.key_file} cannot be written: {error.strerror}.") from None
    failpoint("key-exchanged")
    note(f'"{new.name}", id {new.id}, is listed, and lies in {files.key_file}.')
    try:
        with connected(target) as services:
            services.audit.SignHeads(audit.SignHeadsRequest(), timeout=WRITE_SECONDS)
            failpoint("key-has-signed")
            _retire_others(new.name, old, files, services, failpoint)
    except CommandFailed as failed:
        what = f'"{old}" is' if old else "The key before it may be"
        raise CommandFailed(
            f"{failed}\n{what} not retired yet: once the new key has signed a head,"
            f" `usage-ledger keys rotate --name {new.name}` goes on.",
            exit_code=failed.exit_code,
        ) from None
    return OK


def _exchanged(name: str, files: Places, failpoint: Failpoint) -> tuple[ListedKey, str]:
    """Puts the next key in its place; gives it, and the name of the one that was there before.

    Nobody can say that any more when an interrupted run has come so far.
    """
    key_file = lying(files.key_file)
    next_file = key_file.with_name(key_file.name + ".next")
    tidy(key_file, next_file)
    listed = read_key_list(files.keys_file)
    public = public_key_of(files.key_file)
    there = next((key for key in listed.keys if key.public_key == public), None)
    if there is None:
        raise KeysError(
            f"the key of {files.key_file} is not in {files.keys_file}: `usage-ledger keys add`"
        )
    if name and there.name == name:
        return there, ""
    # First listed, then used: no head is ever signed by a key that nobody knows.
    # An interrupted run has left a key that is listed already, or not.
    public = public_key_of(next_file) if next_file.exists() else new_key_file(next_file, failpoint)
    new = next((key for key in listed.keys if key.public_key == public), None)
    if new is None:
        new = _listed(name, public)
        write_key_list(files.keys_file, listed.with_key(new), failpoint)
    move(next_file, key_file)
    return new, there.name


def _retire_others(
    new: str, old: str, files: Places, services: Services, failpoint: Failpoint
) -> None:
    """Retires whatever has signed before, also by an exchange that was interrupted."""
    try:
        listed = read_key_list(files.keys_file).keys
    except KeysError as error:
        raise CommandFailed(f"{error}.") from None
    for key in listed:
        if key.name == new or key.retired is not None:
            continue
        if key.name == old or _last_heads(key.name, services):
            retire_key(key.name, files, services, failpoint)
        else:  # one that is kept ready, or one that an exchange has left
            note(
                f'"{key.name}" is listed, has signed nothing here, and is not retired:'
                f" `usage-ledger keys retire {key.name}`, unless it is to sign."
            )


def retire(name: str, files: Places, *, target: str) -> int:
    """Retires a key that signs no more."""
    with connected(target) as services:
        retire_key(name, files, services, failpoint_of_environment())
    return OK


def retire_key(name: str, files: Places, services: Services, failpoint: Failpoint) -> None:
    """Retires a key with the last heads that it has signed; refuses one that signs still."""
    _refuse_signing(name, services)
    last_heads = _last_heads(name, services)
    try:
        retired = Retired(_now(), operator(), last_heads)
        listed = read_key_list(files.keys_file)
        write_key_list(files.keys_file, listed.retiring(name, retired), failpoint)
        # A process that has read the list of before may have signed with the key since: without
        # that head in the list nobody would believe it, and nothing were signed behind it.
        while (newer := _last_heads(name, services)) != last_heads:
            last_heads = newer
            listed = read_key_list(files.keys_file)
            write_key_list(files.keys_file, listed.correcting(name, last_heads), failpoint)
    except KeysError as error:
        raise CommandFailed(f"{error}.") from None
    note(f'"{name}" is retired in {files.keys_file}: give the file to auditors again.')


def _refuse_signing(name: str, services: Services) -> None:
    for tree in _trees(services):
        if tree.newest_head.key_name == name:
            raise CommandFailed(
                f'"{name}" has signed the newest head of shard {tree.shard}: it can be retired once'
                " another key signs. Put that into audit.signing_key_file of the processes that"
                " sign, then `usage-ledger heads sign`."
            )


def _last_heads(name: str, services: Services) -> tuple[LastHead, ...]:
    """Gives the last head that a key has signed of each tree."""
    last_heads: list[LastHead] = []
    for tree in _trees(services):
        request = audit.ListHeadsRequest(shard=tree.shard, newest_of_key=name)
        heads = services.audit.ListHeads(request, timeout=READ_SECONDS).heads
        last_heads += [_last_head(head.note) for head in heads]
    return tuple(last_heads)


def _trees(services: Services) -> Iterable[audit.TreeStatus]:
    return services.queries.GetStatus(queries.GetStatusRequest(), timeout=READ_SECONDS).trees


def _last_head(text: str) -> LastHead:
    try:
        origin, size, root, _ = parse_note(text).checkpoint
    except NoteError as error:
        raise CommandFailed(f"A head cannot be read: {error}.") from None
    return LastHead(origin, size, root)


def _listed(name: str, public: bytes) -> ListedKey:
    name = name or f"usage-ledger/{key_id_of('', public).hex()}"
    return ListedKey(name, public, _now(), operator(), None)


def _now() -> str:
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    return f"{now.isoformat(timespec='milliseconds')}Z"


def _row(key: ListedKey) -> tuple[str, ...]:
    retired = key.retired
    at = retired.at if retired else "-"
    last = [f"{each.size:,} of {each.origin}" for each in retired.last_heads] if retired else []
    return key.name, key.id, key.added, key.added_by, at, ", ".join(last) or "-"


def _told(key: ListedKey) -> dict[str, object]:
    retired = key.retired
    return {
        "name": key.name,
        "id": key.id,
        "added": key.added,
        "added_by": key.added_by,
        "retired": None
        if retired is None
        else {
            "at": retired.at,
            "by": retired.by,
            "last_heads": [
                {"origin": each.origin, "size": each.size, "root": each.root.hex()}
                for each in retired.last_heads
            ],
        },
    }
