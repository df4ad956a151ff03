"""Logging set-up."""

import logging
import sys


def configure(level: int | str = logging.INFO) -> None:
    """Send the log lines of the project, and no others, to standard error.

    The root logger stays as it is, because it belongs to the author.

    Args:
        level: Minimum level.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("dcf")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
