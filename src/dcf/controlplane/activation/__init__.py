"""Activation of functions without a ready replica, and automatic scaling."""
