"""What the service answers a client, whatever the client's language: one suite for all of them."""

import base64
import json
from typing import Any

from google.protobuf.descriptor import FileDescriptor

from tests.clients.calls import Calls
from usage.v1 import billing_pb2, usage_pb2
from usage_ledger.v1 import admin_pb2, publishing_pb2, queries_pb2

FILES: tuple[FileDescriptor, ...] = (
    usage_pb2.DESCRIPTOR,
    billing_pb2.DESCRIPTOR,
    publishing_pb2.DESCRIPTOR,
    queries_pb2.DESCRIPTOR,
    admin_pb2.DESCRIPTOR,
)

BILLING = "/usage.v1.BillingService/"
WITHOUT_CREDENTIALS = {f"{BILLING}ReconcileInvoices", f"{BILLING}CancelSubscription"}


def every_method() -> set[str]:
    return {
        f"/{service.full_name}/{method.name}"
        for file in FILES
        for service in file.services_by_name.values()
        for method in service.methods
    }


def counts(receipt: dict[str, Any]) -> dict[str, int]:
    names = ("received", "recorded", "repeated", "rejected")
    return {name: int(receipt.get(name, 0)) for name in names}


class ClientWithCredentials:
    """A subclass gives the fixtures `known` and `stranger`: what `callall` printed over TLS.

    Once with a client certificate and a token of every role, once with the certificate alone, whose
    name the tokens file does not have.
    """

    def test_who_shows_certificate_and_token_may_call_everything(self, known: Calls) -> None:
        assert 0 == known.exit_code, known.complaints
        assert every_method() == {call.method for call in known.made}

    def test_who_shows_a_certificate_without_roles_may_call_nothing(self, stranger: Calls) -> None:
        assert 1 == stranger.exit_code
        assert {"PERMISSION_DENIED"} == {call.code for call in stranger.made}


class ClientContract:
    """A subclass gives the fixture `calls`: what its client's `callall` printed, run once.

    The program publishes an instance that ran for an hour, one that started two hours ago and still
    runs, and a line that is no event; then it reconciles and calls everything else.
    """

    def test_the_program_found_nothing_to_complain_about(self, calls: Calls) -> None:
        assert 0 == calls.exit_code, calls.complaints

    def test_every_method_of_every_service_was_called(self, calls: Calls) -> None:
        assert every_method() == {call.method for call in calls.made}

    def test_every_call_outside_billing_is_ok_but_for_what_needs_a_bus(self, calls: Calls) -> None:
        failed = {
            call.method: call.code
            for call in calls.made
            if call.code != "OK" and not call.method.startswith(BILLING)
        }
        assert {"/usage_ledger.v1.AdminService/AcceptGap": "NOT_FOUND"} == failed

    def test_billing_without_credentials_does_nothing_or_says_that_it_is_not_configured(
        self, calls: Calls
    ) -> None:
        billing = [call for call in calls.made if call.method.startswith(BILLING)]
        assert 10 == len(billing)
        assert WITHOUT_CREDENTIALS == {call.method for call in billing if call.code == "OK"}
        refused = [call for call in billing if call.code != "OK"]
        assert {"UNIMPLEMENTED"} == {call.code for call in refused}
        # A server that lacks the method would answer the same code, with other words.
        assert [] == [call for call in refused if "not configured" not in call.message.lower()]

    def test_publishing_answers_each_request_with_a_receipt(self, calls: Calls) -> None:
        first, second = (each["receipt"] for each in calls.only("PublishingService/Publish"))
        assert {"received": 4, "recorded": 4, "repeated": 0, "rejected": 0} == counts(first)
        assert {"received": 1, "recorded": 0, "repeated": 0, "rejected": 1} == counts(second)
        (reject,) = second["rejects"]
        # Lines are counted on from one request to the next.
        assert "5" == reject["line"]
        assert reject["reason"]

    def test_an_hour_at_the_default_price_is_ten_credits_and_a_note_counts_once(
        self, calls: Calls
    ) -> None:
        balances = [call.response["credits"] for call in calls.of("UsageService/GetBalance")]
        assert [10, 7] == balances

    def test_the_list_has_the_instance_with_its_metadata(self, calls: Calls) -> None:
        response = calls.only("UsageService/ListUsage")
        (entry,) = response["usageEntries"]
        assert 10 == entry["credits"] == response["creditsUsed"]
        # A workspace instance is kind 0 and a final entry no draft: neither is on the wire.
        assert entry.keys().isdisjoint({"kind", "draft"})
        metadata = json.loads(entry["metadata"])
        assert "callall-1" == metadata["workspaceId"]
        assert "default" == metadata["workspaceClass"]
        assert "callall" == metadata["userName"]
        assert {"perPage": "10", "page": "1", "totalPages": "1", "total": "1"} == (
            response["pagination"]
        )
        assert "3600s" == response["ledgerInterval"]

    def test_the_first_read_opens_a_cost_center_and_its_limit_can_be_set(
        self, calls: Calls
    ) -> None:
        opened = calls.only("UsageService/GetCostCenter")["costCenter"]
        changed = calls.only("UsageService/SetCostCenter")["costCenter"]
        assert "BILLING_STRATEGY_OTHER" == opened["billingStrategy"] == changed["billingStrategy"]
        assert 0 == opened.get("spendingLimit", 0)
        assert 100 == changed["spendingLimit"]
        assert opened["billingCycleStart"] == changed["billingCycleStart"]

    def test_balances_come_in_the_order_asked(self, calls: Calls) -> None:
        balances = calls.only("QueryService/GetBalances")["balances"]
        ended, running = (int(balance["creditCents"]) for balance in balances)
        assert 700 == ended
        # Two hours, and the seconds that the program took to reconcile.
        assert 2000 <= running <= 2020

    def test_entries_and_invoice_draft_agree_with_the_balance(self, calls: Calls) -> None:
        entries = calls.only("QueryService/ListEntries")["entries"]
        assert ["ENTRY_KIND_WORKSPACE_INSTANCE", "ENTRY_KIND_CREDIT_NOTE"] == [
            entry["kind"] for entry in entries
        ]
        assert ["1000", "-300"] == [entry["creditCents"] for entry in entries]
        draft = calls.only("QueryService/GetInvoiceDraft")["invoiceDraft"]
        assert "700" == draft["totalCents"]
        assert "-300" == draft["creditNoteCents"]

    def test_the_instance_has_the_entry_that_was_listed(self, calls: Calls) -> None:
        (listed,) = calls.only("UsageService/ListUsage")["usageEntries"]
        instance = calls.only("QueryService/GetInstance")
        assert listed["workspaceInstanceId"] == instance["workspaceInstanceId"]
        assert listed["id"] == instance["entry"]["id"]
        assert "1000" == instance["entry"]["creditCents"]

    def test_cost_centers_are_listed(self, calls: Calls) -> None:
        (listed,) = calls.only("QueryService/ListCostCenters")["costCenters"]
        changed = calls.only("UsageService/SetCostCenter")["costCenter"]
        assert changed == listed["costCenter"]
        assert "700" == listed["balanceCents"]

    def test_nothing_is_suspect_yet(self, calls: Calls) -> None:
        assert {} == calls.only("QueryService/ListSuspectInstances")

    def test_the_rejected_line_is_kept_with_its_bytes(self, calls: Calls) -> None:
        (listed,) = calls.only("QueryService/ListDeadLetters")["deadLetters"]
        shown = calls.only("QueryService/GetDeadLetter")
        assert listed == shown["deadLetter"]
        assert {"id"} == json.loads(base64.b64decode(shown["original"])).keys()

    def test_a_dead_letter_that_is_still_wrong_stays(self, calls: Calls) -> None:
        response = calls.only("AdminService/RetryDeadLetters")
        assert "1" == response["retried"]
        assert 0 == int(response.get("recorded", 0))
        assert 1 == len(response["rejects"])

    def test_the_status_counts_every_line(self, calls: Calls) -> None:
        total = calls.only("QueryService/GetStatus")["total"]
        assert {"received": 5, "recorded": 4, "repeated": 0, "rejected": 1} == counts(total)

    def test_the_tail_of_the_log_ends_after_the_newest_event(self, calls: Calls) -> None:
        tail = [
            event
            for response in calls.only("QueryService/TailLog")
            for event in response.get("events", [])
        ]
        assert 5 == len(tail)
        positions = [int(event["position"]["number"]) for event in tail]
        assert sorted(set(positions)) == positions

    def test_the_laws_hold(self, calls: Calls) -> None:
        laws = calls.only("QueryService/Check")["laws"]
        assert laws
        assert [] == [law for law in laws if "breaches" in law]

    def test_a_refused_import_is_counted(self, calls: Calls) -> None:
        (response,) = calls.only("AdminService/ImportOpeningState")
        assert {"received": 1, "recorded": 0, "repeated": 0, "rejected": 1} == counts(
            response["receipt"]
        )
