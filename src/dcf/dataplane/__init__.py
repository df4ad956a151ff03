"""Envoy, which passes every call on: its configuration, what it is told, what it counts."""
