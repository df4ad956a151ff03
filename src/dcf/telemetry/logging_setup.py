"""Logging set-up."""

import logging
import sys


def configure(level: int | str = logging.INFO) -> None:
    """Sends the project's log lines to standard error, and only those.

    The root logger is left alone: it is the author's.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("dcf")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
