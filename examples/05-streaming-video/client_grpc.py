"""Sends a video over gRPC with the original's interface; replies arrive in the order of the frames.

    python client_grpc.py video/dog.mjpeg boxes.mjpeg

Needs grpcio and protobuf, which dcframework depends on. For other languages, generate stubs from
docs/gateway.proto with protoc. This client needs only two messages and defines them here.
"""

import os
import sys
import time
from pathlib import Path

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from client import Video, jpegs, report

FUNCTION = "detect-video"
GATEWAY = os.environ.get("DCF_GATEWAY", "127.0.0.1:32222").removeprefix("http://")


def messages():
    """Return the classes InvokeServiceRequest and Messages."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="stream.proto", package="pb", syntax="proto3")
    request = file.message_type.add(name="InvokeServiceRequest")
    request.field.add(name="Service", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    request.field.add(name="Input", number=2, type=field.TYPE_BYTES, label=field.LABEL_OPTIONAL)
    reply = file.message_type.add(name="Messages")
    reply.field.add(name="Output", number=1, type=field.TYPE_BYTES, label=field.LABEL_OPTIONAL)
    classes = message_factory.GetMessages([file], pool=descriptor_pool.DescriptorPool())
    return classes["pb.InvokeServiceRequest"], classes["pb.Messages"]


def main(source, target):
    request, reply = messages()
    video = Video(jpegs(source))
    with grpc.insecure_channel(GATEWAY) as channel, Path(target).open("wb") as out:
        invokes = channel.stream_stream(
            "/pb.Gateway/Invokes",
            request_serializer=request.SerializeToString,
            response_deserializer=reply.FromString,
        )
        begin = time.perf_counter()
        frames = (request(Service=FUNCTION, Input=frame) for frame in video.messages())
        for message in video.replies(invokes(frames)):
            if message.Output.startswith(b"{"):
                # The reply to a rejected frame: the reason, as JSON.
                print(message.Output.decode(), file=sys.stderr)
            else:
                out.write(message.Output)
        report(video, time.perf_counter() - begin)


if __name__ == "__main__":
    main(*sys.argv[1:])
