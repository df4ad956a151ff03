"""Envoy, the data plane: configuration, discovery and statistics."""
