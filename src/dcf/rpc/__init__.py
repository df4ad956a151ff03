"""Protobuf messages and gRPC framing."""
