"""Trace-like events from a seed, quickly: for benchmarks, and for tests where no trace is."""

import datetime as dt
import random
from collections.abc import Iterator, Sequence
from functools import cache

CLASSES = ("default", "g1-standard", "g1-large", "gitpodio-internal-xl", "cluster-xxl")
START_S = 1_785_542_400
"""2026-08-01T00:00:00Z."""

DAY_S = 86_400
BUCKET_S = 60
CHUNK = 4_096
DURATIONS = 10_007
USERS_PER_PAYER = 3

Timed = tuple[int, bytes]


def synthetic_lines(
    seed: int,
    instances: int,
    payers: int,
    *,
    days: int = 90,
    mean_minutes: float = 45.0,
    running_share: float = 0.0,
    start_s: int = START_S,
    classes: Sequence[str] = CLASSES,
) -> Iterator[bytes]:
    """Events in the order of their times: three an instance, one for the share that never stops.

    The same arguments always give the same lines. Low-numbered payers have more than others, as in
    real traces. No instance runs longer than five days. IDs are random, as indexes see them.
    """
    rng = random.Random(seed)
    durations_s = [
        min(int(rng.lognormvariate(0.0, 1.5) * mean_minutes * 20), 5 * DAY_S)
        for _ in range(DURATIONS)
    ]
    payer_ids = ["team:" + _uuid_text(rng.randbytes(16).hex(), 0) for _ in range(payers)]
    users = [_uuid_text(rng.randbytes(16).hex(), 0) for _ in range(payers * USERS_PER_PAYER)]
    waiting: dict[int, list[Timed]] = {}
    next_bucket = start_s // BUCKET_S
    uniform = rng.random
    for chunk_start in range(0, instances, CHUNK):
        size = min(CHUNK, instances - chunk_start)
        digits = rng.randbytes(64 * size).hex()
        for index in range(size):
            number = chunk_start + index
            begin_s = start_s + number * days * DAY_S // instances
            while next_bucket < begin_s // BUCKET_S:
                yield from _in_order(waiting.pop(next_bucket, ()))
                next_bucket += 1
            payer = int(payers * uniform() ** 2)
            user = users[payer * USERS_PER_PAYER + number % USERS_PER_PAYER]
            for at_s, line in _events(
                digits[index * 128 : index * 128 + 128],
                begin_s,
                -1
                if uniform() < running_share
                else begin_s + durations_s[int(uniform() * DURATIONS)],
                payer_ids[payer],
                user,
                classes[int(uniform() * len(classes))],
                number,
            ):
                waiting.setdefault(at_s // BUCKET_S, []).append((at_s, line))
    for bucket in sorted(waiting):
        yield from _in_order(waiting[bucket])


def _in_order(bucket: Sequence[Timed]) -> list[bytes]:
    return [line for _, line in sorted(bucket)]


def _events(
    digits: str,
    begin_s: int,
    end_s: int,
    payer: str,
    user: str,
    workspace_class: str,
    number: int,
) -> list[Timed]:
    """The lines of one instance; `end_s` -1 for one that keeps running."""
    instance = _uuid_text(digits, 0)
    begin = _stamp(begin_s)
    who = f'"workspaceInstanceId":"{instance}","attributionId":"{payer}"'
    started = (
        f"{_head(digits, 32, 'started', instance, begin)}{who},"
        f'"workspaceId":"synthetic-{number}","workspaceClass":"{workspace_class}",'
        f'"workspaceType":"regular","contextUrl":"https://example.org/synthetic/{number}",'
        f'"userId":"{user}","userName":"user{user[:4]}",'
        f'"creationTime":"{_stamp(begin_s - 5)}","startedTime":"{begin}"}}}}'
    )
    timed = [(begin_s, started.encode())]
    if end_s >= 0:
        gone_s = end_s + 5 + number % 40
        end, gone = _stamp(end_s), _stamp(gone_s)
        stopping = f'{_head(digits, 64, "stopping", instance, end)}{who},"stoppingTime":"{end}"}}}}'
        stopped = f'{_head(digits, 96, "stopped", instance, gone)}{who},"stoppedTime":"{gone}"}}}}'
        timed += [(end_s, stopping.encode()), (gone_s, stopped.encode())]
    return timed


def _head(digits: str, at: int, kind: str, instance: str, time: str) -> str:
    return (
        f'{{"specversion":"1.0","id":"{_uuid_text(digits, at)}","source":"/synthetic",'
        f'"type":"usage.workspace_instance.{kind}.v1","subject":"{instance}","time":"{time}",'
        f'"datacontenttype":"application/json","data":{{'
    )


def _uuid_text(digits: str, at: int) -> str:
    return (
        f"{digits[at : at + 8]}-{digits[at + 8 : at + 12]}-{digits[at + 12 : at + 16]}"
        f"-{digits[at + 16 : at + 20]}-{digits[at + 20 : at + 32]}"
    )


def _stamp(at_s: int) -> str:
    days, second = divmod(at_s, DAY_S)
    return _date_text(days) + _time_texts()[second]


@cache
def _date_text(days: int) -> str:
    return (dt.date(1970, 1, 1) + dt.timedelta(days=days)).isoformat()


@cache
def _time_texts() -> list[str]:
    """The 86,400 times of a day, written once: a line needs up to three of them."""
    return [f"T{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}Z" for s in range(DAY_S)]
