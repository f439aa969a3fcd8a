#!/usr/bin/env python3
"""Tells whether the protos still serve every client of the released ones.

  scripts/breaking.py              compare with proto/released; 1 and a line each if anything breaks
  scripts/breaking.py --release    the same; if nothing breaks, take the protos as released
  scripts/breaking.py --release --although-breaking
                                   take them in any case: only while nobody uses the released ones

Adding is free: files, messages, fields, enum values, services, methods. Whatever was released stays
as it is, its name included, for names stand in JSON and in the callers' source code.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

ROOT = Path(__file__).resolve().parent.parent
RELEASED = ROOT / "proto" / "released" / "usage-ledger.binpb"

# What is promised of one element, such as a field: the name of each property and its value.
Promises = Mapping[str, str]
# Every element of a set of protos, by a phrase that names it in messages.
Surface = dict[str, Promises]


def breaches(released: FileDescriptorSet, current: FileDescriptorSet) -> list[str]:
    """What callers of `released` would miss in `current`, a sentence each."""
    before, after = surface(released), surface(current)
    found: list[str] = []
    for element, promises in before.items():
        kept = after.get(element)
        if kept is None:
            found.append(f"{element} is gone")
            continue
        for promise, value in promises.items():
            if kept[promise] != value:
                found.append(f"{element} changed its {promise} from {value!r} to {kept[promise]!r}")
    return found + sorted(lost_reservations(released, current))


def surface(protos: FileDescriptorSet) -> Surface:
    elements: Surface = {}
    for file in protos.file:
        elements[f"file {file.name}"] = {
            "package": file.package,
            "syntax": file.syntax or "proto2",
            # The import path of Go callers.
            "go_package": file.options.go_package,
        }
        for name, message in messages(file):
            elements |= message_surface(name, message, file)
        for name, enum in enums(file):
            elements |= enum_surface(name, enum, file)
        for service in file.service:
            elements |= service_surface(f"{file.package}.{service.name}", service, file)
    return elements


def messages(file: FileDescriptorProto) -> Iterator[tuple[str, DescriptorProto]]:
    """Every message of a file with its full name, nested ones included."""
    waiting = [(f"{file.package}.{message.name}", message) for message in file.message_type]
    while waiting:
        name, message = waiting.pop(0)
        yield name, message
        waiting += [(f"{name}.{nested.name}", nested) for nested in message.nested_type]


def enums(file: FileDescriptorProto) -> Iterator[tuple[str, EnumDescriptorProto]]:
    for enum in file.enum_type:
        yield f"{file.package}.{enum.name}", enum
    for name, message in messages(file):
        for enum in message.enum_type:
            yield f"{name}.{enum.name}", enum


def message_surface(name: str, message: DescriptorProto, file: FileDescriptorProto) -> Surface:
    # The file is a module that Python and TypeScript callers import.
    elements: Surface = {f"message {name}": {"file": file.name}}
    for field in message.field:
        elements[f"field {field.number} of {name}"] = {
            "name": field.name,
            "JSON name": field.json_name,
            "type": field_type(field),
            "label": FieldDescriptorProto.Label.Name(field.label).removeprefix("LABEL_").lower(),
            "oneof": message.oneof_decl[field.oneof_index].name
            if field.HasField("oneof_index")
            else "",
        }
    return elements


def field_type(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return field.type_name.removeprefix(".")
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def enum_surface(name: str, enum: EnumDescriptorProto, file: FileDescriptorProto) -> Surface:
    # By name, because one number may have several.
    values: Surface = {
        f"value {value.name} of {name}": {"number": str(value.number)} for value in enum.value
    }
    return {f"enum {name}": {"file": file.name}} | values


def service_surface(
    name: str, service: ServiceDescriptorProto, file: FileDescriptorProto
) -> Surface:
    elements: Surface = {f"service {name}": {"file": file.name}}
    for method in service.method:
        elements[f"method {method.name} of {name}"] = {
            "request": method.input_type.removeprefix("."),
            "response": method.output_type.removeprefix("."),
            "request streaming": str(method.client_streaming).lower(),
            "response streaming": str(method.server_streaming).lower(),
        }
    return elements


def lost_reservations(released: FileDescriptorSet, current: FileDescriptorSet) -> Iterator[str]:
    """Numbers and names that may never be used again, and now could be."""
    after = {name: message for file in current.file for name, message in messages(file)}
    for file in released.file:
        for name, message in messages(file):
            if name not in after:
                continue
            kept = [(each.start, each.end) for each in after[name].reserved_range]
            for lost in message.reserved_range:
                if not any(start <= lost.start and lost.end <= end for start, end in kept):
                    # The end of a range is not part of it.
                    numbers = f"{lost.start} to {lost.end - 1}"
                    yield f"message {name} no longer reserves the numbers {numbers}"
            for reserved in set(message.reserved_name) - set(after[name].reserved_name):
                yield f"message {name} no longer reserves the name {reserved!r}"


def compile_protos() -> FileDescriptorSet:
    """The protos as they stand in the working tree, without comments."""
    names = sorted(
        path.relative_to(ROOT).as_posix()
        for package in ("usage", "usage_ledger")
        for path in (ROOT / "proto" / package).rglob("*.proto")
    )
    with tempfile.TemporaryDirectory(prefix="usage-ledger-breaking-") as folder:
        out = Path(folder) / "protos.binpb"
        command = [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            "-Iproto",
            f"--descriptor_set_out={out}",
            *names,
        ]
        subprocess.run(command, cwd=ROOT, check=True)
        return FileDescriptorSet.FromString(out.read_bytes())


def read_released() -> FileDescriptorSet:
    return FileDescriptorSet.FromString(RELEASED.read_bytes())


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/breaking.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--release", action="store_true", help="take the protos as released")
    parser.add_argument(
        "--although-breaking", action="store_true", help="with --release: whatever breaks"
    )
    options = parser.parse_args()
    current = compile_protos()
    found = breaches(read_released(), current) if RELEASED.exists() else []
    for sentence in found:
        print(sentence)
    if found and not options.although_breaking:
        return 1
    if options.release:
        RELEASED.write_bytes(current.SerializeToString(deterministic=True))
        print(f"breaking: {RELEASED.relative_to(ROOT)} now holds {len(current.file)} files")
    return 1 if found and not options.release else 0


if __name__ == "__main__":
    sys.exit(main())
