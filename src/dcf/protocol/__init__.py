"""The wire format without gRPC: paths, headers, the status table, problem documents, reports.

Here: names and pure conversions that both ends share. Not here: sockets.
"""
