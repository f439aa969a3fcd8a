"""`usage-ledger verify`: over a service, or of a store that nobody need serve."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.configuration import read as read_settings
from cli.connection import connected
from cli.exits import FAILED, OK, REJECTED, USAGE, CommandFailed
from cli.json_form import encode
from cli.tables import note
from usage_ledger.v1 import audit_proofs_pb2 as audit

KEPT_BYTES_MAX = 64 << 20  # a head every hour of ten years is half of it


class Looked(NamedTuple):
    """What was found of a shard that was looked at to its end."""

    summary: dict[str, Any]
    findings: list[dict[str, Any]]


def verify(
    *,
    local: bool,
    shard: int | None,
    kept: Sequence[Path],
    keys: Path | None,
    config: Path | None,
    options: dict[str, Any],
    target: str,
    as_json: bool,
) -> int:
    """Answers the exit code: 3 when something is found."""
    notes = [each for path in kept for each in heads_in(path)]
    if local:
        answers = _of_store(config, options, shard, notes, keys)
    else:
        answers = _of_service(target, shard, notes, keys)
    began = time.monotonic()
    looked = _follow(answers, quiet=as_json)
    seconds = time.monotonic() - began
    if as_json:
        shards = [{**each.summary, "found": each.findings} for each in looked]
        sys.stdout.write(f"{encode({'shards': shards, 'seconds': round(seconds, 3)}, indent=2)}\n")
    else:
        events = sum(each.summary["events"] for each in looked)
        note(f"{events:,} events in {seconds:.1f} s, {events / max(seconds, 0.001):,.0f} a second.")
    return REJECTED if any(each.findings for each in looked) else OK


def heads_in(path: Path) -> list[str]:
    """Reads heads that were kept: one as a text, or many as `heads list --json` prints them."""
    try:
        with path.open("rb") as file:
            text = file.read(KEPT_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise CommandFailed(f"--kept {path} cannot be read: {reason}.", exit_code=USAGE) from None
    if not text.startswith("{"):
        return [text]
    try:
        return [str(head["note"]) for head in json.loads(text)["heads"]]
    except (ValueError, KeyError, TypeError):
        raise CommandFailed(
            f"--kept {path} is neither a head nor what `heads list --json` prints.",
            exit_code=USAGE,
        ) from None


def _of_service(
    target: str, shard: int | None, kept: Sequence[str], keys: Path | None
) -> Iterator[audit.VerifyResponse]:
    request = audit.VerifyRequest(
        shard=shard, kept_heads=kept, keys=b"" if keys is None else _bytes_of(keys)
    )
    with connected(target) as services:
        yield from services.audit.Verify(request)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandFailed(
            f"--keys {path} cannot be read: {error.strerror}.", exit_code=USAGE
        ) from None


def _of_store(
    config: Path | None,
    options: dict[str, Any],
    shard: int | None,
    kept: Sequence[str],
    keys: Path | None,
) -> Iterator[audit.VerifyResponse]:
    """Verifies what lies in the store, with nothing of it believed but the list of keys."""
    from facade.audit.messages import told_message
    from ledger.audit.keys import KeysError, read_key_list
    from ledger.audit.notes import NoteError, parse_note
    from ledger.audit.verifying import verify as verify_shard
    from ledger.errors import StartRefused
    from ledger.stores import open_readers
    from persistence import StoreUnavailableError

    settings = read_settings(config, options).settings
    try:
        notes = [parse_note(each) for each in kept]
        listed = read_key_list(keys or settings.keys_path, may_lack=keys is None)
        readers = open_readers(settings)
    except (NoteError, KeysError, StartRefused) as error:
        raise CommandFailed(f"{error}.", exit_code=USAGE) from None
    try:
        origins = {reader.tree.state().origin for reader in readers}
        for each in notes:
            if each.checkpoint.origin not in origins:
                raise CommandFailed(
                    f"--kept has a head of {each.checkpoint.origin}, but the trees here are"
                    f" {', '.join(sorted(origins))}.",
                    exit_code=USAGE,
                )
        for number, reader in enumerate(readers):
            if shard is None or shard == number:
                for told in verify_shard(reader, listed, notes):
                    yield told_message(number, told)
    except StoreUnavailableError as error:
        raise CommandFailed(f"The store cannot be read: {error}.", exit_code=FAILED) from None
    finally:
        for reader in readers:
            reader.close()


def _follow(answers: Iterator[audit.VerifyResponse], *, quiet: bool) -> list[Looked]:
    looked: list[Looked] = []
    findings: list[dict[str, Any]] = []
    with _bar(quiet=quiet) as advance:
        for answer in answers:
            match answer.WhichOneof("told"):
                case "progress":
                    advance(answer.progress)
                case "finding":
                    findings.append(_finding(answer.finding))
                case "summary":
                    looked.append(Looked(_summary(answer.summary), findings))
                    findings = []
    if not quiet:
        for each in looked:
            _tell(each)
    return looked


def _tell(looked: Looked) -> None:
    told = looked.summary
    name = f"shard {told['shard']}, {told['origin']}"
    counts = f"{told['events']:,} events, {told['tiles']:,} tiles, {told['heads']:,} heads"
    if looked.findings:
        note(f"✗ {name}: {told['findings']:,} found after {counts}")
        for finding in looked.findings:
            note(f"    {finding['kind']}: {finding['text']}")
    else:
        note(f"✓ {name}: {counts}, all as they were recorded and signed")
    if told["uncovered"]:
        note(f"    {told['uncovered']:,} events are covered by no head")
    if told["waiting"]:
        note(f"    {told['waiting']:,} events of the log are not in the tree yet")


def _summary(summary: audit.VerifySummary) -> dict[str, Any]:
    return {field.name: getattr(summary, field.name) for field in summary.DESCRIPTOR.fields}


def _finding(finding: audit.VerifyFinding) -> dict[str, Any]:
    position = finding.position if finding.HasField("position") else None
    return {
        "kind": finding.kind,
        "text": finding.text,
        "position": position and {"shard": position.shard, "number": position.number},
        "leaf_number": finding.leaf_number if finding.HasField("leaf_number") else None,
    }


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[audit.VerifyProgress], None]]:
    if quiet or not sys.stderr.isatty():
        yield lambda _progress: None
        return
    began = time.monotonic()
    with Progress(
        TextColumn("shard {task.fields[shard]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} events/s"),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=None, shard=0, rate="-")

        def advance(progress: audit.VerifyProgress) -> None:
            rate = progress.verified / max(time.monotonic() - began, 0.001)
            bar.update(
                task,
                completed=progress.verified,
                total=progress.size,
                shard=progress.shard,
                rate=f"{rate:,.0f}",
            )

        yield advance
