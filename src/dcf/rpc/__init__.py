"""Protobuf messages: what they are called on the wire, and the classes made from that."""
