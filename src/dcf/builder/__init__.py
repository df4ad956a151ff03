"""Build functions: lock, environment, bundle.

This room owns the content-addressed store and everything that fills and frees it. It does not read
config.yaml and does not start replicas.
"""
