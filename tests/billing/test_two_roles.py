"""`jobs` and `serve` on one PostgreSQL database, as processes: what one meets the other tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger.invoicing.runs import KEY_REFUSED
from tests.billing.life import Life
from tests.billing.scene import PAYER
from tests.cluster.processes import RoleProcess, wait_until
from tests.edge.test_metrics import Samples, parsed, value
from tests.harness import Calls
from tests.servers.postgres import PostgresServer
from usage_ledger.v1 import billing_pb2 as pb

pytestmark = pytest.mark.postgres


@pytest.fixture
def life(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Life]:
    url = postgres_server.borrow_ledger()
    more: dict[str, Any] = {
        "store": "postgres",
        "postgres": {"urls": [url]},
        "http": {"listen": "127.0.0.1:0"},
        "serve": {"parts": ["project"]},
        "ledger_interval": "1s",
    }
    life = Life(tmp_path, more=more)
    with life.served:
        yield life
    postgres_server.give_back_ledger(url)


def scrape(process: RoleProcess) -> Samples:
    port = re.findall(r"answers HTTP at 127\.0\.0\.1:(\d+)", process.log)[-1]
    return parsed(httpx.get(f"http://127.0.0.1:{port}/metrics").text)


def status(calls: Calls) -> pb.GetBillingStatusResponse:
    return calls.billing_status.GetBillingStatus(pb.GetBillingStatusRequest())


def told(calls: Calls) -> pb.BilledPayer:
    return calls.billing_status.GetBillingStatus(
        pb.GetBillingStatusRequest(attribution_id=PAYER)
    ).payers[0]


def test_what_the_jobs_meet_is_told_by_the_service_until_it_heals(
    life: Life, tmp_path: Path
) -> None:
    account = life.double._account
    key = account._authorization
    with RoleProcess("serve", life.settings, tmp_path) as serve:
        calls = serve.calls
        assert calls is not None
        life.subscribe(calls)
        account._authorization = "Bearer sk_test_of_another_account"
        life.use(calls)
        with RoleProcess("jobs", life.settings, tmp_path) as jobs:
            wait_until(lambda: told(calls).waits_for, what="the trouble")
            wait_until(lambda: status(calls).last_run.error, what="the run")
            assert KEY_REFUSED == status(calls).last_run.error
            assert "Stripe's answer cannot be worked with" in told(calls).waits_for
            since = told(calls).waits_since
            assert 0 < value(scrape(jobs), "stripe_key_refused_total")
            asked = scrape(serve)
            assert 0 == value(asked, "stripe_key_refused_total")
            assert 1 == value(asked, "billing_payers_in_trouble", shard="0")
            assert 7 == value(asked, "billing_credits_waiting", shard="0")
            serve.stop()  # who was asked forgets nothing, for it knew nothing
            serve.start()
            assert serve.calls is not None
            assert since == told(serve.calls).waits_since
            account._authorization = key
            again = serve.calls
            wait_until(lambda: not told(again).waits_for, what="the report")
            wait_until(lambda: not status(again).last_run.error, what="the next run")
            assert jobs.lives
    assert 7 == sum(one.reported for one in life.double.money())
