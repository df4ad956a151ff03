"""Logging set-up and call ids. Not here: anything about functions."""
