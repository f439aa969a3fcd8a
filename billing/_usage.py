"""Calls about meters: reporting usage, and what Stripe has added up."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Final

from billing import _answers
from billing._arguments import (
    must_be_credits,
    must_be_identifier,
    must_be_key,
    must_be_seconds,
    must_name,
)
from billing._failures import is_duplicate_identifier
from billing._session import PAGE_OBJECTS_MAX, Session
from billing.errors import GatewayMisuseError, StripeRefusedError
from billing.records import Delivery, Meter, MeterSummary

MINUTE_SECONDS: Final = 60
# What a meter calls customer and value unless it was made otherwise; `meter` tells.
CUSTOMER_KEY: Final = "stripe_customer_id"
VALUE_KEY: Final = "value"


class UsageCalls:
    """Meters, usage events and summaries."""

    _session: Session

    async def send_usage(
        self,
        *,
        event_name: str,
        customer_id: str,
        identifier: str,
        credits: int,
        timestamp: int,
        key: str,
    ) -> Delivery:
        """Report credits, negative to take some back; to a meter whose keys are Stripe's own.

        Stripe refuses an identifier that it has, which is as good as taken. It checks some things
        later: what it then rejects comes as an event of its own.
        """
        must_be_key(key)
        must_name(event_name=event_name, customer_id=customer_id)
        must_be_seconds(timestamp=timestamp)
        must_be_identifier(identifier)
        must_be_credits(credits)
        call = self._session.api.billing.meter_events.create_async(
            {
                "event_name": event_name,
                "identifier": identifier,
                "payload": {CUSTOMER_KEY: customer_id, VALUE_KEY: str(credits)},
                "timestamp": timestamp,
            },
            {"idempotency_key": key},
        )
        is_repeated = partial(is_duplicate_identifier, identifier=identifier)
        try:
            await self._session.write("meter_events.create", call, dict, is_fine=is_repeated)
        except StripeRefusedError as refused:
            if not is_repeated(refused):
                raise
            return Delivery.REPEATED
        return Delivery.DELIVERED

    async def summary(
        self, *, meter_id: str, customer_id: str, start: int, end: int
    ) -> MeterSummary:
        """What the meter has added up from `start` to before `end`, both on a full minute.

        Stripe adds up some time after it has taken an event, so this lags.
        """
        must_name(meter_id=meter_id, customer_id=customer_id)
        must_be_seconds(start=start, end=end)
        if start % MINUTE_SECONDS or end % MINUTE_SECONDS or start >= end:
            raise GatewayMisuseError(
                f"from {start} to {end}: full minutes, and the end after the start"
            )
        call = self._session.api.billing.meters.event_summaries.list_async(
            meter_id,
            {
                "customer": customer_id,
                "start_time": start,
                "end_time": end,
                "limit": PAGE_OBJECTS_MAX,
            },
        )
        parts = await self._session.all("meter_event_summaries.list", call, _answers.summed)
        return MeterSummary(
            meter_id=meter_id,
            customer_id=customer_id,
            start=start,
            end=end,
            credits=sum(parts, Decimal(0)),
        )

    async def meter(self, meter_id: str) -> Meter:
        """Fetch a meter."""
        must_name(meter_id=meter_id)
        call = self._session.api.billing.meters.retrieve_async(meter_id)
        return await self._session.read("meters.retrieve", call, _answers.meter)
