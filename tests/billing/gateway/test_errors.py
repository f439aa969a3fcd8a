"""Every way in which Stripe fails has one error of ours."""

from typing import Any

import httpx
import pytest

from billing import (
    BillingError,
    GatewayError,
    StripeAnswerError,
    StripeCardError,
    StripeConflictError,
    StripeCredentialsError,
    StripeIdempotencyError,
    StripeMissingError,
    StripeRefusedError,
    StripeTimeoutError,
    StripeUnavailableError,
)
from tests.billing.gateway.calls import CALLS, Call, ask
from tests.billing.gateway.samples import PAYER, customer, subscription
from tests.billing.gateway.scripted import Answer, ScriptedStripe, gateway, refused, unreachable

INVALID = "invalid_request_error"
DEFINITE, UNKNOWN = False, True
PROXY = b"<html>Bad gateway</html>"

# What Stripe answers, our error, and whether a write may have had its effect all the same.
TABLE = [
    (refused(404, type=INVALID, code="resource_missing"), StripeMissingError, DEFINITE),
    (refused(400, type=INVALID, code="resource_missing"), StripeMissingError, DEFINITE),
    (refused(400, type=INVALID, code="parameter_unknown"), StripeRefusedError, DEFINITE),
    (refused(404, type=INVALID), StripeRefusedError, DEFINITE),
    (refused(422, type=INVALID), StripeRefusedError, DEFINITE),
    (Answer(b"not found", 404), StripeRefusedError, DEFINITE),
    (refused(402, type="card_error", code="card_declined"), StripeCardError, DEFINITE),
    (refused(401, type=INVALID), StripeCredentialsError, DEFINITE),
    (refused(403, type=INVALID), StripeCredentialsError, DEFINITE),
    (Answer(PROXY, 403), StripeCredentialsError, DEFINITE),
    (refused(400, type="idempotency_error"), StripeIdempotencyError, DEFINITE),
    (refused(409, type=INVALID, code="lock_timeout"), StripeConflictError, UNKNOWN),
    (refused(409, type="idempotency_error"), StripeConflictError, UNKNOWN),
    (refused(429, type=INVALID, code="rate_limit"), StripeUnavailableError, DEFINITE),
    (refused(400, type=INVALID, code="rate_limit"), StripeUnavailableError, DEFINITE),
    (Answer(PROXY, 429), StripeUnavailableError, DEFINITE),
    (refused(500, type="api_error"), StripeUnavailableError, UNKNOWN),
    (refused(503, type="api_error"), StripeUnavailableError, UNKNOWN),
    (Answer(PROXY, 502), StripeUnavailableError, UNKNOWN),
    (Answer(PROXY, 200), StripeUnavailableError, UNKNOWN),
    (Answer(b"\xff\xfe", 200), StripeUnavailableError, UNKNOWN),
    (Answer(b"\xff\xfe", 502), StripeUnavailableError, UNKNOWN),
    (Answer(b"", 302), StripeUnavailableError, UNKNOWN),
    (unreachable(httpx.ConnectError("refused")), StripeUnavailableError, UNKNOWN),
    (unreachable(httpx.RemoteProtocolError("closed")), StripeUnavailableError, UNKNOWN),
    (unreachable(httpx.ReadTimeout("slow")), StripeTimeoutError, UNKNOWN),
    (unreachable(httpx.ConnectTimeout("slow")), StripeTimeoutError, UNKNOWN),
    (unreachable(TimeoutError()), StripeTimeoutError, UNKNOWN),
]
WRITE = {
    "key": "k",
    "customer_id": "cus_1",
    "price_id": "price_1",
    "automatic_tax": False,
    "attribution_id": PAYER,
    "marker": "attempt-1",
}


def table_id(value: object) -> str | None:
    if isinstance(value, Answer):
        kind = value.body["error"] if isinstance(value.body, dict) else {}
        return f"{value.status}-{kind.get('code') or kind.get('type') or 'page'}"
    return type(value.__cause__).__name__ if isinstance(value, Exception) else None


async def error_of(name: str, answer: Answer | Exception, /, **arguments: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await ask(gateway(ScriptedStripe(answer)), name, **arguments)
    return caught.value


class TestTable:
    @pytest.mark.parametrize(("answer", "kind", "unknown"), TABLE, ids=table_id)
    async def test_a_write_fails_with_this_error_and_outcome(
        self, answer: Answer | Exception, kind: type[GatewayError], unknown: bool
    ) -> None:
        error = await error_of("create_subscription", answer, **WRITE)
        assert (kind, unknown) == (type(error), error.outcome_unknown)

    @pytest.mark.parametrize(("answer", "kind", "unknown"), TABLE, ids=table_id)
    async def test_a_read_fails_with_this_error_and_changes_nothing(
        self, answer: Answer | Exception, kind: type[GatewayError], unknown: bool
    ) -> None:
        error = await error_of("subscription", answer, subscription_id="sub_1")
        assert (kind, False) == (type(error), error.outcome_unknown)

    @pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
    async def test_each_call_says_whether_its_outcome_is_known(self, call: Call) -> None:
        error = await error_of(call.name, refused(500, type="api_error"), **call.arguments)
        assert (StripeUnavailableError, call.writes) == (type(error), error.outcome_unknown)

    async def test_too_many_requests_after_another_attempt_leave_the_outcome_open(self) -> None:
        side = ScriptedStripe(refused(500, type="api_error"), refused(429, type=INVALID))
        with pytest.raises(StripeUnavailableError) as caught:
            await ask(gateway(side, retries=1), "create_subscription", **WRITE)
        assert (429, True) == (caught.value.status, caught.value.outcome_unknown)

    @pytest.mark.parametrize("name", ["Idempotent-Replayed", "idempotent-replayed"])
    async def test_a_failure_that_was_stored_is_told_as_such(self, name: str) -> None:
        answer = refused(500, {name: "true"}, type="api_error")
        error = await error_of("create_subscription", answer, **WRITE)
        assert error.is_stored_failure

    @pytest.mark.parametrize(
        "answer",
        [
            refused(500, type="api_error"),
            refused(500, {"Idempotent-Replayed": "false"}, type="api_error"),
            refused(409, {"Idempotent-Replayed": "true"}, type="idempotency_error"),
            refused(400, {"Idempotent-Replayed": "true"}, type=INVALID),
            Answer(PROXY, 502),
            unreachable(httpx.ReadTimeout("slow")),
        ],
        ids=table_id,
    )
    async def test_whatever_else_fails_is_not(self, answer: Answer | Exception) -> None:
        """The request may still be under way, or fail for good."""
        error = await error_of("create_subscription", answer, **WRITE)
        assert not error.is_stored_failure

    def test_all_are_of_one_tree(self) -> None:
        kinds = {kind for _, kind, _ in TABLE} | {StripeAnswerError}
        assert kinds == set(GatewayError.__subclasses__())
        assert issubclass(GatewayError, BillingError)


class TestWhatAnErrorTells:
    async def test_stripes_own_words(self) -> None:
        answer = refused(
            400,
            type=INVALID,
            code="parameter_unknown",
            param="items[0][plan]",
            message="Received unknown parameter: items[0][plan]",
        )
        error = await error_of("create_subscription", answer, **WRITE)
        assert (400, "parameter_unknown", "items[0][plan]", "req_1") == (
            error.status,
            error.code,
            error.param,
            error.request_id,
        )
        assert (
            "Stripe refused the request (status 400, code parameter_unknown,"
            " param items[0][plan], request id req_1): Received unknown parameter: items[0][plan]"
        ) == str(error)

    async def test_a_long_sentence_is_cut_and_kept_on_one_line(self) -> None:
        answer = refused(400, type=INVALID, message="no\nway\x1b[31m " + "x" * 5000)
        error = await error_of("create_subscription", answer, **WRITE)
        assert len(str(error)) < 300
        assert str(error).isprintable()

    async def test_the_kind_of_network_trouble(self) -> None:
        error = await error_of(
            "create_subscription", unreachable(httpx.ConnectError("10.0.0.1")), **WRITE
        )
        assert "Stripe was not reached (ConnectError)" == str(error)


class TestSearch:
    @pytest.mark.parametrize(
        ("status", "told"),
        [
            (400, {"type": INVALID, "message": "Search is not available in your region"}),
            (402, {"type": "card_error", "code": "card_declined"}),
            (404, {"type": INVALID, "code": "resource_missing"}),
            (404, {"type": INVALID}),
        ],
    )
    async def test_a_search_that_is_refused_is_not_available(
        self, status: int, told: dict[str, Any]
    ) -> None:
        answer = refused(status, **told)
        error = await error_of("search_customers", answer, attribution_id=PAYER)
        assert (StripeUnavailableError, False, status) == (
            type(error),
            error.outcome_unknown,
            error.status,
        )

    async def test_a_wrong_key_is_still_a_wrong_key(self) -> None:
        error = await error_of("search_customers", refused(401), attribution_id=PAYER)
        assert StripeCredentialsError is type(error)


class TestAnswersOfAnotherShape:
    @pytest.mark.parametrize(
        "odd",
        [
            {},
            [],
            subscription(customer=None),
            subscription(customer=7),
            subscription(status=None),
            subscription(created="yesterday"),
            subscription(created=True),
            subscription(automatic_tax=[]),
            subscription(automatic_tax={"enabled": "yes"}),
            {**subscription(), "items": None},
            {**subscription(), "items": {"data": [1]}},
            subscription(items=[{"id": "si_1"}]),
        ],
    )
    async def test_a_write_says_so_and_leaves_the_outcome_open(self, odd: Any) -> None:
        error = await error_of("create_subscription", Answer(odd), **WRITE)
        assert (StripeAnswerError, True) == (type(error), error.outcome_unknown)

    async def test_a_number_that_the_library_cannot_read(self) -> None:
        line = {"id": "il_1", "object": "line_item", "quantity_decimal": "many"}
        error = await error_of(
            "invoice",
            Answer({"id": "in_1", "object": "invoice", "lines": {"data": [line]}}),
            invoice_id="in_1",
        )
        assert "Stripe's answer cannot be read (InvalidOperation)" == str(error)

    async def test_the_field_is_named_and_no_value_shown(self) -> None:
        odd = customer(created="on a Tuesday", email="ada@example.org")
        error = await error_of("customer", Answer(odd), customer_id="cus_1")
        assert "Stripe's customer has no created, or one of another kind" == str(error)
