"""What `publish` and `import` show: progress on a terminal, then the receipt and the rejects."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import grpc

from cli.connection import failure
from cli.delivery import Answer, EndedEarly, Request, Tally, deliver, reject_json
from cli.exits import FAILED, OK, REJECTED, CommandFailed
from cli.json_form import encode
from cli.progress import progress, rejects_file
from cli.tables import note, print_table
from cli.values import printable
from usage_ledger.v1.publishing_pb2 import Receipt


def run_delivery(
    call: Callable[[Iterator[Request]], Iterable[Answer]],
    requests: Iterable[tuple[Request, int]],
    *,
    name: str,
    target: str,
    size_bytes: int | None,
    rejects_path: Path | None,
    as_json: bool,
) -> int:
    """Sends everything, shows the receipt and answers the exit code.

    Whatever breaks on the way, what was acknowledged until then is shown.
    """
    started = time.monotonic()
    reason = ""
    with rejects_file(rejects_path) as file:
        tally = Tally(rejects_file=file)
        with progress(size_bytes, quiet=as_json) as advance:

            def acknowledge(receipt: Receipt, size: int) -> None:
                tally.add(receipt)
                advance(size, tally.received / max(time.monotonic() - started, 0.001))

            try:
                deliver(call, requests, acknowledge)
            except grpc.RpcError as error:
                reason = str(failure(error, target))
            except EndedEarly:
                reason = "The service ended the stream early."
            except OSError as error:
                reason = f"The input cannot be read: {error.strerror or error}."
            except CommandFailed as error:
                reason = str(error)
            except KeyboardInterrupt:
                reason = "Interrupted."
    _show(tally, name, time.monotonic() - started, finished=not reason, as_json=as_json)
    if reason:
        sys.stderr.write(
            f"{printable(reason)}\nNot finished: the service acknowledged {tally.received:,} "
            "events. Run it again: nothing counts twice.\n"
        )
        return FAILED
    return REJECTED if tally.rejected else OK


def _show(tally: Tally, name: str, seconds: float, *, finished: bool, as_json: bool) -> None:
    hidden = tally.rejected - len(tally.shown)
    if as_json:
        shard, number = tally.position or (None, None)
        answer = {
            "delivery": name,
            "finished": finished,
            "received": tally.received,
            "recorded": tally.recorded,
            "repeated": tally.repeated,
            "rejected": tally.rejected,
            "rejects": [reject_json(reject) for reject in tally.shown],
            "rejects_not_shown": hidden,
            "position": None if shard is None else {"shard": shard, "number": number},
            "seconds": round(seconds, 3),
        }
        sys.stdout.write(f"{encode(answer, indent=2)}\n")
        return
    rate = tally.received / max(seconds, 0.001)
    note(f"{tally.equation}  ({name}, {seconds:.1f} s, {rate:,.0f} events/s)")
    if tally.shown:
        rows = [(f"{one.line}", f"{one.dead_letter_id}", one.reason) for one in tally.shown]
        print_table("", (">line", ">dead letter", "reason"), rows)
    if hidden:
        note(f"… and {hidden:,} more; --rejects FILE writes all of them, `dead-letters list` too.")
