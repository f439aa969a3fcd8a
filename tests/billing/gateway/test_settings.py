"""Settings that cannot work are refused before anything is sent."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from billing import GatewaySettings, Secret
from billing.gateway import Gateway
from ledger.errors import StartRefusedError
from ledger.invoicing.service import open_gateway
from ledger.settings import StripeSettings

KEY = Secret("sk_test_1")
LIVE = Secret("sk_live_1")


class TestSettings:
    @pytest.mark.parametrize(
        "address", [None, "https://api.stripe.com", "http://127.0.0.1:12111", "http://[::1]:1"]
    )
    def test_an_address_is_scheme_host_and_port(self, address: str | None) -> None:
        assert address == GatewaySettings(secret_key=KEY, base_url=address).base_url

    @pytest.mark.parametrize(
        "address",
        [
            "",
            "api.stripe.com",
            "ftp://api.stripe.com",
            "https://",
            "https://api.stripe.com/",
            "https://api.stripe.com/v1",
            "https://api.stripe.com?x=1",
            "https://me@api.stripe.com",
            "https://me:hunter2@api.stripe.com",
        ],
    )
    def test_anything_else_is_refused(self, address: str) -> None:
        with pytest.raises(ValueError, match="Stripe's address") as caught:
            GatewaySettings(secret_key=KEY, base_url=address)
        assert "hunter2" not in str(caught.value)

    def test_a_live_key_is_not_sent_in_clear(self) -> None:
        with pytest.raises(ValueError, match="live key"):
            GatewaySettings(secret_key=LIVE, base_url="http://127.0.0.1:12111")

    @pytest.mark.parametrize(
        "odd",
        [
            {"secret_key": Secret(" ")},
            {"timeout_seconds": 0},
            {"timeout_seconds": -1},
            {"timeout_seconds": 81},
            {"timeout_seconds": float("nan")},
            {"retries": -1},
            {"retries": 6},
        ],
        ids=str,
    )
    def test_values_that_cannot_work_are_refused(self, odd: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="Stripe's"):
            GatewaySettings(**{"secret_key": KEY, **odd})


class TestTheService:
    def test_names_the_setting_that_is_to_be_changed(self, tmp_path: Path) -> None:
        key = tmp_path / "stripe.key"
        key.write_text(LIVE.reveal())
        settings = StripeSettings(
            secret_key_file=key,
            url="http://127.0.0.1:12111",
            meter_id="mtr_1",
            meter_event_name="credits",
            price_eur="price_1",
            price_usd="price_2",
        )
        with pytest.raises(StartRefusedError, match=r"^stripe\.url: a live key"):
            open_gateway(settings)


class TestClient:
    async def test_all_addresses_of_the_library_are_redirected(self) -> None:
        address = "http://127.0.0.1:1"
        async with Gateway(GatewaySettings(secret_key=KEY, base_url=address)) as calls:
            options = calls._session._client._requestor._options
        names = ("api", "connect", "files", "meter_events")
        assert dict.fromkeys(names, address) == options.base_addresses

    async def test_without_an_address_it_is_stripe(self) -> None:
        async with Gateway(GatewaySettings(secret_key=KEY)) as calls:
            options = calls._session._client._requestor._options
        assert "https://api.stripe.com" == options.base_addresses["api"]
        assert 2 == options.max_network_retries

    def test_what_billing_exports_needs_no_library_of_stripe(self) -> None:
        program = "import sys, billing; sys.exit('stripe' in sys.modules)"
        assert 0 == subprocess.run([sys.executable, "-c", program], check=False).returncode
