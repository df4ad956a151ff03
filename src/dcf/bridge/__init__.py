"""The process that makes WebSockets of gRPC's streams: ``Invokes`` of ``pb.Gateway``."""
