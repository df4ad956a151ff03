"""Logging set-up and call ids. Not here: anything that knows what a function is."""
