"""Remove what an ended gateway leaves: folders and control groups of replicas, and sockets.

The processes that would remove them have ended before. After a killed gateway, the next start
removes them.
"""

from __future__ import annotations

import contextlib
import shutil

from dcf.engines import registry
from dcf.gateway.processes import supervisor_socket
from dcf.settings import Locations


def clear(places: Locations) -> None:
    """Remove all remains. What cannot be removed now is removed by the next start.

    Args:
        places: Locations of a gateway whose supervisor has ended. The caller holds its lock.
    """
    shutil.rmtree(places.replicas, ignore_errors=True)
    shutil.rmtree(places.calls, ignore_errors=True)
    registry.clear_gateway(supervisor_socket(places))
    with contextlib.suppress(OSError):
        for kind in ("*.sock", "*.alive"):
            for socket in places.gateway_runtime.glob(kind):
                socket.unlink(missing_ok=True)
