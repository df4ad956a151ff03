"""Replicas: start, observation, health checks, balancing and stop."""
