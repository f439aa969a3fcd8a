"""No secret and no personal data in a text that somebody may read."""

import copy
import json
import logging
import pickle
import traceback
from typing import Any

import pytest
import stripe
import stripe._util

from billing import GatewayError, GatewaySettings, Secret
from tests.billing.gateway.calls import CALLS, Call, ask
from tests.billing.gateway.samples import PAYER, customer, intent
from tests.billing.gateway.scripted import (
    SECRET_KEY,
    Answer,
    ScriptedStripe,
    gateway,
    refused,
)

CLIENT_SECRET = "pi_1_secret_Abc123"
# What an answer or a refusal may repeat of what nobody else may see.
HIDDEN = [SECRET_KEY, CLIENT_SECRET, "whsec_Hidden1", "ada@example.org", "rk_live_Hidden2"]
TELLTALE = " and ".join(HIDDEN) + f" and Bearer {SECRET_KEY}"


def shown(error: BaseException) -> str:
    """All that a log may show of an error, with what it leads back to."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        parts += [str(seen), repr(seen), repr(seen.args), repr(vars(seen))]
        parts += traceback.format_exception(seen)
        seen = seen.__cause__ or seen.__context__
    return "\n".join(parts)


def assert_hidden(text: str) -> None:
    assert [] == [secret for secret in HIDDEN if secret in text]


class TestErrors:
    @pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 429, 500])
    @pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
    async def test_a_refusal_that_repeats_secrets_shows_none(self, call: Call, status: int) -> None:
        answer = refused(
            status,
            type="invalid_request_error",
            code="odd_" + SECRET_KEY,
            param=CLIENT_SECRET,
            message=TELLTALE,
        )
        with pytest.raises(GatewayError) as caught:
            await ask(gateway(ScriptedStripe(answer)), call.name, **call.arguments)
        assert_hidden(shown(caught.value))
        # The library's error holds answer and headers; nothing leads to it.
        assert None is caught.value.__cause__
        assert not isinstance(caught.value.__context__, stripe.StripeError)

    @pytest.mark.parametrize("status", [200, 400, 401, 502])
    async def test_a_page_that_repeats_secrets_shows_none(self, status: int) -> None:
        side = ScriptedStripe(Answer(TELLTALE.encode(), status))
        with pytest.raises(GatewayError) as caught:
            await gateway(side).hold("pi_1")
        assert_hidden(shown(caught.value))

    async def test_an_answer_of_another_shape_shows_none(self) -> None:
        side = ScriptedStripe(Answer({"id": TELLTALE, "object": TELLTALE[:10], "status": [1]}))
        with pytest.raises(GatewayError) as caught:
            await gateway(side).hold("pi_1")
        assert_hidden(shown(caught.value))

    @pytest.mark.parametrize(
        ("name", "arguments"),
        [
            (
                "create_customer",
                {
                    "key": "k",
                    "attribution_id": PAYER,
                    "name": "Ada Lovelace",
                    "email": "ada@example.org",
                    "currency": "eur",
                },
            ),
            (
                "set_default_payment_method",
                {
                    "customer_id": "cus_1",
                    "payment_method_id": "pm_1",
                    "address": {"line1": "Ada Lovelace"},
                },
            ),
        ],
    )
    async def test_where_names_were_sent_stripes_sentence_is_left_out(
        self, name: str, arguments: dict[str, Any]
    ) -> None:
        answer = refused(
            400, type="invalid_request_error", code="too_long", message="Too long: Ada Love…"
        )
        with pytest.raises(GatewayError) as caught:
            await ask(gateway(ScriptedStripe(answer)), name, **arguments)
        assert "Ada" not in shown(caught.value)
        assert "code too_long" in str(caught.value)


class TestLogs:
    @pytest.fixture
    def everything(self, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
        """All loggers at their most talkative, the library's too."""
        caplog.set_level(logging.DEBUG)
        caplog.set_level(logging.DEBUG, logger="stripe")
        return caplog

    async def test_the_library_logs_neither_bodies_nor_answers(
        self, everything: pytest.LogCaptureFixture
    ) -> None:
        side = ScriptedStripe(Answer(intent()), refused(400, message=TELLTALE))
        calls = gateway(side)
        await calls.hold("pi_1")
        with pytest.raises(GatewayError):
            await calls.hold("pi_1")
        assert [] == [record for record in everything.records if record.name == "stripe"]
        assert_hidden(everything.text)

    async def test_its_warnings_are_still_logged(
        self, everything: pytest.LogCaptureFixture
    ) -> None:
        gateway(ScriptedStripe())
        logging.getLogger("stripe").warning("look here")
        assert "look here" in everything.text

    async def test_a_variable_does_not_make_it_print(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        # As it is after an import under STRIPE_LOG=debug.
        monkeypatch.setattr(stripe._util, "STRIPE_LOG", "debug")
        await gateway(ScriptedStripe(Answer(intent()))).hold("pi_1")
        assert ("", "") == capsys.readouterr()


class TestValues:
    def test_a_secret_shows_itself_only_when_told_to(self) -> None:
        secret = Secret(SECRET_KEY)
        assert SECRET_KEY == secret.reveal()
        for text in (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", f"{[secret]}"):
            assert SECRET_KEY not in text

    def test_a_secret_is_not_written_anywhere(self) -> None:
        with pytest.raises(TypeError):
            pickle.dumps(Secret(SECRET_KEY))
        with pytest.raises(TypeError):
            copy.copy(Secret(SECRET_KEY))
        with pytest.raises(TypeError):
            json.dumps(Secret(SECRET_KEY))

    @pytest.mark.parametrize("empty", ["", "  ", "\n"])
    def test_an_empty_secret_is_false(self, empty: str) -> None:
        assert not Secret(empty)
        assert Secret(SECRET_KEY)

    async def test_settings_and_gateway_show_no_key(self) -> None:
        settings = GatewaySettings(secret_key=Secret(SECRET_KEY))
        calls = gateway(ScriptedStripe())
        assert_hidden(f"{settings!r} {settings} {calls!r} {vars(calls)!r}")

    async def test_a_hold_shows_no_client_secret(self) -> None:
        hold = await gateway(ScriptedStripe(Answer(intent()))).hold("pi_1")
        assert_hidden(f"{hold!r} {hold}")
        assert hold.client_secret is not None
        assert CLIENT_SECRET == hold.client_secret.reveal()

    async def test_a_customer_has_neither_name_nor_address(self) -> None:
        found = await gateway(ScriptedStripe(Answer(customer()))).customer("cus_1")
        assert_hidden(repr(found))
        assert "Ada" not in repr(found)
