"""``grpc_echo.py KIND PORT``: Invoke and Invokes of ``pb.Gateway`` as a bare echo, on grpcio.

``aio`` is its asyncio server. ``threads`` is its threaded server with ten threads, as in watchers
that spoke gRPC themselves.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

THREADS = 10
_FIELD = descriptor_pb2.FieldDescriptorProto


def _messages() -> tuple[Any, Any, Any]:
    """Return the classes InvokeServiceRequest, Message and Messages."""
    file = descriptor_pb2.FileDescriptorProto(name="echo.proto", package="pb", syntax="proto3")
    tables = {
        "InvokeServiceRequest": {"Service": _FIELD.TYPE_STRING, "Input": _FIELD.TYPE_BYTES},
        "Message": {"Msg": _FIELD.TYPE_STRING},
        "Messages": {"Output": _FIELD.TYPE_BYTES},
    }
    for name, fields in tables.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            message.field.add(name=field, number=number, type=kind, label=_FIELD.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    request, reply, replies = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"pb.{name}")) for name in tables
    )
    return request, reply, replies


REQUEST, MESSAGE, MESSAGES = _messages()


def _handler(invoke: Any, invokes: Any) -> Any:
    unary = grpc.unary_unary_rpc_method_handler(
        invoke,
        request_deserializer=REQUEST.FromString,
        response_serializer=MESSAGE.SerializeToString,
    )
    many = grpc.stream_stream_rpc_method_handler(
        invokes,
        request_deserializer=REQUEST.FromString,
        response_serializer=MESSAGES.SerializeToString,
    )
    return grpc.method_handlers_generic_handler("pb.Gateway", {"Invoke": unary, "Invokes": many})


async def _by_asyncio(port: str) -> None:
    async def invoke(request: Any, _context: Any) -> Any:
        return MESSAGE(Msg=request.Input.decode())

    async def invokes(requests: Any, _context: Any) -> Any:
        async for request in requests:
            yield MESSAGES(Output=request.Input)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_handler(invoke, invokes),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def _by_threads(port: str) -> None:
    def invoke(request: Any, _context: Any) -> Any:
        return MESSAGE(Msg=request.Input.decode())

    def invokes(requests: Any, _context: Any) -> Any:
        for request in requests:
            yield MESSAGES(Output=request.Input)

    server = grpc.server(ThreadPoolExecutor(THREADS))
    server.add_generic_rpc_handlers((_handler(invoke, invokes),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    kind, address = sys.argv[1:]
    if kind == "aio":
        asyncio.run(_by_asyncio(address))
    else:
        _by_threads(address)
