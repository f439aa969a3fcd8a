"""BillingService as it answers without Stripe credentials."""

from __future__ import annotations

from google.protobuf.message import Message

from facade.boundary import Calls, Context, UnimplementedError, unary
from usage.v1 import billing_pb2 as pb

_SERVICE = pb.DESCRIPTOR.services_by_name["BillingService"]
# The scheduler and the webhook relay call these whether billing is configured or not.
_NOTHING_TO_DO = {
    "ReconcileInvoices": pb.ReconcileInvoicesResponse,
    "CancelSubscription": pb.CancelSubscriptionResponse,
}


def handler() -> Calls:
    """Give the service's calls."""
    handlers = {}
    for method in _SERVICE.methods:
        request_type: type[Message] = getattr(pb, method.input_type.name)
        answer = _NOTHING_TO_DO.get(method.name)
        handlers[method.name] = unary(request_type, _done(answer) if answer else _not_configured)
    return Calls(_SERVICE.full_name, handlers)


def _done(answer: type[Message]):  # type: ignore[no-untyped-def]  # a closure per answer type
    async def done(_request: Message, _context: Context) -> Message:
        return answer()

    return done


async def _not_configured(_request: Message, _context: Context) -> Message:
    raise UnimplementedError("billing is not configured: the service has no Stripe credentials")
