"""What Envoy does before it runs out of memory or connections (its overload manager).

Each connection is bounded, but the bounds of all connections together are more memory than a
machine has. From :data:`FIRST` of its memory on, Envoy takes back what clients leave unused: it
shortens time-outs and resets the streams that hold most. Near the end it refuses new calls, then
new connections. Calls under way that hold little go on. Why so: docs/decisions/0031-clients.md.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dcf.settings import DataplaneSettings

LEAST = 256 * 1024**2
"""Bytes that Envoy has on the smallest machine: some 60 MiB with nothing to do, and what one call
of gRPC with 16 MiB takes while it is turned into a call of a function."""

MOST = 1024**3
"""Bytes that Envoy has on a large machine; the replicas need the memory more."""

SHARE = 4
"""Envoy has the fourth part of the machine's memory."""

REFRESH = "0.25s"
"""How often Envoy looks at its memory: a client of a 1 Gbit/s network sends 30 MB meanwhile."""

FIRST = 0.7
"""Part of its memory from which on Envoy takes back what clients hold."""
FULL = 0.9
"""From here on all of it is taken back, and unused memory goes to the system."""
REFUSING = 0.95
"""From here on calls are refused with 503, and new connections are closed."""

TRACKED = 18
"""Power of two: streams of HTTP/2 that hold at least 256 KiB may be reset. Envoy has eight classes,
each twice the one before, and begins with the last: 32 MiB and more."""

_TYPE = "type.googleapis.com/envoy."
_HEAP = "envoy.resource_monitors.fixed_heap"
_CONNECTIONS = "envoy.resource_monitors.global_downstream_max_connections"


def overload_manager(settings: DataplaneSettings) -> dict[str, Any]:
    """The ``OverloadManager`` message, in JSON form."""
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
    """Bytes that Envoy may allocate on a machine with so many."""
    return min(max(machine // SHARE, LEAST), MOST)


def machine_memory(group: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Bytes of memory that the machine has, or the container that this process is in.

    Args:
        group: Where a container's limit stands (cgroup v2).
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(memory, int(group.read_text()))
    except (OSError, ValueError):  # there is none, or no limit: "max"
        return memory
