"""Deploys: request, queue, build and revision."""
