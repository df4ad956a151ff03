"""Clients: of a gateway, in a plain and an async face, and of a single watcher.

Not here: anything that starts or stops one. Begin with ``gateway.py``; what is sent and how it is
read stands in ``operations.py``, once for both faces.
"""
