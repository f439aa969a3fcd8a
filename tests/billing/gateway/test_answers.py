"""What Stripe answers, as records."""

from decimal import Decimal
from typing import Any

import pytest

from billing import (
    CreditNoteLine,
    Customer,
    Dispute,
    EventNotice,
    Hold,
    Invoice,
    InvoiceLine,
    Meter,
    MeterSummary,
    PaymentMethod,
    Price,
    Secret,
    StripeCreditNote,
    StripeMissingError,
    StripeRefusedError,
    Subscription,
    SubscriptionItem,
)
from tests.billing.gateway.calls import ask
from tests.billing.gateway.samples import (
    JULY,
    JUNE,
    METER,
    PAYER,
    PRICE,
    credit_note,
    customer,
    dispute,
    event,
    intent,
    invoice,
    invoice_line,
    page,
    payment_method,
    subscription,
    subscription_item,
)
from tests.billing.gateway.scripted import Answer, ScriptedStripe, gateway, refused

ITEM = SubscriptionItem(
    item_id="si_1", price_id="price_1", current_period_start=JUNE, current_period_end=JULY
)
SUBSCRIPTION = Subscription(
    subscription_id="sub_1",
    customer_id="cus_1",
    status="active",
    items=(ITEM,),
    automatic_tax_enabled=True,
    created=JUNE,
    cancel_at_period_end=False,
    cancel_at=None,
    canceled_at=None,
    ended_at=None,
    attribution_id=PAYER,
    marker="attempt-1",
)
LINE = InvoiceLine(
    line_id="il_1",
    price_id="price_1",
    quantity=Decimal(1000),
    amount=900,
    is_proration=False,
    subscription_item_id="si_1",
    period_start=JUNE,
    period_end=JULY,
)


async def answered(name: str, *answers: dict[str, Any], **arguments: Any) -> Any:
    side = ScriptedStripe(*[Answer(answer) for answer in answers])
    result = await ask(gateway(side), name, **arguments)
    assert not side.answers
    return result


async def the_customer(fields: dict[str, Any]) -> Customer:
    found = await answered("customer", fields, customer_id="cus_1")
    assert isinstance(found, Customer)
    return found


class TestCustomer:
    async def test_all_that_is_told(self) -> None:
        subscriptions = page(subscription(), url="/v1/subscriptions")
        assert Customer(
            customer_id="cus_1",
            created=JUNE,
            attribution_id=PAYER,
            preferred_currency="eur",
            creator_user_id="user-1",
            tax_state="supported",
            subscriptions=(SUBSCRIPTION,),
        ) == await the_customer(customer(subscriptions=subscriptions))

    async def test_of_a_deleted_one_the_id_is_left(self) -> None:
        deleted = {"id": "cus_1", "object": "customer", "deleted": True}
        assert Customer(customer_id="cus_1", is_deleted=True) == await the_customer(deleted)

    async def test_tax_and_subscriptions_that_are_not_told_are_not_known(self) -> None:
        fields = customer()
        del fields["tax"], fields["subscriptions"]
        found = await the_customer(fields)
        assert (None, None, None) == (
            found.tax_state,
            found.subscriptions,
            found.has_unrecognized_address,
        )
        assert not found.is_tax_supported

    @pytest.mark.parametrize(
        ("state", "supported", "unrecognized"),
        [
            ("supported", True, False),
            ("not_collecting", False, False),
            ("failed", False, False),
            ("unrecognized_location", False, True),
            ("some_state_of_the_future", False, False),
        ],
    )
    async def test_the_state_of_automatic_tax(
        self, state: str, supported: bool, unrecognized: bool
    ) -> None:
        found = await the_customer(customer(tax={"automatic_tax": state}))
        assert (state, supported, unrecognized) == (
            found.tax_state,
            found.is_tax_supported,
            found.has_unrecognized_address,
        )

    async def test_somebody_elses_customer_names_no_payer(self) -> None:
        found = await the_customer(customer(metadata={}))
        assert (None, None, None) == (
            found.attribution_id,
            found.preferred_currency,
            found.creator_user_id,
        )

    @pytest.mark.parametrize("status", ["canceled", "incomplete_expired"])
    async def test_dead_subscriptions_are_none_of_its(self, status: str) -> None:
        listed = page(subscription(status=status), url="/v1/subscriptions")
        assert () == (await the_customer(customer(subscriptions=listed))).subscriptions


class TestSubscription:
    async def test_all_that_is_told(self) -> None:
        assert SUBSCRIPTION == await answered(
            "subscription", subscription(), subscription_id="sub_1"
        )
        assert ITEM == SUBSCRIPTION.item

    async def test_its_end(self) -> None:
        fields = subscription(
            status="canceled",
            cancel_at=JULY,
            canceled_at=JUNE,
            ended_at=JULY,
            cancel_at_period_end=True,
        )
        found = await answered("subscription", fields, subscription_id="sub_1")
        assert (True, JULY, JUNE, JULY, True) == (
            found.is_dead,
            found.cancel_at,
            found.canceled_at,
            found.ended_at,
            found.cancel_at_period_end,
        )

    @pytest.mark.parametrize(
        ("status", "dead"),
        [
            ("canceled", True),
            ("incomplete_expired", True),
            ("active", False),
            ("trialing", False),
            ("incomplete", False),
            ("past_due", False),
            ("unpaid", False),
            ("paused", False),
        ],
    )
    async def test_which_states_are_dead(self, status: str, dead: bool) -> None:
        fields = subscription(status=status)
        found = await answered("subscription", fields, subscription_id="sub_1")
        assert dead == found.is_dead

    @pytest.mark.parametrize("items", [[], [subscription_item(), subscription_item("si_2")]])
    async def test_with_none_or_two_items_it_has_no_single_one(
        self, items: list[dict[str, Any]]
    ) -> None:
        fields = subscription(items=items)
        found = await answered("subscription", fields, subscription_id="sub_1")
        assert (len(items), None) == (len(found.items), found.item)

    async def test_an_expanded_customer_is_its_id(self) -> None:
        fields = subscription(customer=customer("cus_7"))
        found = await answered("subscription", fields, subscription_id="sub_1")
        assert "cus_7" == found.customer_id

    async def test_cancelling_one_that_has_ended_is_fine(self) -> None:
        side = ScriptedStripe(
            refused(404, type="invalid_request_error", code="resource_missing"),
            Answer(subscription(status="canceled")),
        )
        found = await gateway(side).cancel_subscription("sub_1")
        assert found.is_dead
        assert ["delete", "get"] == [request.method for request in side.requests]

    async def test_cancelling_one_that_is_not_there_is_not(self) -> None:
        missing = refused(404, type="invalid_request_error", code="resource_missing")
        side = ScriptedStripe(missing, missing)
        with pytest.raises(StripeMissingError):
            await gateway(side).cancel_subscription("sub_1")


class TestHold:
    async def test_all_that_is_told(self) -> None:
        found = await answered("hold", intent(), hold_id="pi_1")
        assert (
            Hold(
                hold_id="pi_1",
                customer_id="cus_1",
                status="requires_capture",
                amount=100,
                currency="eur",
                created=JUNE,
                payment_method_id="pm_1",
                marker="hold-1",
                client_secret=Secret("pi_1_secret_Abc123"),
            )
            == found
        )
        assert (True, False) == (found.is_held, found.is_canceled)

    async def test_one_without_owner_card_or_marker(self) -> None:
        fields = intent(customer=None, payment_method=None, metadata={}, client_secret=None)
        found = await answered("hold", fields, hold_id="pi_1")
        assert (None, None, None, None) == (
            found.customer_id,
            found.payment_method_id,
            found.marker,
            found.client_secret,
        )

    async def test_cancelling_one_that_was_cancelled_is_fine(self) -> None:
        side = ScriptedStripe(
            refused(400, type="invalid_request_error", code="payment_intent_unexpected_state"),
            Answer(intent(status="canceled")),
        )
        assert (await gateway(side).cancel_hold("pi_1")).is_canceled

    @pytest.mark.parametrize(
        ("code", "asked"), [("payment_intent_unexpected_state", 2), ("parameter_unknown", 1)]
    )
    async def test_cancelling_one_that_cannot_be_is_not(self, code: str, asked: int) -> None:
        side = ScriptedStripe(
            refused(400, type="invalid_request_error", code=code),
            Answer(intent(status="succeeded")),
        )
        with pytest.raises(StripeRefusedError):
            await gateway(side).cancel_hold("pi_1")
        assert asked == len(side.requests)

    async def test_the_address_of_a_card_has_what_was_filled_in(self) -> None:
        found = await answered(
            "attach_payment_method",
            payment_method(),
            payment_method_id="pm_1",
            customer_id="cus_1",
        )
        address = {
            "city": "Kiel",
            "country": "DE",
            "line1": "Sophienblatt 1",
            "postal_code": "24103",
        }
        assert (
            PaymentMethod(payment_method_id="pm_1", customer_id="cus_1", address=address) == found
        )

    @pytest.mark.parametrize("details", [None, {}, {"address": None}])
    async def test_a_card_may_have_no_address(self, details: dict[str, Any] | None) -> None:
        found = await answered(
            "attach_payment_method",
            payment_method(billing_details=details),
            payment_method_id="pm_1",
            customer_id="cus_1",
        )
        assert {} == found.address


class TestPriceAndMeter:
    async def test_a_price(self) -> None:
        assert Price(
            price_id="price_1",
            currency="eur",
            is_active=True,
            description="9 € a month",
            meter_id="mtr_1",
        ) == await answered("price", PRICE, price_id="price_1")

    async def test_a_price_that_bills_no_usage_and_says_nothing(self) -> None:
        found = await answered(
            "price", {**PRICE, "recurring": None, "metadata": {}}, price_id="price_1"
        )
        assert (None, None) == (found.meter_id, found.description)

    async def test_a_meter(self) -> None:
        assert Meter(
            meter_id="mtr_1",
            event_name="credits",
            formula="sum",
            is_active=True,
            customer_key="stripe_customer_id",
            value_key="value",
        ) == await answered("meter", METER, meter_id="mtr_1")

    @pytest.mark.parametrize(
        ("values", "credits"),
        [([], "0"), ([12.0], "12"), ([1031], "1031"), ([0.1, 0.2], "0.3"), ([-5.0], "-5")],
    )
    async def test_a_summary_adds_up(self, values: list[float], credits: str) -> None:
        parts = [
            {"id": f"mtrusg_{n}", "object": "billing.meter_event_summary", "aggregated_value": one}
            for n, one in enumerate(values)
        ]
        found = await answered(
            "summary",
            page(*parts, url="/v1/billing/meters/mtr_1/event_summaries"),
            meter_id="mtr_1",
            customer_id="cus_1",
            start=JUNE,
            end=JULY,
        )
        assert (
            MeterSummary(
                meter_id="mtr_1",
                customer_id="cus_1",
                start=JUNE,
                end=JULY,
                credits=Decimal(credits),
            )
            == found
        )


class TestInvoice:
    async def test_all_that_is_told(self) -> None:
        assert Invoice(
            invoice_id="in_1",
            customer_id="cus_1",
            subscription_id="sub_1",
            status="open",
            currency="eur",
            total=900,
            created=JULY,
            finalized_at=JULY + 3600,
            voided_at=None,
            marked_uncollectible_at=None,
            period_start=JUNE,
            period_end=JULY,
            lines=(LINE,),
        ) == await answered("invoice", invoice(), invoice_id="in_1")

    @pytest.mark.parametrize("parent", [None, {"type": "quote_details", "quote_details": {}}])
    async def test_one_of_no_subscription(self, parent: dict[str, Any] | None) -> None:
        found = await answered("invoice", invoice(parent=parent), invoice_id="in_1")
        assert None is found.subscription_id

    async def test_a_draft_was_not_finalized(self) -> None:
        fields = invoice(status="draft", status_transitions={"finalized_at": None})
        found = await answered("invoice", fields, invoice_id="in_1")
        assert ("draft", None) == (found.status, found.finalized_at)

    async def test_one_without_lines(self) -> None:
        assert () == (await answered("invoice", invoice(lines=[]), invoice_id="in_1")).lines

    async def test_its_price_may_be_expanded(self) -> None:
        line = invoice_line(pricing={"price_details": {"price": {"id": "price_9"}}})
        found = await answered("invoice", invoice(lines=[line]), invoice_id="in_1")
        assert "price_9" == found.lines[0].price_id

    async def test_the_quantity_is_the_exact_one(self) -> None:
        line = invoice_line(quantity=3, quantity_decimal="3.000000000001")
        found = await answered("invoice", invoice(lines=[line]), invoice_id="in_1")
        assert Decimal("3.000000000001") == found.lines[0].quantity

    async def test_a_quantity_that_lost_its_fraction_is_none(self) -> None:
        line = invoice_line()
        del line["quantity_decimal"]
        found = await answered("invoice", invoice(lines=[line]), invoice_id="in_1")
        assert None is found.lines[0].quantity

    @pytest.mark.parametrize(
        ("parent", "proration", "item"),
        [
            (None, False, None),
            ({"subscription_item_details": {"proration": True}}, True, None),
            ({"invoice_item_details": {"proration": True}}, True, None),
            ({"invoice_item_details": {"proration": False}}, False, None),
        ],
    )
    async def test_which_lines_are_prorations(
        self, parent: dict[str, Any] | None, proration: bool, item: str | None
    ) -> None:
        fields = invoice(lines=[invoice_line(parent=parent)])
        (line,) = (await answered("invoice", fields, invoice_id="in_1")).lines
        assert (proration, item) == (line.is_proration, line.subscription_item_id)

    async def test_a_line_without_price(self) -> None:
        fields = invoice(lines=[invoice_line(pricing=None)])
        assert None is (await answered("invoice", fields, invoice_id="in_1")).lines[0].price_id


class TestCreditNote:
    async def test_all_that_is_told(self) -> None:
        line = CreditNoteLine(
            line_id="cnli_1", invoice_line_id="il_1", quantity=Decimal(31), amount=112
        )
        assert StripeCreditNote(
            credit_note_id="cn_1",
            invoice_id="in_1",
            customer_id="cus_1",
            status="issued",
            currency="eur",
            amount=112,
            created=JULY,
            voided_at=None,
            lines=(line,),
        ) == await answered("credit_note", credit_note(), credit_note_id="cn_1")


class TestDispute:
    async def test_by_its_payment_intent(self) -> None:
        assert Dispute(
            dispute_id="dp_1",
            status="needs_response",
            created=JULY,
            charge_id="ch_1",
            payment_intent_id="pi_1",
            customer_id="cus_1",
            attribution_id=PAYER,
        ) == await answered("dispute", dispute(), dispute_id="dp_1")

    @pytest.mark.parametrize("payment_intent", [None, intent(customer=None), "pi_1"])
    async def test_else_by_its_charge(self, payment_intent: Any) -> None:
        side = ScriptedStripe(
            Answer(dispute(payment_intent=payment_intent)),
            Answer({"id": "ch_1", "object": "charge", "customer": customer("cus_7")}),
        )
        found = await gateway(side).dispute("dp_1")
        assert ("cus_7", PAYER) == (found.customer_id, found.attribution_id)
        assert ("/v1/charges/ch_1", {"expand[0]": "customer"}) == (
            side.requests[1].path,
            side.requests[1].form,
        )

    async def test_one_that_belongs_to_nobody(self) -> None:
        charge = {"id": "ch_1", "object": "charge", "customer": None}
        found = await answered("dispute", dispute(payment_intent=None), charge, dispute_id="dp_1")
        assert (None, None) == (found.customer_id, found.attribution_id)

    @pytest.mark.parametrize(
        "payer", ["cus_1", {"id": "cus_1", "object": "customer", "deleted": True}]
    )
    async def test_of_a_deleted_customer_the_id_is_left(self, payer: Any) -> None:
        fields = dispute(payment_intent=intent(customer=payer))
        found = await answered("dispute", fields, dispute_id="dp_1")
        assert ("cus_1", None) == (found.customer_id, found.attribution_id)


class TestEvents:
    async def test_they_tell_what_happened_to_what(self) -> None:
        changed = event(
            "evt_2",
            type="customer.updated",
            data={"object": {"id": "cus_1"}, "previous_attributes": {"address": None}},
        )
        assert [
            EventNotice(event_id="evt_1", type="invoice.finalized", object_id="in_1", created=JULY),
            EventNotice(
                event_id="evt_2",
                type="customer.updated",
                object_id="cus_1",
                created=JULY,
                changes_address=True,
            ),
        ] == await answered(
            "events_since",
            page(event(), changed, url="/v1/events"),
            types=["invoice.finalized"],
            created_from=JUNE,
        )
