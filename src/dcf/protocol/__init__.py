"""The wire, without gRPC: paths, headers, the status table, errors as documents, reports.

Here: names and pure conversions that both ends share. Not here: sockets.
"""
