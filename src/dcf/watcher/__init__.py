"""The server in a replica: load, serve, drain. Started by command line, never imported by a host.

Here: all that stands between a socket and the author's handler. Not here: building, placing, and
restarting replicas.
"""
