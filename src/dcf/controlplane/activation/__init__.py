"""Calls without a ready replica, and how many replicas a function has."""
