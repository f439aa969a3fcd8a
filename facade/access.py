"""Who may call what: one table, and the check that every call passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from facade.tokens import Caller, Known, Role, TokensFile, TokensFileError, is_reserved
from ledger.errors import PermissionDeniedError, StartRefusedError, UnauthenticatedError
from ledger.settings import Settings

_USAGE, _BILLING = "/usage.v1.UsageService", "/usage.v1.BillingService"
_PUBLISHING, _QUERIES, _ADMIN, _BILLING_STATUS, _AUDIT = (
    f"/usage_ledger.v1.{name}Service"
    for name in ("Publishing", "Query", "Admin", "BillingStatus", "Audit")
)
# Every call, and the role it needs. A call that is not here cannot be served.
NEEDED: Mapping[str, Role] = {
    # A first read opens the cost center and a late one resets it, yet callers ask for a value.
    f"{_USAGE}/GetCostCenter": Role.READ,
    f"{_USAGE}/GetBalance": Role.READ,
    f"{_USAGE}/ListUsage": Role.READ,
    f"{_USAGE}/SetCostCenter": Role.ADMIN,
    f"{_USAGE}/ReconcileUsage": Role.ADMIN,
    f"{_USAGE}/ResetUsage": Role.ADMIN,
    f"{_USAGE}/AddUsageCreditNote": Role.ADMIN,
    f"{_BILLING}/GetStripeCustomer": Role.READ,
    f"{_BILLING}/GetPriceInformation": Role.READ,
    f"{_BILLING}/ReconcileInvoices": Role.ADMIN,
    f"{_BILLING}/FinalizeInvoice": Role.ADMIN,
    f"{_BILLING}/CancelSubscription": Role.ADMIN,
    f"{_BILLING}/CreateStripeCustomer": Role.ADMIN,
    f"{_BILLING}/CreateHoldPaymentIntent": Role.ADMIN,
    f"{_BILLING}/CreateStripeSubscription": Role.ADMIN,
    f"{_BILLING}/UpdateCustomerSubscriptionsTaxState": Role.ADMIN,
    f"{_BILLING}/OnChargeDispute": Role.ADMIN,
    f"{_BILLING_STATUS}/GetBillingStatus": Role.READ,
    f"{_BILLING_STATUS}/CompareBilling": Role.AUDIT,
    f"{_BILLING_STATUS}/ListWebhooks": Role.AUDIT,
    f"{_BILLING_STATUS}/ReplayWebhook": Role.ADMIN,
    f"{_BILLING_STATUS}/ResumeReports": Role.ADMIN,
    f"{_BILLING_STATUS}/SettleInvoice": Role.ADMIN,
    f"{_PUBLISHING}/Publish": Role.PUBLISH,
    f"{_QUERIES}/GetBalances": Role.READ,
    f"{_QUERIES}/ListCostCenters": Role.READ,
    f"{_QUERIES}/GetInvoiceDraft": Role.READ,
    f"{_QUERIES}/ListEntries": Role.READ,
    f"{_QUERIES}/GetInstance": Role.READ,
    f"{_QUERIES}/ListSuspectInstances": Role.READ,
    f"{_QUERIES}/ListDeadLetters": Role.READ,
    f"{_QUERIES}/GetStatus": Role.READ,
    f"{_QUERIES}/ListMeters": Role.READ,
    f"{_QUERIES}/ListAlerts": Role.READ,
    # What events said, word for word, names of people included.
    f"{_QUERIES}/GetDeadLetter": Role.AUDIT,
    f"{_QUERIES}/TailLog": Role.AUDIT,
    f"{_QUERIES}/Check": Role.AUDIT,
    f"{_QUERIES}/CheckMeters": Role.AUDIT,
    f"{_AUDIT}/VoidInstance": Role.ADMIN,
    f"{_AUDIT}/VoidCreditNote": Role.ADMIN,
    f"{_AUDIT}/ListVoids": Role.READ,
    **{
        f"{_AUDIT}/{call}": Role.READ
        for call in (
            *("GetBalanceAt", "ListUsageAt", "GetCostCenterAt", "GetInvoiceDraftAt"),
            "CompareMoments",
        )
    },
    # They show events as GetInstance does: without bytes, and without names of people; why an
    # operator did something only to `admin` and `audit`, as ListVoids does (`shown_reason`).
    f"{_AUDIT}/ExplainBalance": Role.READ,
    f"{_AUDIT}/ExplainEntry": Role.READ,
    f"{_AUDIT}/ExplainDraftLine": Role.READ,
    f"{_AUDIT}/ExplainInvoice": Role.READ,
    f"{_AUDIT}/ExplainParts": Role.READ,
    # A head says how many events there are, and nothing of what they say.
    f"{_AUDIT}/ListHeads": Role.READ,
    f"{_AUDIT}/GetConsistencyProof": Role.READ,
    f"{_AUDIT}/GetEventProof": Role.AUDIT,
    f"{_AUDIT}/Verify": Role.AUDIT,
    f"{_AUDIT}/SignHeads": Role.ADMIN,
    f"{_AUDIT}/RebuildTree": Role.ADMIN,
    f"{_ADMIN}/EndInstance": Role.ADMIN,
    f"{_ADMIN}/RetryDeadLetters": Role.ADMIN,
    f"{_ADMIN}/ConfirmReset": Role.ADMIN,
    f"{_ADMIN}/AcceptGap": Role.ADMIN,
    f"{_ADMIN}/ImportOpeningState": Role.ADMIN,
    f"{_AUDIT}/EraseUser": Role.ADMIN,
    f"{_AUDIT}/ListErasures": Role.AUDIT,
    "POST /events": Role.PUBLISH,
    "GET /metrics": Role.READ,
}

# With neither tokens nor certificates to tell callers by, the network decides who may call.
ANYBODY = Caller("", frozenset(Role))

Names = Callable[[], Iterable[str]]


class Access:
    """Decides on every call, from its token or else from its client's certificate."""

    def __init__(self, settings: Settings) -> None:
        """Read the tokens file, if there is one; StartRefusedError says what to change."""
        path = settings.auth.tokens_file
        self._asks_certificates = settings.tls.client_ca_file is not None
        try:
            self._file = None if path is None else TokensFile(path)
        except TokensFileError as error:
            raise StartRefusedError(str(error)) from None
        self.is_open = self._file is None and not self._asks_certificates

    @property
    def changes(self) -> int:
        """Count how often the file has changed: who was admitted before may not be any more."""
        if self._file is None:
            return 0
        self._file.known()
        return self._file.changes

    def admit(self, call: str, authorization: str | None, certificate: Names) -> Caller:
        """Give who calls, if they may; UnauthenticatedError or PermissionDeniedError otherwise.

        `certificate` gives the names in the client's certificate, the best first; it is asked only
        if need be.
        """
        if self.is_open:
            return ANYBODY
        caller = self._caller(authorization, certificate)
        need = NEEDED[call]
        if need not in caller.roles:
            raise PermissionDeniedError(
                f"{caller.name} has {_listed(caller.roles)}, and {call.removeprefix('/')} needs "
                f"the role {need}"
            )
        return caller

    def _caller(self, authorization: str | None, certificate: Names) -> Caller:
        known = self._file.known() if self._file is not None else None
        if known is not None and authorization:
            return _by_token(known, authorization)
        if not self._asks_certificates:
            raise UnauthenticatedError(
                "the call carries no token: send `authorization: Bearer TOKEN` with it"
            )
        names = [name for name in certificate() if name]
        if not names:
            raise UnauthenticatedError(
                "the call carries neither a token nor a client certificate with a name in it"
            )
        if known is None:
            # Whom the CA signed for is trusted with everything: nothing tells them apart.
            if is_reserved(names[0]):
                raise UnauthenticatedError(
                    f"the certificate's name {names[0]} stands for callers that nobody "
                    "authenticated: use another one"
                )
            return Caller(names[0], frozenset(Role))
        caller = known.by_certificate(names)
        if caller is None:
            raise PermissionDeniedError(
                f"{names[0]} has no roles: no [[certificates]] entry of the tokens file names it"
            )
        return caller


def _by_token(known: Known, authorization: str) -> Caller:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthenticatedError("authorization must be `Bearer TOKEN`")
    caller = known.by_token(token.strip())
    if caller is None:
        raise UnauthenticatedError(
            "the token is not known: it was never made for this service, or was taken out of its "
            "tokens file"
        )
    return caller


def _listed(roles: Iterable[Role]) -> str:
    names = [role for role in Role if role in frozenset(roles)]
    return f"the role{'s' if len(names) > 1 else ''} {', '.join(names)}"


def names_in_auth_context(context: Mapping[str, Iterable[bytes]]) -> Iterator[str]:
    """Give the names in a client's certificate as gRPC tells them."""
    for kind in ("peer_uri", "peer_dns", "peer_email", "x509_common_name"):
        for name in context.get(kind, ()):
            yield name.decode("utf-8", "replace")


def names_in_certificate(certificate: Mapping[str, Any] | None) -> Iterator[str]:
    """Give the names in a client's certificate as the `ssl` module tells them."""
    if not certificate:
        return
    alternatives = certificate.get("subjectAltName", ())
    for kind in ("URI", "DNS", "email"):
        yield from (name for of_kind, name in alternatives if of_kind == kind)
    for relative in certificate.get("subject", ()):
        yield from (value for name, value in relative if name == "commonName")
