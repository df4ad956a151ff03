"""Creates protobuf message classes from a table, without generated code.

For the reasons against a generator, see docs/decisions/0010-discovery-stubs.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    message_factory,
    wrappers_pb2,
)

Fields = Mapping[str, tuple[int, str]]
"""From a field's name to its number and kind. A kind is a key of ``_SCALARS``, the name of a
message in the same table, a full name that starts with a dot for a message of ``google.protobuf``,
``map<string,KIND>``, or ``[KIND]`` for a repeated field. Enums are ``int32``, which is the same on
the wire."""

_F = descriptor_pb2.FieldDescriptorProto
_SCALARS: dict[str, Any] = {
    "string": _F.TYPE_STRING,
    "bytes": _F.TYPE_BYTES,
    "bool": _F.TYPE_BOOL,
    "int32": _F.TYPE_INT32,
    "uint32": _F.TYPE_UINT32,
    "uint64": _F.TYPE_UINT64,
}
_KNOWN = (any_pb2, duration_pb2, wrappers_pb2)


def build(package: str, table: Mapping[str, Fields]) -> dict[str, Any]:
    """Create the message classes of ``table``.

    Args:
        package: A package name of this project, so that other packages' stubs for the same protocol
            do not collide. It is not sent.
        table: The fields of each message.

    Returns:
        The class of each message.

    Raises:
        TypeError: If the table is inconsistent.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3"
    )
    pool = descriptor_pool.Default()
    file.dependency.extend(known.DESCRIPTOR.name for known in _KNOWN)
    for name, fields in table.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add(message, package, field, number, kind)
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in table
    }


def _add(message: Any, package: str, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number, label=_F.LABEL_OPTIONAL)
    if kind.startswith("["):
        field.label = _F.LABEL_REPEATED
        kind = kind[1:-1]
    if kind.startswith("map<string,"):
        field.label = _F.LABEL_REPEATED
        words = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
        entry = message.nested_type.add(name=f"{words}Entry")
        entry.options.map_entry = True
        _add(entry, package, "key", 1, "string")
        _add(entry, package, "value", 2, kind.removeprefix("map<string,")[:-1])
        kind = f".{package}.{message.name}.{entry.name}"
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
        return
    field.type = _F.TYPE_MESSAGE
    field.type_name = kind if kind.startswith(".") else f".{package}.{kind}"
