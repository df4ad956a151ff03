"""The minimum of a proxied path: Envoy with a fixed route and a bare echo on a Unix socket."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.servers import APPS, Server, free_port, running, started

from dcf.dataplane import envoy
from dcf.settings import DataplaneSettings

_TYPE = "type.googleapis.com/envoy."
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@contextlib.contextmanager
def bare_path() -> Iterator[Server]:
    """Run Envoy, with as many threads as a gateway's, and the echo of ``apps/serve.py``."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="dcf-bench-", dir="/tmp") as folder:
        socket, config = Path(folder) / "echo.sock", Path(folder) / "envoy.json"
        config.write_text(json.dumps(_config(port, socket)))
        command = envoy.command(envoy.find(), config, DataplaneSettings())
        with (
            (Path(folder) / "log").open("w+") as log,
            started([sys.executable, APPS / "serve.py", "uvicorn-unix", socket], log),
            running(command, f"http://127.0.0.1:{port}/") as server,
        ):
            yield server


def _config(port: int, socket: Path) -> dict[str, Any]:
    """Return the smallest configuration of a proxy; as in a gateway, a call has no time limit."""
    route = {"match": {"prefix": "/"}, "route": {"cluster": "echo", "timeout": "0s"}}
    manager = {
        "@type": f"{_TYPE}extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": "bare",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": f"{_TYPE}extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(socket)}}}}
    cluster = {
        "name": "echo",
        "load_assignment": {"cluster_name": "echo", "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            _HTTP: {
                "@type": f"type.googleapis.com/{_HTTP}",
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
