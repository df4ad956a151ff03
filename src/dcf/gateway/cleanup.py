"""What a gateway that has ended would leave: its replicas' folders, their control groups, sockets.

Whoever is to clear them away has ended before; one that was killed has left them to the next start.
"""

from __future__ import annotations

import contextlib
import shutil

from dcf.engines import registry
from dcf.gateway.processes import supervisor_socket
from dcf.settings import Locations


def clear(places: Locations) -> None:
    """Removes all of it. What cannot be removed stays for the next start.

    Args:
        places: Of a gateway whose supervisor has ended, and that no other one can begin to use.
    """
    shutil.rmtree(places.replicas, ignore_errors=True)
    shutil.rmtree(places.calls, ignore_errors=True)
    registry.clear_gateway(supervisor_socket(places))
    with contextlib.suppress(OSError):
        for kind in ("*.sock", "*.alive"):
            for socket in places.gateway_runtime.glob(kind):
                socket.unlink(missing_ok=True)
