"""What the supervisor of a gateway is asked to start: control plane and bridge, Envoy in front."""

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
"""Without them there is no gateway, or none for streams of gRPC: never given up, and the first
start again follows before most clients notice."""

CONTROL_RULE = BRIDGE_RULE = LivenessRule(silence=10.0, start=30.0)
"""When control plane and bridge count as hung. A turn of the one and a message of the other take
milliseconds."""

ENVOY_RULE = LivenessRule(silence=20.0, start=30.0)
"""When Envoy counts as hung. 20: a restart loses all calls in progress."""

CONTROL_STAGE = 0
"""Ends first, so that nothing is decided any more while the rest ends."""

BRIDGE_STAGE = 150
"""Ends after the replicas, which have 100: streams that they still finish go through it."""

ENVOY_STAGE = 200
"""Ends last: all calls go through it."""


_ALIVE_REQUEST = f"GET {ALIVE} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n"


def supervisor_state(places: Locations) -> Path:
    """The folder of the gateway's supervisor: its lock, its record, the processes' logs."""
    return places.gateway / "supervisor"


def supervisor_socket(places: Locations) -> Path:
    """Where the gateway's supervisor listens."""
    return Sockets.under(places.gateway_runtime).supervisor


def envoy_config(places: Locations) -> Path:
    """Where Envoy's configuration is written before it is started."""
    return places.gateway / "envoy.json"


def supervisor_command(places: Locations, grace: float) -> list[str]:
    """The command line of the gateway's supervisor, which ends when its standard input does.

    Args:
        places: Of the gateway.
        grace: Seconds that each stage of its processes has at the end.
    """
    state, socket = str(supervisor_state(places)), str(supervisor_socket(places))
    own = [sys.executable, "-m", "dcf.supervision", "--lifeline"]
    return [*own, "--state", state, "--socket", socket, "--grace", f"{grace:g}"]


def environment(
    places: Locations, settings: ControlSettings, env: Mapping[str, str]
) -> dict[str, str]:
    """The environment of the control plane: ``env``, with places and settings spelt out."""
    spelt = {
        "DCF_DATA_DIR": str(places.data),
        "DCF_RUNTIME_DIR": str(places.runtime),
        "DCF_SECRETS_DIR": str(places.secrets),
        "DCF_STATE_DIR": str(places.state),
    }
    return {**env, **spelt, **settings.to_mapping()}


def control_process(
    places: Locations, settings: ControlSettings, env: Mapping[str, str]
) -> ProcessSpec:
    """The control plane.

    Args:
        places: Of the gateway.
        settings: How it is to behave.
        env: This process's environment, with the user's settings of pip, uv and proxies.
    """
    sockets = Sockets.under(places.gateway_runtime)
    made = (sockets.control, sockets.discovery, sockets.grpc, sockets.hold, sockets.keys)
    return ProcessSpec(
        name=CONTROL,
        command=(sys.executable, "-m", "dcf.controlplane"),
        env=environment(places, settings, env),
        cwd=str(places.gateway),
        restart=RESTARTS,
        lifeline=True,
        sockets=tuple(str(path) for path in made),
        stage=CONTROL_STAGE,
        probe=Probe(str(alive_socket(sockets.control)), rule=CONTROL_RULE),
    )


def bridge_process(
    places: Locations, settings: BridgeSettings, env: Mapping[str, str]
) -> ProcessSpec:
    """The bridge.

    Args:
        places: Of the gateway.
        settings: How it is to behave; its sockets are the gateway's.
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
    """Envoy; its configuration must have been written to :func:`envoy_config`.

    Args:
        places: Of the gateway.
        settings: How it is to behave.
        program: Envoy's.
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
