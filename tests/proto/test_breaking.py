"""Released protos are never broken; and the checker that says so finds what is planted."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

if TYPE_CHECKING:
    from scripts import breaking
else:
    # A command is no module of anybody's import path, so it is loaded from its file.
    path = Path(__file__).resolve().parents[2] / "scripts" / "breaking.py"
    spec = importlib.util.spec_from_file_location("breaking", path)
    breaking = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(breaking)

USAGE = "usage/v1/usage.proto"
BILLING = "usage/v1/billing.proto"
PUBLISHING = "usage_ledger/v1/publishing.proto"
GO_PACKAGE = "github.com/usage-ledger/usage-ledger/clients/go/usage/v1;usagev1"

Change = Callable[[FileDescriptorSet], None]


def file_of(protos: FileDescriptorSet, name: str) -> FileDescriptorProto:
    return next(file for file in protos.file if file.name == name)


def message_of(protos: FileDescriptorSet, file: str, name: str) -> DescriptorProto:
    return next(message for message in file_of(protos, file).message_type if message.name == name)


def field_of(protos: FileDescriptorSet, file: str, message: str, name: str) -> FieldDescriptorProto:
    return next(field for field in message_of(protos, file, message).field if field.name == name)


def kind_of_usage(protos: FileDescriptorSet) -> EnumDescriptorProto:
    return message_of(protos, USAGE, "Usage").enum_type[0]


def service_of(protos: FileDescriptorSet, file: str) -> ServiceDescriptorProto:
    return file_of(protos, file).service[0]


def remove_field(protos: FileDescriptorSet) -> None:
    message = message_of(protos, USAGE, "GetBalanceResponse")
    message.field.remove(field_of(protos, USAGE, "GetBalanceResponse", "credits"))


def renumber_field(protos: FileDescriptorSet) -> None:
    field_of(protos, USAGE, "GetBalanceResponse", "credits").number = 5


def rename_field(protos: FileDescriptorSet) -> None:
    field_of(protos, USAGE, "Usage", "metadata").name = "details"


def rename_field_in_json(protos: FileDescriptorSet) -> None:
    field_of(protos, USAGE, "Usage", "effective_time").json_name = "effectiveAt"


def retype_field(protos: FileDescriptorSet) -> None:
    field_of(protos, USAGE, "GetBalanceResponse", "credits").type = FieldDescriptorProto.TYPE_FLOAT


def retype_field_to_another_message(protos: FileDescriptorSet) -> None:
    field = field_of(protos, USAGE, "ListUsageResponse", "pagination")
    field.type_name = ".usage.v1.PaginatedRequest"


def repeat_field(protos: FileDescriptorSet) -> None:
    field_of(
        protos, USAGE, "GetCostCenterResponse", "cost_center"
    ).label = FieldDescriptorProto.LABEL_REPEATED


def take_field_out_of_oneof(protos: FileDescriptorSet) -> None:
    field_of(protos, BILLING, "GetStripeCustomerRequest", "attribution_id").ClearField(
        "oneof_index"
    )


def put_field_into_oneof(protos: FileDescriptorSet) -> None:
    message = message_of(protos, BILLING, "StripeCustomer")
    message.oneof_decl.add(name="identity")
    field_of(protos, BILLING, "StripeCustomer", "id").oneof_index = 0


def rename_oneof(protos: FileDescriptorSet) -> None:
    message_of(protos, BILLING, "GetStripeCustomerRequest").oneof_decl[0].name = "key"


def make_field_optional(protos: FileDescriptorSet) -> None:
    # As protoc writes `optional`: a oneof of one field.
    message = message_of(protos, USAGE, "GetBalanceResponse")
    message.oneof_decl.add(name="_credits")
    field = field_of(protos, USAGE, "GetBalanceResponse", "credits")
    field.proto3_optional = True
    field.oneof_index = 0


def remove_message(protos: FileDescriptorSet) -> None:
    file = file_of(protos, BILLING)
    file.message_type.remove(message_of(protos, BILLING, "StripeSubscription"))


def move_message(protos: FileDescriptorSet) -> None:
    moved = message_of(protos, BILLING, "StripeSubscription")
    file_of(protos, USAGE).message_type.add().CopyFrom(moved)
    file_of(protos, BILLING).message_type.remove(moved)


def remove_enum(protos: FileDescriptorSet) -> None:
    del message_of(protos, USAGE, "Usage").enum_type[:]


def remove_enum_value(protos: FileDescriptorSet) -> None:
    del kind_of_usage(protos).value[1]


def renumber_enum_value(protos: FileDescriptorSet) -> None:
    kind_of_usage(protos).value[1].number = 2


def rename_enum_value(protos: FileDescriptorSet) -> None:
    kind_of_usage(protos).value[1].name = "KIND_BILL"


def remove_service(protos: FileDescriptorSet) -> None:
    del file_of(protos, BILLING).service[:]


def remove_method(protos: FileDescriptorSet) -> None:
    del service_of(protos, USAGE).method[0]


def rename_method(protos: FileDescriptorSet) -> None:
    service_of(protos, USAGE).method[0].name = "ReadCostCenter"


def change_request(protos: FileDescriptorSet) -> None:
    service_of(protos, USAGE).method[0].input_type = ".usage.v1.GetBalanceRequest"


def change_response(protos: FileDescriptorSet) -> None:
    service_of(protos, USAGE).method[0].output_type = ".usage.v1.CostCenter"


def stop_request_streaming(protos: FileDescriptorSet) -> None:
    service_of(protos, PUBLISHING).method[0].client_streaming = False


def start_response_streaming(protos: FileDescriptorSet) -> None:
    service_of(protos, USAGE).method[0].server_streaming = True


def release_reserved_number(protos: FileDescriptorSet) -> None:
    del message_of(protos, BILLING, "CreateStripeSubscriptionRequest").reserved_range[:]


def shorten_reserved_range(protos: FileDescriptorSet) -> None:
    message_of(protos, USAGE, "GetBalanceResponse").reserved_range[0].end = 3


def remove_file(protos: FileDescriptorSet) -> None:
    protos.file.remove(file_of(protos, PUBLISHING))


def rename_package(protos: FileDescriptorSet) -> None:
    file_of(protos, PUBLISHING).package = "usage_ledger.v2"


def move_go_package(protos: FileDescriptorSet) -> None:
    file_of(protos, USAGE).options.go_package = "elsewhere;usagev1"


# Change, the element that breaks, and what is said of it.
BREAKING: list[tuple[Change, str, str]] = [
    (remove_field, "field 4 of usage.v1.GetBalanceResponse", "is gone"),
    (renumber_field, "field 4 of usage.v1.GetBalanceResponse", "is gone"),
    (rename_field, "field 9 of usage.v1.Usage", "changed its name from 'metadata' to 'details'"),
    (
        rename_field_in_json,
        "field 5 of usage.v1.Usage",
        "changed its JSON name from 'effectiveTime' to 'effectiveAt'",
    ),
    (
        retype_field,
        "field 4 of usage.v1.GetBalanceResponse",
        "changed its type from 'double' to 'float'",
    ),
    (
        retype_field_to_another_message,
        "field 2 of usage.v1.ListUsageResponse",
        "changed its type from 'usage.v1.PaginatedResponse' to 'usage.v1.PaginatedRequest'",
    ),
    (
        repeat_field,
        "field 1 of usage.v1.GetCostCenterResponse",
        "changed its label from 'optional' to 'repeated'",
    ),
    (
        take_field_out_of_oneof,
        "field 1 of usage.v1.GetStripeCustomerRequest",
        "changed its oneof from 'identifier' to ''",
    ),
    (
        put_field_into_oneof,
        "field 1 of usage.v1.StripeCustomer",
        "changed its oneof from '' to 'identity'",
    ),
    (
        rename_oneof,
        "field 2 of usage.v1.GetStripeCustomerRequest",
        "changed its oneof from 'identifier' to 'key'",
    ),
    (
        make_field_optional,
        "field 4 of usage.v1.GetBalanceResponse",
        "changed its oneof from '' to '_credits'",
    ),
    (remove_message, "message usage.v1.StripeSubscription", "is gone"),
    (
        move_message,
        "message usage.v1.StripeSubscription",
        "changed its file from 'usage/v1/billing.proto' to 'usage/v1/usage.proto'",
    ),
    (remove_enum, "enum usage.v1.Usage.Kind", "is gone"),
    (remove_enum_value, "value KIND_INVOICE of usage.v1.Usage.Kind", "is gone"),
    (
        renumber_enum_value,
        "value KIND_INVOICE of usage.v1.Usage.Kind",
        "changed its number from '1' to '2'",
    ),
    (rename_enum_value, "value KIND_INVOICE of usage.v1.Usage.Kind", "is gone"),
    (remove_service, "service usage.v1.BillingService", "is gone"),
    (remove_method, "method GetCostCenter of usage.v1.UsageService", "is gone"),
    (rename_method, "method GetCostCenter of usage.v1.UsageService", "is gone"),
    (
        change_request,
        "method GetCostCenter of usage.v1.UsageService",
        "changed its request from 'usage.v1.GetCostCenterRequest' to 'usage.v1.GetBalanceRequest'",
    ),
    (
        change_response,
        "method GetCostCenter of usage.v1.UsageService",
        "changed its response from 'usage.v1.GetCostCenterResponse' to 'usage.v1.CostCenter'",
    ),
    (
        stop_request_streaming,
        "method Publish of usage_ledger.v1.PublishingService",
        "changed its request streaming from 'true' to 'false'",
    ),
    (
        start_response_streaming,
        "method GetCostCenter of usage.v1.UsageService",
        "changed its response streaming from 'false' to 'true'",
    ),
    (
        release_reserved_number,
        "message usage.v1.CreateStripeSubscriptionRequest",
        "no longer reserves the numbers 2 to 2",
    ),
    (
        shorten_reserved_range,
        "message usage.v1.GetBalanceResponse",
        "no longer reserves the numbers 1 to 3",
    ),
    (remove_file, "file usage_ledger/v1/publishing.proto", "is gone"),
    (
        rename_package,
        "file usage_ledger/v1/publishing.proto",
        "changed its package from 'usage_ledger.v1' to 'usage_ledger.v2'",
    ),
    (
        move_go_package,
        "file usage/v1/usage.proto",
        f"changed its go_package from {GO_PACKAGE!r} to 'elsewhere;usagev1'",
    ),
]


def add_field(protos: FileDescriptorSet) -> None:
    message_of(protos, USAGE, "Usage").field.add(
        name="note",
        number=10,
        type=FieldDescriptorProto.TYPE_STRING,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )


def add_field_to_oneof(protos: FileDescriptorSet) -> None:
    message_of(protos, BILLING, "GetStripeCustomerRequest").field.add(
        name="email",
        number=3,
        type=FieldDescriptorProto.TYPE_STRING,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
        oneof_index=0,
    )


def add_enum_value(protos: FileDescriptorSet) -> None:
    kind_of_usage(protos).value.add(name="KIND_CREDIT_NOTE", number=2)


def add_message_and_method(protos: FileDescriptorSet) -> None:
    file = file_of(protos, USAGE)
    file.message_type.add(name="PingRequest")
    file.service[0].method.add(
        name="Ping", input_type=".usage.v1.PingRequest", output_type=".usage.v1.PingRequest"
    )


def add_file(protos: FileDescriptorSet) -> None:
    protos.file.add(name="usage/v2/usage.proto", package="usage.v2", syntax="proto3")


def widen_reserved_range(protos: FileDescriptorSet) -> None:
    message_of(protos, BILLING, "CreateStripeSubscriptionRequest").reserved_range.add(
        start=5, end=9
    )


ADDITIVE: list[Change] = [
    add_field,
    add_field_to_oneof,
    add_enum_value,
    add_message_and_method,
    add_file,
    widen_reserved_range,
]


def changed(change: Change) -> FileDescriptorSet:
    protos = FileDescriptorSet()
    protos.CopyFrom(breaking.read_released())
    change(protos)
    return protos


class TestReleasedProtos:
    def test_every_released_promise_is_kept(self) -> None:
        assert [] == breaking.breaches(breaking.read_released(), breaking.compile_protos())

    def test_the_whole_face_of_the_first_release_is_covered(self) -> None:
        expected = {
            "usage/events/v1/events.proto",
            "usage/v1/billing.proto",
            "usage/v1/usage.proto",
            "usage_ledger/v1/admin.proto",
            "usage_ledger/v1/publishing.proto",
            "usage_ledger/v1/queries.proto",
        }
        assert expected <= {file.name for file in breaking.read_released().file}


class TestTheChecker:
    @pytest.mark.parametrize(
        ("change", "element", "said"), BREAKING, ids=[change.__name__ for change, _, _ in BREAKING]
    )
    def test_finds_a_planted_breach(self, change: Change, element: str, said: str) -> None:
        assert f"{element} {said}" in breaking.breaches(breaking.read_released(), changed(change))

    @pytest.mark.parametrize("change", ADDITIVE, ids=[change.__name__ for change in ADDITIVE])
    def test_lets_additions_pass(self, change: Change) -> None:
        assert [] == breaking.breaches(breaking.read_released(), changed(change))
