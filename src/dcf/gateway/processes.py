"""The processes of a gateway, for its supervisor: control plane, bridge and Envoy."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dcf.dataplane import envoy
from dcf.dataplane.bootstrap import Sockets
from dcf.dataplane.listener import ALIVE
from dcf.settings import BridgeSettings, ControlSettings, DataplaneSettings, Locations
from dcf.supervision.liveness import LivenessRule, Probe, alive_socket
from dcf.supervision.policy import RestartPolicy
from dcf.supervision.process_messages import ProcessSpec

CONTROL = "gateway.control"
"""The supervisor's name for the control plane."""

BRIDGE = "gateway.bridge"
"""The supervisor's name for the bridge."""

ENVOY = "gateway.envoy"
"""The supervisor's name for Envoy."""

RESTARTS = RestartPolicy(first=0.05, ceiling=5.0, limit=None)
"""Restarts never end, because a gateway needs all its processes. The first restart follows before
most clients notice."""

CONTROL_RULE = BRIDGE_RULE = LivenessRule(silence=10.0, start=30.0)
"""When control plane and bridge count as hung. A turn of the control loop and a message on the
bridge take milliseconds."""

ENVOY_RULE = LivenessRule(silence=20.0, start=30.0)
"""When Envoy counts as hung. 20: a restart loses all calls in progress."""

CONTROL_STAGE = 0
"""Stops first, so that it starts no replica while the others stop."""

BRIDGE_STAGE = 150
"""Stops after the replicas, whose stage is 100: their last streams pass through the bridge."""

ENVOY_STAGE = 200
"""Stops last: all calls pass through it."""


_ALIVE_REQUEST = f"GET {ALIVE} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n"


def supervisor_state(places: Locations) -> Path:
    """Return the folder of the gateway's supervisor, with its lock, its state and the logs."""
    return places.gateway / "supervisor"


def supervisor_socket(places: Locations) -> Path:
    """Return the path of the supervisor's socket."""
    return Sockets.under(places.gateway_runtime).supervisor


def envoy_config(places: Locations) -> Path:
    """Return the path of Envoy's configuration."""
    return places.gateway / "envoy.json"


def supervisor_command(places: Locations, grace: float) -> list[str]:
    """Return the command line of the supervisor. It stops when its standard input ends.

    Args:
        places: Locations of the gateway.
        grace: Seconds for each stage of its processes to stop.
    """
    state, socket = str(supervisor_state(places)), str(supervisor_socket(places))
    own = [sys.executable, "-m", "dcf.supervision", "--lifeline"]
    return [*own, "--state", state, "--socket", socket, "--grace", f"{grace:g}"]


def environment(
    places: Locations, settings: ControlSettings, env: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of the control plane: ``env`` with explicit locations and settings."""
    explicit = {
        "DCF_DATA_DIR": str(places.data),
        "DCF_RUNTIME_DIR": str(places.runtime),
        "DCF_SECRETS_DIR": str(places.secrets),
        "DCF_STATE_DIR": str(places.state),
    }
    return {**env, **explicit, **settings.to_mapping()}


def control_process(
    places: Locations, settings: ControlSettings, env: Mapping[str, str]
) -> ProcessSpec:
    """Return the control plane's process.

    Args:
        places: Locations of the gateway.
        settings: The control plane's settings.
        env: This process's environment, with the user's settings of pip, uv and proxies.
    """
    sockets = Sockets.under(places.gateway_runtime)
    created = (sockets.control, sockets.discovery, sockets.grpc, sockets.hold, sockets.keys)
    return ProcessSpec(
        name=CONTROL,
        command=(sys.executable, "-m", "dcf.controlplane"),
        env=environment(places, settings, env),
        cwd=str(places.gateway),
        restart=RESTARTS,
        lifeline=True,
        sockets=tuple(str(path) for path in created),
        stage=CONTROL_STAGE,
        probe=Probe(str(alive_socket(sockets.control)), rule=CONTROL_RULE),
    )


def bridge_process(
    places: Locations, settings: BridgeSettings, env: Mapping[str, str]
) -> ProcessSpec:
    """Return the bridge's process.

    Args:
        places: Locations of the gateway, whose sockets replace those of the settings.
        settings: The bridge's settings.
        env: This process's environment.
    """
    sockets = Sockets.under(places.gateway_runtime)
    own = replace(settings, listen=str(sockets.bridge), gateway=str(sockets.calls))
    return ProcessSpec(
        name=BRIDGE,
        command=(sys.executable, "-m", "dcf.bridge"),
        env={**env, **own.to_mapping()},
        cwd=str(places.gateway),
        restart=RESTARTS,
        lifeline=True,
        sockets=(str(sockets.bridge),),
        stage=BRIDGE_STAGE,
        probe=Probe(str(alive_socket(sockets.bridge)), rule=BRIDGE_RULE),
    )


def envoy_process(
    places: Locations, settings: DataplaneSettings, program: Path, env: Mapping[str, str]
) -> ProcessSpec:
    """Return Envoy's process. It reads its configuration from :func:`envoy_config`.

    Args:
        places: Locations of the gateway.
        settings: Envoy's settings.
        program: Path of Envoy's program.
        env: This process's environment.
    """
    sockets = Sockets.under(places.gateway_runtime)
    return ProcessSpec(
        name=ENVOY,
        command=tuple(envoy.command(program, envoy_config(places), settings)),
        env=dict(env),
        cwd=str(places.gateway),
        restart=RESTARTS,
        sockets=(str(sockets.admin), str(sockets.ask), str(sockets.calls), str(sockets.cold)),
        stage=ENVOY_STAGE,
        probe=Probe(str(sockets.calls), _ALIVE_REQUEST, ENVOY_RULE),
    )
