"""BillingService without Stripe credentials: section 5 of the contract."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.contract.calls.asking import PAYER, USER, head, refused
from tests.harness import Calls, InProcessService, ManualClock, settings_for
from usage.v1 import billing_pb2 as pb

NOTHING_TO_DO = [
    pytest.param("ReconcileInvoices", pb.ReconcileInvoicesRequest(), id="ReconcileInvoices"),
    pytest.param(
        "CancelSubscription",
        pb.CancelSubscriptionRequest(subscription_id="sub_1"),
        id="CancelSubscription",
    ),
    pytest.param(
        "CancelSubscription", pb.CancelSubscriptionRequest(), id="CancelSubscription-empty-id"
    ),
]
NEEDS_STRIPE = [
    ("FinalizeInvoice", pb.FinalizeInvoiceRequest(invoice_id="in_1")),
    ("GetStripeCustomer", pb.GetStripeCustomerRequest(attribution_id=PAYER)),
    (
        "CreateStripeCustomer",
        pb.CreateStripeCustomerRequest(
            attribution_id=PAYER,
            name="Acme",
            email="a@acme.test",
            currency="EUR",
            billing_creator_user_id=USER,
        ),
    ),
    ("CreateHoldPaymentIntent", pb.CreateHoldPaymentIntentRequest(attribution_id=PAYER)),
    (
        "CreateStripeSubscription",
        pb.CreateStripeSubscriptionRequest(
            attribution_id=PAYER, usage_limit=5, payment_intent_id="pi_1"
        ),
    ),
    (
        "UpdateCustomerSubscriptionsTaxState",
        pb.UpdateCustomerSubscriptionsTaxStateRequest(customer_id="cus_1"),
    ),
    ("GetPriceInformation", pb.GetPriceInformationRequest(attribution_id=PAYER)),
    ("OnChargeDispute", pb.OnChargeDisputeRequest(dispute_id="dp_1")),
]
NAMES = [name for name, _ in NEEDS_STRIPE]


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calls]:
    settings = settings_for(tmp_path_factory.mktemp("idle"))
    with InProcessService(settings, clock=ManualClock()) as service:
        yield service.calls


class TestBillingWithoutCredentials:
    @pytest.mark.parametrize(("name", "request_sent"), NOTHING_TO_DO)
    def test_succeeds_and_does_nothing(self, idle: Calls, name: str, request_sent: Any) -> None:
        before = head(idle)
        answer = getattr(idle.billing, name)(request_sent)
        assert b"" == answer.SerializeToString()
        assert before == head(idle)

    @pytest.mark.parametrize(("name", "request_sent"), NEEDS_STRIPE, ids=NAMES)
    def test_is_unimplemented_and_says_that_billing_is_not_configured(
        self, idle: Calls, name: str, request_sent: Any
    ) -> None:
        before = head(idle)
        with refused(grpc.StatusCode.UNIMPLEMENTED, "billing is not configured"):
            getattr(idle.billing, name)(request_sent)
        assert before == head(idle)

    @pytest.mark.parametrize(("name", "request_sent"), NEEDS_STRIPE, ids=NAMES)
    def test_says_so_for_an_empty_request_too(
        self, idle: Calls, name: str, request_sent: Any
    ) -> None:
        with refused(grpc.StatusCode.UNIMPLEMENTED, "billing is not configured"):
            getattr(idle.billing, name)(type(request_sent)())

    def test_these_are_all_ten_calls(self) -> None:
        methods = {
            method.name for method in pb.DESCRIPTOR.services_by_name["BillingService"].methods
        }
        assert methods == {"ReconcileInvoices", "CancelSubscription", *NAMES}
        assert 10 == len(methods)
