"""The process that connects gRPC streams (``Invokes`` of ``pb.Gateway``) to WebSockets."""
