"""The gateway's gRPC interface, ``pb.Gateway``: all of it but Invoke, which Envoy answers."""
