"""Calls per second: balances, listings and credit notes, from a client on the same cores."""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks.common import events_file, fresh_service, median, publish
from usage.v1 import usage_pb2, usage_pb2_grpc
from usage_ledger.v1 import queries_pb2, queries_pb2_grpc

CALLERS = 16
SECONDS = 3.0
LISTING_CALLS = 300


async def _rate(call: Callable[[], Awaitable[Any]], callers: int) -> float:
    """Call for some seconds from so many callers at once; give calls per second."""
    count = 0
    began = time.perf_counter()
    end = began + SECONDS

    async def one() -> None:
        nonlocal count
        while time.perf_counter() < end:
            await call()
            count += 1

    await asyncio.gather(*[one() for _ in range(callers)])
    return count / (time.perf_counter() - began)


async def _reads(target: str, payer: str, user: str, times: tuple[int, int], runs: int) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        usage = usage_pb2_grpc.UsageServiceStub(channel)
        queries = queries_pb2_grpc.QueryServiceStub(channel)
        request = usage_pb2.GetBalanceRequest(attribution_id=payer)
        rates = [await _rate(lambda: usage.GetBalance(request), CALLERS) for _ in range(runs)]
        print(f"GetBalance, {CALLERS} callers: {median(rates)} calls/s")
        many = queries_pb2.GetBalancesRequest(attribution_ids=[payer] * 1000)
        rates = [1000 * await _rate(lambda: queries.GetBalances(many), 4) for _ in range(runs)]
        print(f"GetBalances, 1,000 a call: {median(rates)} balances/s")
        for name, user_id in (("all users", ""), ("one user", user)):
            await _listings(usage, payer, user_id, times, runs, name)


async def _listings(
    usage: usage_pb2_grpc.UsageServiceAsyncStub,
    payer: str,
    user: str,
    times: tuple[int, int],
    runs: int,
    name: str,
) -> None:
    def request(page: int) -> usage_pb2.ListUsageRequest:
        wanted = usage_pb2.ListUsageRequest(
            attribution_id=payer,
            user_id=user,
            to=Timestamp(seconds=times[1]),
            pagination=usage_pb2.PaginatedRequest(per_page=50, page=page),
        )
        getattr(wanted, "from").CopyFrom(Timestamp(seconds=times[0]))
        return wanted

    pages = (await usage.ListUsage(request(1))).pagination.total_pages
    for where, page in (("first", 1), ("middle", pages // 2), ("last", pages)):
        rates = []
        for _ in range(runs):
            wanted = request(page)
            began = time.perf_counter()
            for _ in range(LISTING_CALLS):
                await usage.ListUsage(wanted)
            rates.append(LISTING_CALLS / (time.perf_counter() - began))
        print(f"ListUsage, {name}, {where} of {pages:,} pages: {median(rates)} calls/s")


def measure_reads(options: argparse.Namespace) -> None:
    """Read a payer with many entries, and one with few."""
    for entries in (1_000, options.entries):
        with events_file(entries * 3, payers=1) as path, fresh_service() as service:
            publish(service, path)
            payer = service.calls.queries.GetStatus(queries_pb2.GetStatusRequest())
            assert payer.ended_instances == entries
            attribution_id, user, times = _who(path)
            print(f"-- {entries:,} entries in one payer")
            asyncio.run(_reads(service.target, attribution_id, user, times, options.runs))


def _who(path: Any) -> tuple[str, str, tuple[int, int]]:
    """Give the payer and a user of a file, and a range of time around its events."""
    with path.open("rb") as file:
        first = json.loads(file.readline())
    start = dt.datetime.fromisoformat(first["time"])
    seconds = int(start.timestamp())
    data = first["data"]
    return data["attributionId"], data["userId"], (seconds - 86_400, seconds + 200 * 86_400)


async def _notes(target: str, runs: int) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        usage = usage_pb2_grpc.UsageServiceStub(channel)
        request = usage_pb2.AddUsageCreditNoteRequest(
            attribution_id="team:0b1f6f6e-6d0c-5a52-9d2b-0d1c6f1f8a11",
            credits=1,
            description="goodwill",
        )
        rates = [
            await _rate(lambda: usage.AddUsageCreditNote(request), CALLERS) for _ in range(runs)
        ]
        print(f"AddUsageCreditNote, {CALLERS} callers: {median(rates)} calls/s")


def measure_notes(options: argparse.Namespace) -> None:
    """Add credit notes."""
    with fresh_service() as service:
        asyncio.run(_notes(service.target, options.runs))
