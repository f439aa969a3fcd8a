"""Every name, number and type that existing clients rely on, written out from the contract."""

import struct

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor

from usage.events.v1 import events_pb2
from usage.v1 import billing_pb2, usage_pb2

FILES: dict[str, tuple[FileDescriptor, ...]] = {
    "usage.v1": (usage_pb2.DESCRIPTOR, billing_pb2.DESCRIPTOR),
    "usage.events.v1": (events_pb2.DESCRIPTOR,),
}

TIMESTAMP = "google.protobuf.Timestamp"

# Message: its fields as "number name type", a oneof's in brackets.
MESSAGES: dict[str, list[str]] = {
    # Section 4, UsageService.
    "usage.v1.ReconcileUsageRequest": [f"1 from {TIMESTAMP}", f"2 to {TIMESTAMP}"],
    "usage.v1.ReconcileUsageResponse": [],
    "usage.v1.ResetUsageRequest": [],
    "usage.v1.ResetUsageResponse": [],
    "usage.v1.PaginatedRequest": ["1 per_page int64", "2 page int64"],
    "usage.v1.PaginatedResponse": [
        "2 per_page int64",
        "3 total_pages int64",
        "4 total int64",
        "5 page int64",
    ],
    "usage.v1.ListUsageRequest": [
        "1 attribution_id string",
        f"2 from {TIMESTAMP}",
        f"3 to {TIMESTAMP}",
        "4 order usage.v1.ListUsageRequest.Ordering",
        "5 pagination usage.v1.PaginatedRequest",
        "6 user_id string",
    ],
    "usage.v1.ListUsageResponse": [
        "1 usage_entries repeated usage.v1.Usage",
        "2 pagination usage.v1.PaginatedResponse",
        "3 credits_used double",
        "4 ledger_interval google.protobuf.Duration",
    ],
    "usage.v1.Usage": [
        "1 id string",
        "2 attribution_id string",
        "3 description string",
        "4 credits double",
        f"5 effective_time {TIMESTAMP}",
        "6 kind usage.v1.Usage.Kind",
        "7 workspace_instance_id string",
        "8 draft bool",
        "9 metadata string",
    ],
    "usage.v1.CostCenter": [
        "1 attribution_id string",
        "2 spending_limit int32",
        "3 billing_strategy usage.v1.CostCenter.BillingStrategy",
        f"4 next_billing_time {TIMESTAMP}",
        f"5 billing_cycle_start {TIMESTAMP}",
    ],
    "usage.v1.GetCostCenterRequest": ["1 attribution_id string"],
    "usage.v1.GetCostCenterResponse": ["1 cost_center usage.v1.CostCenter"],
    "usage.v1.SetCostCenterRequest": ["1 cost_center usage.v1.CostCenter"],
    "usage.v1.SetCostCenterResponse": ["1 cost_center usage.v1.CostCenter"],
    "usage.v1.GetBalanceRequest": ["1 attribution_id string"],
    "usage.v1.GetBalanceResponse": ["4 credits double"],
    "usage.v1.AddUsageCreditNoteRequest": [
        "1 attribution_id string",
        "2 credits int32",
        "3 description string",
        "4 user_id string",
    ],
    "usage.v1.AddUsageCreditNoteResponse": [],
    # Section 5, BillingService.
    "usage.v1.ReconcileInvoicesRequest": [],
    "usage.v1.ReconcileInvoicesResponse": [],
    "usage.v1.FinalizeInvoiceRequest": ["1 invoice_id string"],
    "usage.v1.FinalizeInvoiceResponse": [],
    "usage.v1.CancelSubscriptionRequest": ["1 subscription_id string"],
    "usage.v1.CancelSubscriptionResponse": [],
    "usage.v1.GetStripeCustomerRequest": [
        "1 attribution_id string [identifier]",
        "2 stripe_customer_id string [identifier]",
    ],
    "usage.v1.GetStripeCustomerResponse": [
        "1 customer usage.v1.StripeCustomer",
        "2 attribution_id string",
    ],
    "usage.v1.StripeCustomer": [
        "1 id string",
        "2 currency string",
        "3 invalid_billing_address bool",
    ],
    "usage.v1.CreateStripeCustomerRequest": [
        "1 attribution_id string",
        "2 name string",
        "3 email string",
        "4 currency string",
        "5 billing_creator_user_id string",
    ],
    "usage.v1.CreateStripeCustomerResponse": ["1 customer usage.v1.StripeCustomer"],
    "usage.v1.CreateHoldPaymentIntentRequest": ["1 attribution_id string"],
    "usage.v1.CreateHoldPaymentIntentResponse": [
        "1 payment_intent_id string",
        "2 payment_intent_client_secret string",
    ],
    "usage.v1.CreateStripeSubscriptionRequest": [
        "1 attribution_id string",
        "3 usage_limit int64",
        "4 payment_intent_id string",
    ],
    "usage.v1.CreateStripeSubscriptionResponse": ["1 subscription usage.v1.StripeSubscription"],
    "usage.v1.StripeSubscription": ["1 id string"],
    "usage.v1.UpdateCustomerSubscriptionsTaxStateRequest": ["1 customer_id string"],
    "usage.v1.UpdateCustomerSubscriptionsTaxStateResponse": [],
    "usage.v1.GetPriceInformationRequest": ["1 attribution_id string"],
    "usage.v1.GetPriceInformationResponse": ["2 human_readable_description string"],
    "usage.v1.OnChargeDisputeRequest": ["1 dispute_id string"],
    "usage.v1.OnChargeDisputeResponse": [],
    # Section 6, the events that services publish.
    "usage.events.v1.WorkspaceInstanceStarted": [
        "1 workspace_instance_id string",
        "2 attribution_id string",
        "3 workspace_id string",
        "4 workspace_class string",
        "5 workspace_type string",
        "6 context_url string",
        "7 user_id string",
        "8 user_name string",
        "9 user_avatar_url string",
        "10 project_id string",
        f"11 creation_time {TIMESTAMP}",
        f"12 started_time {TIMESTAMP}",
    ],
    "usage.events.v1.WorkspaceInstanceStopping": [
        "1 workspace_instance_id string",
        "2 attribution_id string",
        f"3 stopping_time {TIMESTAMP}",
    ],
    "usage.events.v1.WorkspaceInstanceStopped": [
        "1 workspace_instance_id string",
        "2 attribution_id string",
        f"3 stopped_time {TIMESTAMP}",
    ],
    "usage.events.v1.CreditNoteIssued": [
        "1 attribution_id string",
        "2 credits int32",
        "3 description string",
        "4 user_id string",
    ],
}

ENUMS: dict[str, dict[str, int]] = {
    "usage.v1.ListUsageRequest.Ordering": {"ORDERING_DESCENDING": 0, "ORDERING_ASCENDING": 1},
    "usage.v1.Usage.Kind": {"KIND_WORKSPACE_INSTANCE": 0, "KIND_INVOICE": 1},
    "usage.v1.CostCenter.BillingStrategy": {
        "BILLING_STRATEGY_STRIPE": 0,
        "BILLING_STRATEGY_OTHER": 1,
    },
}

# Each takes <name>Request and answers <name>Response, one for one.
CALLS: dict[str, set[str]] = {
    "usage.v1.UsageService": {
        "GetCostCenter",
        "SetCostCenter",
        "ReconcileUsage",
        "ResetUsage",
        "ListUsage",
        "GetBalance",
        "AddUsageCreditNote",
    },
    "usage.v1.BillingService": {
        "ReconcileInvoices",
        "FinalizeInvoice",
        "CancelSubscription",
        "GetStripeCustomer",
        "CreateStripeCustomer",
        "CreateHoldPaymentIntent",
        "CreateStripeSubscription",
        "UpdateCustomerSubscriptionsTaxState",
        "GetPriceInformation",
        "OnChargeDispute",
    },
}

SCALARS = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
}


def messages() -> dict[str, Descriptor]:
    return {
        message.full_name: message
        for files in FILES.values()
        for file in files
        for message in file.message_types_by_name.values()
    }


def spelled(field: FieldDescriptor) -> str:
    kind = field.message_type or field.enum_type
    words = [
        str(field.number),
        field.name,
        kind.full_name if kind is not None else SCALARS[field.type],
    ]
    if field.is_repeated:
        words.insert(2, "repeated")
    if field.containing_oneof is not None:
        words.append(f"[{field.containing_oneof.name}]")
    return " ".join(words)


def enums() -> dict[str, EnumDescriptor]:
    nested = (enum for message in messages().values() for enum in message.enum_types)
    outer = (
        enum
        for files in FILES.values()
        for file in files
        for enum in file.enum_types_by_name.values()
    )
    return {enum.full_name: enum for enum in (*nested, *outer)}


class TestTheContractsNumbers:
    def test_no_message_is_missing_and_none_is_extra(self) -> None:
        assert MESSAGES.keys() == messages().keys()

    @pytest.mark.parametrize("name", MESSAGES)
    def test_fields_have_the_contracts_numbers_names_and_types(self, name: str) -> None:
        assert MESSAGES[name] == [spelled(field) for field in messages()[name].fields]

    def test_no_enum_is_missing_and_none_is_extra(self) -> None:
        assert ENUMS.keys() == enums().keys()

    @pytest.mark.parametrize("name", ENUMS)
    def test_enums_have_the_contracts_names_and_numbers(self, name: str) -> None:
        assert ENUMS[name] == {value.name: value.number for value in enums()[name].values}

    def test_messages_nest_nothing_but_enums(self) -> None:
        assert [] == [name for name, message in messages().items() if message.nested_types]

    def test_field_2_of_create_stripe_subscription_stays_reserved(self) -> None:
        message = billing_pb2.CreateStripeSubscriptionRequest.DESCRIPTOR
        # A parser keeps an unknown field; a message that defined number 2 would know it.
        parsed = billing_pb2.CreateStripeSubscriptionRequest.FromString(b"\x12\x01x")
        assert 2 not in message.fields_by_number
        assert [] == parsed.ListFields()


class TestTheSeventeenCalls:
    def test_there_are_seven_and_ten(self) -> None:
        assert [7, 10] == [len(calls) for calls in CALLS.values()]

    def test_no_service_is_missing_and_none_is_extra(self) -> None:
        found = {
            service.full_name
            for file in FILES["usage.v1"]
            for service in file.services_by_name.values()
        }
        assert CALLS.keys() == found

    @pytest.mark.parametrize("name", CALLS)
    def test_a_service_has_the_contracts_calls_and_no_other(self, name: str) -> None:
        service = next(
            service
            for file in FILES["usage.v1"]
            for service in file.services_by_name.values()
            if service.full_name == name
        )
        assert CALLS[name] == {method.name for method in service.methods}
        for method in service.methods:
            assert f"usage.v1.{method.name}Request" == method.input_type.full_name
            assert f"usage.v1.{method.name}Response" == method.output_type.full_name
            assert not method.client_streaming
            assert not method.server_streaming


class TestBytesOnTheWire:
    """A few messages as the original's clients write and read them, assembled by hand."""

    def test_a_balance_is_a_double_in_field_4(self) -> None:
        message = usage_pb2.GetBalanceResponse(credits=10.5)
        assert b"\x21" + struct.pack("<d", 10.5) == message.SerializeToString()

    def test_a_zero_balance_is_no_bytes(self) -> None:
        assert b"" == usage_pb2.GetBalanceResponse(credits=0).SerializeToString()

    def test_a_cost_center_without_a_strategy_means_stripe(self) -> None:
        message = usage_pb2.SetCostCenterRequest.FromString(b"\x0a\x05\x0a\x01t\x10\x07")
        assert "t" == message.cost_center.attribution_id
        assert 7 == message.cost_center.spending_limit
        assert usage_pb2.CostCenter.BILLING_STRATEGY_STRIPE == message.cost_center.billing_strategy

    def test_negative_credits_of_a_note_are_ten_bytes(self) -> None:
        message = usage_pb2.AddUsageCreditNoteRequest(credits=-1)
        # int32, not sint32: sign-extended to 64 bits.
        assert b"\x10" + b"\xff" * 9 + b"\x01" == message.SerializeToString()

    def test_a_page_is_in_fields_2_to_5(self) -> None:
        message = usage_pb2.PaginatedResponse(per_page=50, total_pages=3, total=101, page=2)
        assert b"\x10\x32\x18\x03\x20\x65\x28\x02" == message.SerializeToString()
