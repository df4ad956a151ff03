"""Listening sockets, and the watch on the parent process."""
