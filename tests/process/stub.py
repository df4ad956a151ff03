"""A client of ``pb.Gateway`` as a compiler makes it from docs/gateway.proto: grpcio's sync API."""

from __future__ import annotations

import queue
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PROTO = Path(__file__).parents[2] / "docs" / "gateway.proto"
PATIENCE = 30
MAP = "map<string,string>"
_F = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "string": _F.TYPE_STRING,
    "bytes": _F.TYPE_BYTES,
    "int32": _F.TYPE_INT32,
    "uint64": _F.TYPE_UINT64,
}


def methods() -> dict[str, tuple[str, str]]:
    """Return the request and the reply of each method."""
    pattern = r"rpc (\w+)\(((?:stream )?\w+)\) returns \(((?:stream )?\w+)\);"
    return {
        name: (request, reply) for name, request, reply in re.findall(pattern, PROTO.read_text())
    }


def fields() -> dict[str, dict[str, tuple[int, str]]]:
    """Return the fields of each message: number, and type as dcf.rpc writes it."""
    types = {}
    for name, body in re.findall(r"message (\w+) \{(.*?)\}", PROTO.read_text(), re.DOTALL):
        lines = re.findall(r"^ *(repeated )?(\w.*) (\w+) = (\d+);$", body, re.MULTILINE)
        types[name] = {
            field: (int(number), f"[{kind}]" if several else kind.replace(", ", ","))
            for several, kind, field, number in lines
        }
    return types


@cache
def messages() -> dict[str, Any]:
    """Return the classes of the messages."""
    file = descriptor_pb2.FileDescriptorProto(name="gateway.proto", package="pb", syntax="proto3")
    for name, members in fields().items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in members.items():
            added = message.field.add(name=field, number=number, label=_F.LABEL_OPTIONAL)
            one = kind.strip("[]")
            if one != kind or one == MAP:
                added.label = _F.LABEL_REPEATED
            if one == MAP:
                entry = message.nested_type.add(name=f"{field}Entry")
                entry.options.map_entry = True
                for place, key in enumerate(("key", "value"), 1):
                    text = {"type": _F.TYPE_STRING, "label": _F.LABEL_OPTIONAL}
                    entry.field.add(name=key, number=place, **text)
                one = f"{name}.{field}Entry"
            if one in _KINDS:
                added.type = _KINDS[one]
            else:
                added.type, added.type_name = _F.TYPE_MESSAGE, f".pb.{one}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptors = {name: pool.FindMessageTypeByName(f"pb.{name}") for name in fields()}
    return {
        name: message_factory.GetMessageClass(descriptor)
        for name, descriptor in descriptors.items()
    }


class Stub:
    """Make a call and return its reply: ``stub("List")``, ``stub("Invoke", Service="echo", Input=b"x")``.

    Args:
        channel: The channel to the gateway.
        token: The management token.
    """

    def __init__(self, channel: grpc.Channel, token: str = "") -> None:
        self._channel = channel
        self._token = token

    def __call__(
        self, name: str, *, timeout: float | None = PATIENCE, metadata: Any = (), **members: Any
    ) -> Any:
        request_class, reply_class = (
            messages()[kind.removeprefix("stream ")] for kind in methods()[name]
        )
        given_metadata = [*metadata]
        if self._token:
            given_metadata.append(("authorization", f"Bearer {self._token}"))
        made = self._multicallable(name)(
            f"/pb.Gateway/{name}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=reply_class.FromString,
        )
        request = request_class(**members)
        streams = methods()[name][0].startswith("stream ")
        reply = made(
            iter([request]) if streams else request, timeout=timeout, metadata=given_metadata
        )
        return list(reply) if streams else reply

    def _multicallable(self, name: str) -> Any:
        if methods()[name][0].startswith("stream "):
            return self._channel.stream_stream
        return self._channel.unary_unary

    @contextmanager
    def talk(self, **more: Any) -> Iterator[Talk]:
        """Open a call of Invokes; cancel what is left of it at the end."""
        made = self._channel.stream_stream(
            "/pb.Gateway/Invokes",
            request_serializer=messages()["InvokeServiceRequest"].SerializeToString,
            response_deserializer=messages()["Messages"].FromString,
        )
        talk = Talk(made, **more)
        try:
            yield talk
        finally:
            talk.end()
            talk.call.cancel()

    def raw(self, method: str, data: bytes, **more: Any) -> bytes:
        """Send a message to any method without encoding it."""
        reply: bytes = self._channel.unary_unary(method)(data, timeout=PATIENCE, **more)
        return reply

    def error(self, name: str, **members: Any) -> tuple[grpc.StatusCode, str]:
        """Return status and message of a call that fails."""
        return failure(lambda: self(name, **members))


class Talk:
    """A call of Invokes: the test decides when messages are sent and received."""

    def __init__(self, made: Any, *, timeout: float = PATIENCE, metadata: Any = ()) -> None:
        self._given: queue.SimpleQueue[Any] = queue.SimpleQueue()
        feed = iter(self._given.get, None)
        self.call = made(feed, timeout=timeout, metadata=metadata)

    def send(self, name: str, *data: bytes) -> None:
        for message in data:
            self._given.put(messages()["InvokeServiceRequest"](Service=name, Input=message))

    def end(self) -> None:
        """End the request stream."""
        self._given.put(None)

    def receive(self) -> bytes:
        output: bytes = next(self.call).Output
        return output

    def rest(self) -> list[bytes]:
        """Return all remaining messages of a call that succeeds."""
        outputs = [reply.Output for reply in self.call]
        assert self.call.code() is grpc.StatusCode.OK
        return outputs

    def failure(self) -> tuple[grpc.StatusCode, str]:
        """Return status and message of a call that fails; skip the messages before."""
        return failure(lambda: list(self.call))


def failure(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    """Return status and message of the error of a call."""
    try:
        reply = call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError(f"it went well: {reply}")


@contextmanager
def connected(port: int, token: str = "", **options: Any) -> Iterator[Stub]:
    """Connect to the gateway on a port of this machine; replies may have any size."""
    bounds = {"grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1}
    with grpc.insecure_channel(
        f"127.0.0.1:{port}", options=list((bounds | options).items())
    ) as channel:
        yield Stub(channel, token)
