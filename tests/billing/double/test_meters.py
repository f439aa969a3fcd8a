"""Meters: what is counted, when, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import stripe

from tests.billing.double.scenes import METER, Shop, code_of


def summed(shop: Shop, customer: str) -> float:
    """Sum the month's usage as a summary tells it."""
    start = 1793491200  # the first of November 2026
    summaries = shop.client.v1.billing.meters.event_summaries.list(
        shop.meter, {"customer": customer, "start_time": start, "end_time": start + 30 * 86400}
    )
    return sum(one.aggregated_value for one in summaries.auto_paging_iter())


class TestEvents:
    def test_they_count_after_a_while(self, shop: Shop) -> None:
        name = shop.customer()
        shop.report(name, 7, "one")
        shop.report(name, -2, "two")
        assert 0.0 == summed(shop, name)
        shop.double.advance(seconds=29)
        assert 0.0 == summed(shop, name)
        shop.double.advance(seconds=1)
        assert 5.0 == summed(shop, name)

    @pytest.mark.parametrize("code", ["duplicate_meter_event", None])
    def test_an_identifier_is_taken_once_a_day(self, shop: Shop, code: str | None) -> None:
        shop.double.settings.duplicate_identifier_code = code
        name = shop.customer()
        shop.report(name, 7, "one")
        shop.double.advance(hours=23, minutes=59)
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.report(name, 7, "one")
        assert (400, code) == code_of(error)
        assert "already exists with identifier one" in str(error.value)
        assert error.value.headers is not None
        assert "false" == error.value.headers["Stripe-Should-Retry"]
        shop.double.advance(minutes=1)
        shop.report(name, 7, "one")
        shop.double.advance(minutes=1)
        assert 14.0 == summed(shop, name)

    @pytest.mark.parametrize(
        ("value", "code"),
        [
            ("3.3", "meter_event_invalid_value"),
            ("", "meter_event_invalid_value"),
            ("1e3", "meter_event_invalid_value"),
            ("9" * 16, "meter_event_value_too_many_digits"),
        ],
    )
    def test_values_are_whole_numbers(self, shop: Shop, value: str, code: str) -> None:
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.report(shop.customer(), value, "one")
        assert (400, code) == code_of(error)

    def test_fifteen_digits_are_taken(self, shop: Shop) -> None:
        shop.report(name := shop.customer(), "-" + "9" * 15, "one")
        shop.double.advance(minutes=1)
        assert -999_999_999_999_999.0 == summed(shop, name)

    @pytest.mark.parametrize(
        ("offset", "code"),
        [
            (5 * 60, None),
            (5 * 60 + 1, "timestamp_in_future"),
            (-35 * 86400, None),
            (-35 * 86400 - 1, "timestamp_too_far_in_past"),
        ],
    )
    def test_timestamps_have_bounds(self, shop: Shop, offset: int, code: str | None) -> None:
        name, at = shop.customer(), shop.double.clock.now + offset
        if code is None:
            shop.report(name, 1, "one", timestamp=at)
            return
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.report(name, 1, "one", timestamp=at)
        assert (400, code) == code_of(error)

    def test_an_unknown_and_an_archived_meter_are_refused(self, shop: Shop) -> None:
        name = shop.customer()
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.report(name, 1, "one", event_name="other")
        assert (400, "no_meter") == code_of(error)
        shop.client.v1.billing.meters.deactivate(shop.meter)
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.report(name, 1, "one")
        assert (400, "archived_meter") == code_of(error)
        shop.client.v1.billing.meters.reactivate(shop.meter)
        shop.report(name, 1, "one")

    def test_a_payload_without_a_customer_is_refused(self, shop: Shop) -> None:
        with pytest.raises(stripe.InvalidRequestError) as error:
            shop.report("", 1, "one")
        assert (400, "meter_event_no_customer_defined") == code_of(error)

    def test_an_identifier_has_a_length(self, shop: Shop) -> None:
        with pytest.raises(stripe.InvalidRequestError):
            shop.report(shop.customer(), 1, "x" * 101)
        shop.report(shop.customer(), 1, "x" * 100)

    async def test_one_call_per_customer_is_under_way(self, shop: Shop) -> None:
        first, second = shop.customer(), shop.customer()

        def report(name: str, identifier: str) -> Any:
            payload = {"stripe_customer_id": name, "value": "1"}
            return shop.client.v1.billing.meter_events.create_async(
                {"event_name": METER, "payload": payload, "identifier": identifier}
            )

        calls = [report(first, "a"), report(first, "b"), report(second, "c")]
        taken, refused, other = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(taken, stripe.billing.MeterEvent)
        assert isinstance(other, stripe.billing.MeterEvent)
        assert ["a", "c"] == [taken.identifier, other.identifier]
        assert isinstance(refused, stripe.RateLimitError)
        assert "b" == (await report(first, "b")).identifier


class TestLateRefusals:
    def test_an_unknown_customer_is_told_later_by_a_thin_event(self, shop: Shop) -> None:
        shop.report("cus_nobody", 7, "one")
        assert not [one for one in shop.kinds() if one.startswith("v1.")]
        shop.double.advance(minutes=1)
        delivery = shop.double.outbox[-1]
        assert "v1.billing.meter.error_report_triggered" == delivery.kind
        shop.double.webhooks.signs_by = "wall"
        notice = shop.client.parse_event_notification(
            delivery.body, delivery.signature, "whsec_double"
        )
        assert isinstance(notice, stripe.events.V1BillingMeterErrorReportTriggeredEventNotification)
        assert shop.meter == notice.fetch_related_object().id
        kind = notice.fetch_event().data.reason.error_types[0]
        assert ("meter_event_customer_not_found", "one") == (
            kind.code,
            kind.sample_errors[0].request.identifier,
        )

    def test_one_can_be_asked_for(self, shop: Shop) -> None:
        name = shop.customer()
        shop.double.outside.refuse_late(identifier_prefix="b", code="meter_event_invalid_value")
        for identifier in ("a", "b1", "b2"):
            shop.report(name, 1, identifier)
        shop.double.advance(minutes=1)
        assert 2.0 == summed(shop, name)
        assert 1 == shop.kinds().count("v1.billing.meter.error_report_triggered")


class TestFormulas:
    @pytest.mark.parametrize(("formula", "total"), [("sum", 6.0), ("last", 1.0), ("count", 3.0)])
    def test_they_aggregate(self, shop: Shop, formula: Any, total: float) -> None:
        given: Any = {"display_name": "x", "event_name": "x"}
        given["default_aggregation"] = {"formula": formula}
        shop.meter = shop.client.v1.billing.meters.create(given).id
        name, now = shop.customer(), shop.double.clock.now
        for value, after in ((2, 0), (1, 20), (3, 10)):
            shop.report(name, value, f"at {after}", event_name="x", timestamp=now + after)
        shop.double.advance(minutes=1)
        assert total == summed(shop, name)

    def test_an_event_name_has_one_active_meter(self, shop: Shop) -> None:
        given: Any = {"display_name": "x", "event_name": METER}
        given["default_aggregation"] = {"formula": "sum"}
        with pytest.raises(stripe.InvalidRequestError):
            shop.client.v1.billing.meters.create(given)
        shop.client.v1.billing.meters.deactivate(shop.meter)
        made = shop.client.v1.billing.meters.create(given)
        active = shop.client.v1.billing.meters.list({"status": "active"}).data
        assert [made.id] == [one.id for one in active]

    def test_the_formula_cannot_be_changed(self, shop: Shop) -> None:
        given: Any = {"default_aggregation": {"formula": "last"}}
        with pytest.raises(stripe.InvalidRequestError):
            shop.client.v1.billing.meters.update(shop.meter, given)
        update = shop.client.v1.billing.meters.update(shop.meter, {"display_name": "Other"})
        assert "Other" == update.display_name

    def test_the_newest_of_a_window_replaces_the_others(self, shop: Shop) -> None:
        given: Any = {"display_name": "x", "event_name": "x", "event_time_window": "hour"}
        given["default_aggregation"] = {"formula": "sum"}
        shop.meter = shop.client.v1.billing.meters.create(given).id
        name, now = shop.customer(), shop.double.clock.now
        for value, at in ((5, now - 30), (2, now), (3, now + 1)):
            shop.report(name, value, f"{at}", event_name="x", timestamp=at)
        shop.double.advance(minutes=1)
        listed = shop.client.v1.billing.meters.event_summaries.list(
            shop.meter, {"customer": name, "start_time": now - 3600, "end_time": now + 3600}
        )
        assert 8.0 == listed.data[0].aggregated_value


class TestAdjustments:
    def cancel(self, shop: Shop, identifier: str) -> None:
        shop.client.v1.billing.meter_event_adjustments.create(
            {"event_name": METER, "type": "cancel", "cancel": {"identifier": identifier}}
        )

    def test_an_event_is_taken_back_within_a_day(self, shop: Shop) -> None:
        name = shop.customer()
        shop.report(name, 7, "one")
        shop.report(name, 5, "two")
        shop.double.advance(hours=24)
        self.cancel(shop, "one")
        shop.double.advance(minutes=1)
        assert 5.0 == summed(shop, name)
        with pytest.raises(stripe.InvalidRequestError):
            self.cancel(shop, "two")

    @pytest.mark.parametrize("identifier", ["one", "nothing"])
    def test_what_is_gone_cannot_be_taken_back(self, shop: Shop, identifier: str) -> None:
        shop.report(shop.customer(), 7, "one")
        self.cancel(shop, "one")
        with pytest.raises(stripe.InvalidRequestError) as error:
            self.cancel(shop, identifier)
        assert (400, "resource_missing") == code_of(error)


class TestSummaries:
    def test_bounds_lie_on_minutes(self, shop: Shop) -> None:
        name, now = shop.customer(), shop.double.clock.now
        for start, end in ((now + 1, now + 60), (now, now + 61), (now, now)):
            with pytest.raises(stripe.InvalidRequestError):
                shop.client.v1.billing.meters.event_summaries.list(
                    shop.meter, {"customer": name, "start_time": start, "end_time": end}
                )

    def test_the_end_is_not_in_it(self, shop: Shop) -> None:
        name, now = shop.customer(), shop.double.clock.now
        shop.report(name, 1, "first", timestamp=now)
        shop.report(name, 2, "last", timestamp=now + 59)
        shop.report(name, 4, "next", timestamp=now + 60)
        shop.double.advance(minutes=5)
        listed = shop.client.v1.billing.meters.event_summaries.list(
            shop.meter, {"customer": name, "start_time": now, "end_time": now + 60}
        )
        assert [3.0] == [one.aggregated_value for one in listed.data]

    def test_windows_with_usage_are_told_apart(self, shop: Shop) -> None:
        name, now = shop.customer(), shop.double.clock.now
        for hour in range(5):
            shop.report(name, hour + 1, f"hour {hour}", timestamp=now - 3600 * hour)
        shop.double.advance(minutes=1)
        listed = shop.client.v1.billing.meters.event_summaries.list(
            shop.meter,
            {
                "customer": name,
                "start_time": now - 8 * 3600,
                "end_time": now + 3600,
                "value_grouping_window": "hour",
            },
        )
        assert 3 == len(listed.data)
        assert [1, 2, 3, 4, 5] == [int(one.aggregated_value) for one in listed.auto_paging_iter()]


class TestV2:
    def test_events_and_adjustments(self, shop: Shop) -> None:
        name = shop.customer()
        for identifier in ("one", "two"):
            event = shop.client.v2.billing.meter_events.create(
                {
                    "event_name": METER,
                    "payload": {"stripe_customer_id": name, "value": "7"},
                    "identifier": identifier,
                    "timestamp": "2026-11-01T00:00:00.000Z",
                }
            )
            assert identifier == event.identifier
        shop.client.v2.billing.meter_event_adjustments.create(
            {"event_name": METER, "type": "cancel", "cancel": {"identifier": "one"}}
        )
        shop.double.advance(minutes=1)
        assert 7.0 == summed(shop, name)

    def test_the_stream_takes_a_hundred_and_tells_errors_later(self, shop: Shop) -> None:
        name = shop.customer()
        token = shop.client.v2.billing.meter_event_session.create().authentication_token
        client = shop.double.client(key=token)
        payload = {"stripe_customer_id": name, "value": "1"}
        events: Any = [
            {"event_name": METER, "payload": payload, "identifier": f"{number}"}
            for number in range(99)
        ]
        wrong: Any = [{"event_name": METER, "payload": payload | {"value": "x"}}]
        client.v2.billing.meter_event_stream.create({"events": events + wrong})
        shop.double.advance(minutes=1)
        assert 99.0 == summed(shop, name)
        assert "v1.billing.meter.error_report_triggered" == shop.kinds()[-1]
        with pytest.raises(stripe.StripeError):
            client.v2.billing.meter_event_stream.create({"events": events + wrong + wrong})

    def test_the_token_of_a_session_ends(self, shop: Shop) -> None:
        token = shop.client.v2.billing.meter_event_session.create().authentication_token
        client = shop.double.client(key=token)
        with pytest.raises(stripe.AuthenticationError):
            client.v1.customers.list()
        shop.double.advance(minutes=15)
        with pytest.raises(stripe.TemporarySessionExpiredError):
            client.v2.billing.meter_event_stream.create({"events": []})
