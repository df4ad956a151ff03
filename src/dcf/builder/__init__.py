"""Builds functions: lock, environment, bundle, and the package for a deploy.

This room owns the content-addressed store and everything that fills and frees it. It does not read
config.yaml and does not start replicas.
"""
