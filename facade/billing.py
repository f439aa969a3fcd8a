"""BillingService: translates and nothing else; without Stripe credentials it answers as agreed."""

from __future__ import annotations

from google.protobuf.message import Message

from facade.boundary import Calls, Context, UnimplementedError, author_of, unary
from facade.translate import must_be_stripe_id
from ledger.application import Ledger
from ledger.errors import InvalidArgumentError
from ledger.identifiers import parse_payer
from ledger.invoicing import Billing
from ledger.invoicing.customers import CURRENCIES, FoundCustomer
from ledger.views import attribution_id, is_stripe_id
from usage.v1 import billing_pb2 as pb

INT32_MAX = 2**31 - 1
CREATOR_CHARS_MAX = 255  # the original takes any text; Stripe's metadata hold 500

# Trailing metadata of CancelSubscription, whose answer is empty: whose subscription it was.
PAYER_METADATA = "usage-ledger-payer"

_SERVICE = pb.DESCRIPTOR.services_by_name["BillingService"]


class BillingServicer:
    """The ten calls."""

    def __init__(self, ledger: Ledger) -> None:
        """Serve a ledger's billing."""
        self._ledger = ledger

    @property
    def _billing(self) -> Billing:
        billing = self._ledger.billing
        if billing is None:
            raise UnimplementedError(
                "billing is not configured: the service has no Stripe credentials"
            )
        return billing

    def _author(self, context: Context) -> str:
        return author_of(context, self._ledger.operator)

    async def get_stripe_customer(
        self, request: pb.GetStripeCustomerRequest, context: Context
    ) -> pb.GetStripeCustomerResponse:
        """Give a customer by attribution ID or by Stripe's id."""
        customers = self._billing.customers
        match request.WhichOneof("identifier"):
            case "attribution_id":
                payer = _payer(request.attribution_id)
                found = await customers.of_payer(payer, self._author(context))
            case "stripe_customer_id":
                must_be_stripe_id(
                    "stripe_customer_id",
                    request.stripe_customer_id,
                    "empty stripe customer ID supplied",
                )
                found = await customers.by_id(request.stripe_customer_id, self._author(context))
            case _:
                raise InvalidArgumentError("Unknown identifier")
        return pb.GetStripeCustomerResponse(
            customer=_customer(found), attribution_id=attribution_id(found.payer)
        )

    async def create_stripe_customer(
        self, request: pb.CreateStripeCustomerRequest, context: Context
    ) -> pb.CreateStripeCustomerResponse:
        """Make a payer's customer, or give the one that it has."""
        billing = self._billing
        payer = _payer(request.attribution_id)
        currency = request.currency.strip().lower()
        if currency not in CURRENCIES:
            raise InvalidArgumentError("Invalid currency specified")
        if not request.email.strip():
            raise InvalidArgumentError("Invalid email specified")
        if not request.name.strip():
            raise InvalidArgumentError("Invalid name specified")
        creator = request.billing_creator_user_id
        if creator and not _is_visible(creator):
            raise InvalidArgumentError(
                f"billing_creator_user_id {creator[:80]!r}: 1 to {CREATOR_CHARS_MAX} visible"
                " characters, or empty"
            )
        customer = await billing.customers.create(
            payer,
            name=request.name,
            email=request.email,
            currency=currency,
            creator=creator,
            author=self._author(context),
        )
        return pb.CreateStripeCustomerResponse(customer=_customer(FoundCustomer(payer, customer)))

    async def create_hold_payment_intent(
        self, request: pb.CreateHoldPaymentIntentRequest, context: Context
    ) -> pb.CreateHoldPaymentIntentResponse:
        """Ask for a hold on a card; its client secret goes to the caller and nowhere else."""
        billing = self._billing
        payer = _payer(request.attribution_id)
        hold = await billing.holds.place(payer, self._author(context))
        secret = "" if hold.client_secret is None else hold.client_secret.reveal()
        return pb.CreateHoldPaymentIntentResponse(
            payment_intent_id=hold.hold_id, payment_intent_client_secret=secret
        )

    async def create_stripe_subscription(
        self, request: pb.CreateStripeSubscriptionRequest, context: Context
    ) -> pb.CreateStripeSubscriptionResponse:
        """Subscribe a payer, which moves its cost center to STRIPE with the usage limit."""
        billing = self._billing
        payer = _payer(request.attribution_id)
        if not is_stripe_id(request.payment_intent_id):
            raise InvalidArgumentError("Invalid payment_intent_id")
        if not 0 <= request.usage_limit <= INT32_MAX:
            raise InvalidArgumentError(
                f"usage_limit {request.usage_limit}: must be between 0 and {INT32_MAX}"
            )
        subscription_id = await billing.subscriptions.create(
            payer,
            payment_intent_id=request.payment_intent_id,
            usage_limit=request.usage_limit,
            author=self._author(context),
        )
        return pb.CreateStripeSubscriptionResponse(
            subscription=pb.StripeSubscription(id=subscription_id)
        )

    async def update_customer_subscriptions_tax_state(
        self, request: pb.UpdateCustomerSubscriptionsTaxStateRequest, context: Context
    ) -> pb.UpdateCustomerSubscriptionsTaxStateResponse:
        """Let a customer's subscriptions be taxed as its address allows."""
        billing = self._billing
        must_be_stripe_id("customer_id", request.customer_id, "Missing CustomerID")
        await billing.customers.update_tax_state(request.customer_id, self._author(context))
        return pb.UpdateCustomerSubscriptionsTaxStateResponse()

    async def get_price_information(
        self, request: pb.GetPriceInformationRequest, _context: Context
    ) -> pb.GetPriceInformationResponse:
        """Describe, for people, the price that a payer pays or would pay."""
        billing = self._billing
        described = await billing.prices.description(_payer(request.attribution_id))
        return pb.GetPriceInformationResponse(human_readable_description=described)

    async def reconcile_invoices(
        self, _request: pb.ReconcileInvoicesRequest, context: Context
    ) -> pb.ReconcileInvoicesResponse:
        """Report usage, and go on with what is unfinished; each payer's trouble is its own."""
        if self._ledger.billing is not None:
            await self._ledger.billing.reconcile(self._author(context))
        return pb.ReconcileInvoicesResponse()

    async def finalize_invoice(
        self, request: pb.FinalizeInvoiceRequest, context: Context
    ) -> pb.FinalizeInvoiceResponse:
        """Settle an invoice that is final; any number of calls settle it once."""
        billing = self._billing
        must_be_stripe_id("invoice_id", request.invoice_id, "Missing InvoiceID")
        await billing.settlements.finalize(request.invoice_id, self._author(context))
        return pb.FinalizeInvoiceResponse()

    async def cancel_subscription(
        self, request: pb.CancelSubscriptionRequest, context: Context
    ) -> pb.CancelSubscriptionResponse:
        """End a payer's subscription, or note that it has ended."""
        if self._ledger.billing is None:
            return pb.CancelSubscriptionResponse()
        must_be_stripe_id("subscription_id", request.subscription_id, "subscriptionId is required")
        payer = await self._ledger.billing.subscriptions.cancel(
            request.subscription_id, self._author(context)
        )
        if payer is not None:
            context.set_trailing_metadata(((PAYER_METADATA, attribution_id(payer)),))
        return pb.CancelSubscriptionResponse()

    async def on_charge_dispute(
        self, request: pb.OnChargeDisputeRequest, context: Context
    ) -> pb.OnChargeDisputeResponse:
        """Block the owners of the organisation whose payment was disputed."""
        billing = self._billing
        must_be_stripe_id("dispute_id", request.dispute_id, "dispute ID is required")
        await billing.disputes.opened(request.dispute_id, self._author(context))
        return pb.OnChargeDisputeResponse()


def handler(ledger: Ledger) -> Calls:
    """Give the service's calls."""
    servicer = BillingServicer(ledger)
    handlers = {}
    for method in _SERVICE.methods:
        request_type: type[Message] = getattr(pb, method.input_type.name)
        handlers[method.name] = unary(
            request_type,
            getattr(servicer, _snake(method.name)),
            patient=method.name == "ReconcileInvoices",
        )
    return Calls(_SERVICE.full_name, handlers)


def _snake(name: str) -> str:
    return "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in name)[1:]


def _payer(text: str) -> bytes:
    payer = parse_payer(text)
    if payer is None:
        raise InvalidArgumentError(f"Invalid attribution ID {text[:80]}")
    return payer


def _is_visible(text: str) -> bool:
    return len(text) <= CREATOR_CHARS_MAX and text.isprintable() and bool(text.strip())


def _customer(found: FoundCustomer) -> pb.StripeCustomer:
    return pb.StripeCustomer(
        id=found.customer.customer_id,
        currency=found.customer.currency,
        invalid_billing_address=found.customer.invalid_billing_address,
    )
