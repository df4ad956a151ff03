"""Starts, observes, stops and restarts processes. This room knows nothing about functions."""
