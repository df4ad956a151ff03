"""The same over gRPC, with the interface of the original: frames go in, and come out in order.

    python client_grpc.py video/dog.mjpeg boxes.mjpeg

Needs grpcio and protobuf, which dcframework brings. Clients in other languages get their stubs from
docs/gateway.proto by protoc; the two messages are so few that they are written out here.
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
    """The classes of InvokeServiceRequest and Messages."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="stream.proto", package="pb", syntax="proto3")
    asked = file.message_type.add(name="InvokeServiceRequest")
    asked.field.add(name="Service", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    asked.field.add(name="Input", number=2, type=kinds.TYPE_BYTES, label=kinds.LABEL_OPTIONAL)
    given = file.message_type.add(name="Messages")
    given.field.add(name="Output", number=1, type=kinds.TYPE_BYTES, label=kinds.LABEL_OPTIONAL)
    classes = message_factory.GetMessages([file], pool=descriptor_pool.DescriptorPool())
    return classes["pb.InvokeServiceRequest"], classes["pb.Messages"]


def main(source, goal):
    request, reply = messages()
    video = Video(jpegs(source))
    with grpc.insecure_channel(GATEWAY) as channel, Path(goal).open("wb") as out:
        invokes = channel.stream_stream(
            "/pb.Gateway/Invokes",
            request_serializer=request.SerializeToString,
            response_deserializer=reply.FromString,
        )
        begin = time.perf_counter()
        frames = (request(Service=FUNCTION, Input=frame) for frame in video.messages())
        for message in video.replies(invokes(frames)):
            if message.Output.startswith(b"{"):
                # In the place of a frame that was refused: the reason, as JSON.
                print(message.Output.decode(), file=sys.stderr)
            else:
                out.write(message.Output)
        report(video, time.perf_counter() - begin)


if __name__ == "__main__":
    main(*sys.argv[1:])
