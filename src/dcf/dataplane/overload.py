"""Configures Envoy's overload manager, which sheds load before Envoy runs out of memory.

Each connection is bounded, but the bounds of all connections together exceed a machine's memory.
When :data:`FIRST` of its memory is used, Envoy begins to reclaim what clients leave unused: it
shortens timeouts and resets the streams that hold most. Near the limit it refuses new calls, then
new connections. Calls in progress that hold little continue. Reasons:
docs/decisions/0031-clients.md.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dcf.settings import DataplaneSettings

LEAST = 256 * 1024**2
"""Bytes for Envoy on the smallest machine: some 60 MiB when idle, and what one gRPC call of 16 MiB
takes while Envoy turns it into a call of a function."""

MOST = 1024**3
"""Bytes for Envoy on a large machine; the replicas need the rest more."""

SHARE = 4
"""Envoy gets a quarter of the machine's memory."""

REFRESH = "0.25s"
"""How often Envoy checks its memory. A client on a 1 Gbit/s network sends 30 MB in between."""

FIRST = 0.7
"""Fraction of its memory at which Envoy begins to reclaim what clients hold."""
FULL = 0.9
"""Fraction at which Envoy reclaims all of it and returns unused memory to the system."""
REFUSING = 0.95
"""Fraction at which Envoy refuses calls with 503 and closes new connections."""

TRACKED = 18
"""Exponent of two: HTTP/2 streams that hold at least 256 KiB may be reset. Envoy has eight classes,
each twice the size of the previous one, and begins with the last: 32 MiB and more."""

_TYPE = "type.googleapis.com/envoy."
_HEAP = "envoy.resource_monitors.fixed_heap"
_CONNECTIONS = "envoy.resource_monitors.global_downstream_max_connections"


def overload_manager(settings: DataplaneSettings) -> dict[str, Any]:
    """Return the ``OverloadManager`` message, in JSON form."""
    monitors = f"{_TYPE}extensions.resource_monitors"
    timers = [
        {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "1s"},
        {"timer": "HTTP_DOWNSTREAM_STREAM_FLUSH", "min_timeout": "1s"},
        {"timer": "TRANSPORT_SOCKET_CONNECT", "min_timeout": "1s"},
    ]
    scaled = {"scaled": {"scaling_threshold": FIRST, "saturation_threshold": FULL}}
    return {
        "refresh_interval": REFRESH,
        "resource_monitors": [
            {
                "name": _CONNECTIONS,
                "typed_config": {
                    "@type": f"{monitors}.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": settings.connections,
                },
            },
            {
                "name": _HEAP,
                "typed_config": {
                    "@type": f"{monitors}.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": settings.memory or memory_for(machine_memory()),
                },
            },
        ],
        "actions": [
            _action("reduce_timeouts", scaled)
            | {
                "typed_config": {
                    "@type": f"{_TYPE}config.overload.v3.ScaleTimersOverloadActionConfig",
                    "timer_scale_factors": timers,
                }
            },
            _action("reset_high_memory_stream", scaled),
            _action("disable_http_keepalive", {"threshold": {"value": FULL}}),
            _action("shrink_heap", {"threshold": {"value": FIRST}}),
            _action("stop_accepting_requests", {"threshold": {"value": REFUSING}}),
            _action("reject_incoming_connections", {"threshold": {"value": REFUSING}}),
        ],
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": TRACKED},
    }


def _action(name: str, trigger: dict[str, Any]) -> dict[str, Any]:
    return {"name": f"envoy.overload_actions.{name}", "triggers": [{"name": _HEAP, **trigger}]}


def memory_for(machine: int) -> int:
    """Return how many bytes Envoy may allocate on a machine with this much memory."""
    return min(max(machine // SHARE, LEAST), MOST)


def machine_memory(group: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Return the memory of the machine, or of this process's container, in bytes.

    Args:
        group: File with the container's limit (cgroup v2).
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(memory, int(group.read_text()))
    except (OSError, ValueError):  # the file is missing, or says "max": no limit
        return memory
