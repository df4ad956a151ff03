"""The server in a replica: it loads a handler, serves it, and drains.

Engines start it by command line and never import it. It contains everything between a socket and
the author's handler. Other rooms build, place and restart replicas.
"""
