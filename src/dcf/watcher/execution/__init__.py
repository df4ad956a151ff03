"""Loads a handler and runs it."""
