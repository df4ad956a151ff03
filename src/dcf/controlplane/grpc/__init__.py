"""The gateway's gRPC interface ``pb.Gateway``, without the methods that call functions."""
