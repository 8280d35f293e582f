"""The CRI v1 wire contract, field by field: proto/cri/v1/api.proto against the facts in cri-v1-wire.tsv."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from cri.v1 import api_pb2, projection_pb2

FACTS = Path(__file__).with_name("cri-v1-wire.tsv")
FILE = api_pb2.DESCRIPTOR
TYPES = {name: number for name, number in vars(FieldDescriptor).items() if name.startswith("TYPE_")}
SCALARS = {number: name.removeprefix("TYPE_").lower() for name, number in TYPES.items()}


class Row(NamedTuple):
    """A line of the facts; without its first three columns, what must be equal."""

    kind: str
    parent: str
    name: str
    number: str
    type: str
    label: str
    oneof: str
    deprecated: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self[:3]


def facts() -> list[Row]:
    lines = (line for line in FACTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    header, *rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    assert tuple(header) == Row._fields
    return [Row(*row) for row in rows]


def contract() -> Iterator[Row]:
    """The same of the generated descriptors, which come from the .proto file."""
    for service in FILE.services_by_name.values():
        for rpc in service.methods:
            answer = ("stream " if rpc.server_streaming else "") + rpc.output_type.full_name
            request = ("stream " if rpc.client_streaming else "") + rpc.input_type.full_name
            deprecated = _yes(rpc.GetOptions().deprecated or service.GetOptions().deprecated)
            yield Row("rpc", service.full_name, rpc.name, "", f"{request}->{answer}", "", "", deprecated)
    for message in FILE.message_types_by_name.values():
        yield from _message(message)
    for enum in FILE.enum_types_by_name.values():
        yield from _enum(enum)


def _message(message: Descriptor) -> Iterator[Row]:
    if message.GetOptions().map_entry:
        return
    if not message.fields:
        yield Row("message", message.full_name, "", "", "", "", "", _yes(message.GetOptions().deprecated))
    for field in message.fields:
        label = "repeated" if field.is_repeated else "required" if field.is_required else "optional"
        oneof = field.containing_oneof.name if field.containing_oneof else ""
        deprecated = _yes(field.GetOptions().deprecated)
        yield Row("message", message.full_name, field.name, str(field.number), _type(field), label, oneof, deprecated)
    for nested in message.nested_types:
        yield from _message(nested)
    for enum in message.enum_types:
        yield from _enum(enum)


def _enum(enum: EnumDescriptor) -> Iterator[Row]:
    for value in enum.values:
        deprecated = _yes(value.GetOptions().deprecated)
        yield Row("enum", enum.full_name, value.name, str(value.number), "", "", "", deprecated)


def _type(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        if field.message_type.GetOptions().map_entry:
            key, value = (field.message_type.fields_by_name[part] for part in ("key", "value"))
            return f"map<{_type(key)},{_type(value)}>"
        return field.message_type.full_name
    return field.enum_type.full_name if field.enum_type is not None else SCALARS[field.type]


def _yes(flag: bool) -> str:
    return "yes" if flag else ""


def test_every_fact_is_in_the_contract_and_nothing_else() -> None:
    expected, actual = {row.key: row for row in facts()}, {row.key: row for row in contract()}
    wrong = [(row, actual[key]) for key, row in expected.items() if key in actual and actual[key] != row]
    missing = sorted(expected.keys() - actual.keys())
    extra = sorted(actual.keys() - expected.keys())
    assert (wrong, missing, extra) == ([], [], [])


def test_no_row_hides_another() -> None:
    for rows in (facts(), list(contract())):
        assert len({row.key for row in rows}) == len(rows)


@pytest.mark.parametrize("rows", [facts(), list(contract())], ids=["facts", "contract"])
def test_the_contracts_size(rows: list[Row]) -> None:
    of_kind = {kind: [row for row in rows if row.kind == kind] for kind in ("message", "enum", "rpc")}
    assert len({row.parent for row in of_kind["message"]}) == 175
    assert len([row for row in of_kind["message"] if row.name]) == 478
    assert len({row.parent for row in of_kind["enum"]}) == 11
    assert len(of_kind["rpc"]) == 43


def test_the_order_of_declaration_is_that_of_the_facts() -> None:
    """So that messages serialize as a Go runtime's: by number; and a reader finds things where upstream has them."""
    for message in {row.parent for row in facts() if row.kind == "message" and row.name}:
        named = [row.name for row in facts() if row.parent == message]
        assert named == [row.name for row in contract() if row.parent == message]


def test_package_and_syntax() -> None:
    assert FILE.package == "runtime.v1"
    assert FILE.name == "cri/v1/api.proto"
    assert all(not message.oneofs for message in FILE.message_types_by_name.values())


def test_fields_are_without_presence_as_upstreams_are() -> None:
    """`optional` on a scalar would change nothing on the wire, but what zero means."""
    for message in FILE.message_types_by_name.values():
        for field in message.fields:
            if field.message_type is None:
                assert not field.has_presence, field.full_name


@pytest.mark.parametrize(
    ("answer", "projection"),
    [
        (api_pb2.ListPodSandboxResponse.DESCRIPTOR, projection_pb2.Sandboxes.DESCRIPTOR),
        (api_pb2.ListContainersResponse.DESCRIPTOR, projection_pb2.Containers.DESCRIPTOR),
    ],
)
def test_a_projection_reads_id_and_state_where_the_contract_has_them(
    answer: Descriptor, projection: Descriptor
) -> None:
    (whole,), (part,) = answer.fields, projection.fields
    assert (part.number, part.type, part.is_repeated) == (whole.number, whole.type, whole.is_repeated)
    assert part.message_type is not None
    assert whole.message_type is not None
    assert [field.name for field in part.message_type.fields] == ["id", "state"]
    for field in part.message_type.fields:
        assert field.number == whole.message_type.fields_by_name[field.name].number
