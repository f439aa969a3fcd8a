"""The laws of what is reported, how it is named, and what an invoice bills."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from billing import (
    CreditNoteLine,
    GatewayMisuseError,
    Invoice,
    InvoiceLine,
    InvoiceQuantityError,
    StripeCreditNote,
    billed_credits,
    credited_credits,
    intent_key,
    next_delta,
    target_credits,
    usage_identifier,
    usage_key,
)
from tests.billing.gateway.samples import JULY, JUNE, PAYER

CENTS = st.integers(-(10**12), 10**12)
# What happens to a payer: the balance moves by cents, or the cycle ends (None).
HISTORIES = st.lists(st.none() | st.integers(-20_000, 20_000), max_size=60)


class TestTarget:
    @pytest.mark.parametrize(
        ("cents", "credits"),
        [(-100, 0), (-1, 0), (0, 0), (1, 1), (99, 1), (100, 1), (101, 2), (103_100, 1031)],
    )
    def test_begun_credits_count_and_debts_of_ours_do_not(self, cents: int, credits: int) -> None:
        assert credits == target_credits(cents)

    @given(CENTS)
    def test_it_is_the_least_that_covers_what_was_used(self, cents: int) -> None:
        target = target_credits(cents)
        assert target * 100 >= cents
        assert target == 0 or (target - 1) * 100 < cents

    @given(CENTS, CENTS)
    def test_more_usage_is_never_less_to_report(self, one: int, other: int) -> None:
        assert target_credits(min(one, other)) <= target_credits(max(one, other))


class Reporter:
    """Reports after everything that happens, as the process does."""

    def __init__(self) -> None:
        self.cents = self.requested = self.in_cycle = self.target_max = 0

    def step(self, happened: int | None) -> int:
        if happened is None:
            self.in_cycle = 0
        else:
            self.cents += happened
        target = target_credits(self.cents)
        self.target_max = max(self.target_max, target)
        delta = next_delta(target, requested=self.requested, requested_in_cycle=self.in_cycle)
        self.requested += delta
        self.in_cycle += delta
        return delta


class TestDeltas:
    @given(HISTORIES)
    def test_no_cycle_goes_below_zero(self, history: list[int | None]) -> None:
        reporter = Reporter()
        for happened in history:
            reporter.step(happened)
            assert reporter.in_cycle >= 0

    @given(HISTORIES)
    def test_all_that_was_used_is_reported(self, history: list[int | None]) -> None:
        reporter = Reporter()
        for happened in history:
            reporter.step(happened)
            assert reporter.requested * 100 >= reporter.cents

    @given(HISTORIES)
    def test_never_more_than_was_once_owed(self, history: list[int | None]) -> None:
        reporter = Reporter()
        for happened in history:
            reporter.step(happened)
        assert reporter.requested <= reporter.target_max

    @given(HISTORIES)
    def test_once_quiet_there_is_nothing_to_report(self, history: list[int | None]) -> None:
        reporter = Reporter()
        for happened in history:
            reporter.step(happened)
            assert 0 == reporter.step(0)

    @given(st.lists(st.none() | st.integers(0, 20_000), max_size=60))
    def test_rounding_costs_less_than_a_credit_in_all(self, history: list[int | None]) -> None:
        reporter = Reporter()
        for happened in history:
            reporter.step(happened)
        assert 0 <= reporter.requested * 100 - reporter.cents < 100

    @given(st.lists(st.integers(-20_000, 20_000), max_size=60))
    def test_within_a_cycle_a_correction_is_taken_back_in_full(self, history: list[int]) -> None:
        reporter = Reporter()
        for happened in history:
            reporter.step(happened)
        assert target_credits(reporter.cents) == reporter.requested

    def test_a_credit_beyond_the_cycle_absorbs_what_is_used_later(self) -> None:
        reporter = Reporter()
        deltas = [reporter.step(one) for one in (10_000, None, 500, -3_000, 2_000, 1_000)]
        assert [100, 0, 5, -5, 0, 5] == deltas

    @given(HISTORIES, st.integers(0, 59))
    def test_a_report_left_out_is_made_up_for_by_the_next_one(
        self, history: list[int | None], left_out: int
    ) -> None:
        reporter, late = Reporter(), Reporter()
        without_ends = [one for one in history if one is not None]
        for number, happened in enumerate(without_ends):
            reporter.step(happened)
            if number == left_out:
                late.cents += happened
            else:
                late.step(happened)
        late.step(0)
        assert reporter.requested == late.requested


class TestNames:
    def test_they_say_what_they_are_for(self) -> None:
        identifier = usage_identifier(meter_id="mtr_1", subscription_id="sub_1", sequence=7)
        assert "mtr_1:sub_1:7" == identifier
        assert "mtr_1:sub_1:7:2" == usage_key(identifier, attempt=2)
        assert f"create-customer:{PAYER}:1" == intent_key("create-customer", PAYER, generation=1)

    @given(
        st.tuples(st.text("mb_12", min_size=1), st.text("sb_12", min_size=1), st.integers(0, 99)),
        st.tuples(st.text("mb_12", min_size=1), st.text("sb_12", min_size=1), st.integers(0, 99)),
    )
    @example(("m_1", "s_1", 1), ("m_1", "s_1", 11))
    def test_two_reports_never_share_one(
        self, one: tuple[str, str, int], other: tuple[str, str, int]
    ) -> None:
        names = [
            usage_identifier(
                meter_id=meter[:20], subscription_id=subscription[:20], sequence=number
            )
            for meter, subscription, number in (one, other)
        ]
        same = (one[0][:20], one[1][:20], one[2]) == (other[0][:20], other[1][:20], other[2])
        assert same == (names[0] == names[1])

    @pytest.mark.parametrize(
        "odd",
        [
            {"meter_id": ""},
            {"subscription_id": ""},
            {"meter_id": "mtr:1"},
            {"subscription_id": "sub:1"},
            {"sequence": -1},
            {"meter_id": "m" * 93},
        ],
        ids=str,
    )
    def test_a_report_cannot_be_named_by(self, odd: dict[str, Any]) -> None:
        with pytest.raises(GatewayMisuseError):
            usage_identifier(
                **{"meter_id": "mtr_1", "subscription_id": "sub_1", "sequence": 7, **odd}
            )

    def test_the_longest_identifier_has_a_hundred_signs(self) -> None:
        names = {"meter_id": "m" * 91, "subscription_id": "sub_1"}
        assert 100 == len(usage_identifier(**names, sequence=77))

    @pytest.mark.parametrize(
        ("action", "subject", "generation"),
        [("", PAYER, 1), ("create:hold", PAYER, 1), ("create", "", 1), ("create", PAYER, -1)],
    )
    def test_an_intent_cannot_be_named_by(self, action: str, subject: str, generation: int) -> None:
        with pytest.raises(GatewayMisuseError):
            intent_key(action, subject, generation=generation)

    def test_a_key_longer_than_stripe_takes_is_refused(self) -> None:
        with pytest.raises(GatewayMisuseError, match="255"):
            intent_key("create", "s" * 255, generation=1)
        with pytest.raises(GatewayMisuseError, match="empty"):
            usage_key("", attempt=1)


METERED = frozenset({"price_eur", "price_usd"})


def line(
    quantity: str | int | None, *, price: str | None = "price_eur", proration: bool = False
) -> InvoiceLine:
    return InvoiceLine(
        line_id="il_1",
        price_id=price,
        quantity=None if quantity is None else Decimal(quantity),
        amount=0,
        is_proration=proration,
        subscription_item_id="si_1",
        period_start=JUNE,
        period_end=JULY,
    )


def invoice(*lines: InvoiceLine) -> Invoice:
    return Invoice(
        invoice_id="in_1",
        customer_id="cus_1",
        subscription_id="sub_1",
        status="open",
        currency="eur",
        total=0,
        created=JULY,
        finalized_at=JULY,
        voided_at=None,
        marked_uncollectible_at=None,
        period_start=JUNE,
        period_end=JULY,
        lines=lines,
    )


FOREIGN = st.sampled_from(
    [
        line(7, price="price_seats"),
        line(7, price=None),
        line(7, proration=True),
        line(None, price="p"),
    ]
)


class TestBilledCredits:
    def test_the_originals_invoice_of_four_tier_lines(self) -> None:
        tiers = invoice(line(1000), line(0), line(31), line(0))
        assert 1031 == billed_credits(tiers, METERED)

    def test_none_at_all(self) -> None:
        assert 0 == billed_credits(invoice(), METERED)

    @given(st.lists(st.integers(0, 10**12), max_size=20), st.lists(FOREIGN, max_size=5), st.data())
    def test_only_metered_lines_count_in_any_order(
        self, quantities: list[int], foreign: list[InvoiceLine], draw: st.DataObject
    ) -> None:
        lines = draw.draw(st.permutations([*map(line, quantities), *foreign]))
        assert sum(quantities) == billed_credits(invoice(*lines), METERED)

    @given(st.lists(st.decimals(0, 10**15, places=12), min_size=1, max_size=20))
    def test_the_sum_is_exact_or_an_error(self, quantities: list[Decimal]) -> None:
        lines = invoice(*[line(str(one)) for one in quantities])
        total = sum(map(Fraction, quantities), Fraction(0))
        if total.denominator != 1:
            with pytest.raises(InvoiceQuantityError, match="no whole number"):
                billed_credits(lines, METERED)
        else:
            assert total == billed_credits(lines, METERED)

    def test_fractions_that_add_up_are_whole(self) -> None:
        assert 1 == billed_credits(invoice(line("0.3"), line("0.7")), METERED)

    @pytest.mark.parametrize(
        "quantity",
        ["0.5", "999999999999999.000000000001", "-1001", "1E-400", None, "NaN", "Infinity"],
    )
    def test_what_is_no_whole_number_of_credits_is_an_error(self, quantity: str | None) -> None:
        with pytest.raises(InvoiceQuantityError, match="in_1"):
            billed_credits(invoice(line(1000), line(quantity)), METERED)

    def test_a_quantity_too_small_to_be_added_exactly_is_an_error(self) -> None:
        with pytest.raises(InvoiceQuantityError, match="too many digits"):
            billed_credits(invoice(line(1000), line("1E-400")), METERED)


def named_line(
    line_id: str, quantity: str, amount: int, *, proration: bool = False, price: str = "price_eur"
) -> InvoiceLine:
    return replace(line(quantity, price=price, proration=proration), line_id=line_id, amount=amount)


def part(of: str | None, *, quantity: str | None = None, amount: int = 0) -> CreditNoteLine:
    exact = None if quantity is None else Decimal(quantity)
    return CreditNoteLine(line_id="cnli_1", invoice_line_id=of, quantity=exact, amount=amount)


def note(*parts: CreditNoteLine) -> StripeCreditNote:
    return StripeCreditNote(
        credit_note_id="cn_1",
        invoice_id="in_1",
        customer_id="cus_1",
        status="issued",
        currency="eur",
        amount=sum(one.amount for one in parts),
        created=JULY,
        voided_at=None,
        lines=parts,
    )


class TestCreditedCredits:
    def test_parts_of_credits_of_two_lines_add_up(self) -> None:
        both = invoice(named_line("a", "5", 500), named_line("b", "5", 500))
        halves = note(part("a", amount=250), part("b", amount=250))
        assert 5 == credited_credits(halves, both, METERED)

    def test_quantities_count_as_they_are_named(self) -> None:
        one = invoice(named_line("a", "100", 360))
        assert Fraction(81, 2) == credited_credits(
            note(part("a", quantity="40.5", amount=145)), one, METERED
        )

    @pytest.mark.parametrize(
        "other",
        [
            named_line("b", "100", 100, proration=True),
            named_line("b", "100", 100, price="price_seats"),
            named_line("b", "0", 900),  # a flat fee
        ],
        ids=["proration", "another product", "flat fee"],
    )
    def test_a_note_on_what_bills_no_credits_takes_none_back(self, other: InvoiceLine) -> None:
        both = invoice(named_line("a", "5", 500), other)
        for one in (part("b", quantity="60", amount=60), part("b", amount=60)):
            assert 0 == credited_credits(note(one), both, METERED)

    def test_a_note_of_money_alone_takes_none_back(self) -> None:
        one = invoice(named_line("a", "5", 500))
        assert 0 == credited_credits(note(part(None, amount=500)), one, METERED)
        assert 0 == credited_credits(note(), one, METERED)

    @given(st.integers(1, 10**6), st.lists(st.integers(1, 10**6), min_size=1, max_size=10))
    def test_amounts_that_add_up_to_a_line_are_all_of_its_credits(
        self, quantity: int, amounts: list[int]
    ) -> None:
        one = invoice(named_line("a", str(quantity), sum(amounts)))
        credited = sum(
            (credited_credits(note(part("a", amount=each)), one, METERED) for each in amounts),
            Fraction(0),
        )
        assert quantity == credited

    @given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.booleans())
    def test_never_more_than_the_line_has(
        self, quantity: int, amount: int, more: int, by_quantity: bool
    ) -> None:
        one = invoice(named_line("a", str(quantity), amount))
        asked = part("a", quantity=str(quantity + more) if by_quantity else None, amount=more)
        assert 0 <= credited_credits(note(asked), one, METERED) <= quantity
