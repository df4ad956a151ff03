"""Everything that a gateway is started with, checked before a process starts."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dcf.builder.store import keep_private
from dcf.dataplane import bootstrap, envoy
from dcf.errors import AddressInUse, GatewayError
from dcf.files.runtime_folder import make_private
from dcf.files.storage import writing
from dcf.gateway.host_names import own_names
from dcf.gateway.processes import (
    bridge_process,
    control_process,
    envoy_config,
    envoy_process,
    supervisor_socket,
    supervisor_state,
)
from dcf.gateway.start_options import StartOptions, places_of
from dcf.settings import (
    SOCKET_PATH_LIMIT,
    BridgeSettings,
    BuildSettings,
    ControlSettings,
    DataplaneSettings,
    Locations,
    StoreSettings,
)
from dcf.supervision.process_messages import ProcessSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """A gateway that can be started.

    Attributes:
        places: Its folders.
        control: Settings of its control plane.
        dataplane: Settings of Envoy; ``host`` is a numeric address.
        bridge: Settings of the bridge.
        program: Path of Envoy's program.
        env: The environment of its processes.
    """

    places: Locations
    control: ControlSettings
    dataplane: DataplaneSettings
    bridge: BridgeSettings
    program: Path
    env: Mapping[str, str]

    @classmethod
    def of(cls, options: StartOptions, env: Mapping[str, str]) -> Plan:
        """Create a plan from options and environment variables.

        Raises:
            EnvoyMissing: If Envoy is not installed.
            AddressInUse: If the host cannot be resolved.
            ConfigError: If a variable is invalid.
        """
        # The control plane reads these itself. Checked here, a mistake is reported at once.
        StoreSettings.from_mapping(env)
        BuildSettings.from_mapping(env)
        host = options.host.strip("[]")
        number = _number(host, options.port)
        is_open = ipaddress.ip_address(number).is_loopback
        control = replace(
            ControlSettings.from_mapping(env),
            host=host,
            port=options.port,
            tls=options.cert is not None,
            open=is_open,
            cors=options.cors,
        )
        dataplane = replace(
            DataplaneSettings.from_mapping(env),
            host=number,
            port=options.port,
            certificate=str(options.cert.absolute()) if options.cert else "",
            key=str(options.key.absolute()) if options.key else "",
            open=is_open,
            cors=options.cors,
            allowed_hosts=",".join([*own_names(host), *options.allow_host]),
        )
        return cls(
            places=places_of(options.data_dir, env),
            control=control,
            dataplane=dataplane,
            bridge=BridgeSettings.from_mapping(env),
            program=envoy.find(),
            env=dict(env),
        )

    @property
    def processes(self) -> tuple[ProcessSpec, ...]:
        """The processes for the supervisor to start."""
        return (
            control_process(self.places, self.control, self.env),
            bridge_process(self.places, self.bridge, self.env),
            envoy_process(self.places, self.dataplane, self.program, self.env),
        )

    def make_folders(self) -> None:
        """Create the gateway's folders.

        Raises:
            StorageError: If they cannot be created.
            GatewayError: If the paths of its sockets would be too long.
        """
        longest = supervisor_socket(self.places)
        if len(os.fsencode(longest)) > SOCKET_PATH_LIMIT:
            raise GatewayError(
                f"the path of a socket is too long: expected at most {SOCKET_PATH_LIMIT} bytes, got"
                f" {longest}; set DCF_RUNTIME_DIR to a shorter path"
            )
        keep_private(self.places)
        with writing(self.places.gateway):
            supervisor_state(self.places).mkdir(parents=True, exist_ok=True, mode=0o700)
        with writing(self.places.gateway_runtime):
            make_private(self.places.runtime)
            make_private(self.places.gateway_runtime)

    def check_port(self) -> None:
        """Check that the port can be used.

        Raises:
            AddressInUse: If it cannot.
        """
        host, port = self.dataplane.host, self.dataplane.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Connections of a previous gateway in state TIME_WAIT are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise AddressInUse(_why(self.control.host, port, error)) from error

    def write_config(self) -> None:
        """Write Envoy's configuration. If there is a certificate, let Envoy validate it.

        Raises:
            EnvoyFailed: If the certificate or its key is invalid.
            StorageError: If the configuration cannot be written.
        """
        config = envoy_config(self.places)
        with writing(config):
            sockets = bootstrap.Sockets.under(self.places.gateway_runtime)
            bootstrap.write(config, self.dataplane, sockets)
        if self.dataplane.certificate:
            envoy.validate(self.program, config)


def _number(host: str, port: int) -> str:
    """Return the numeric address of a host. Envoy does not resolve names."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise AddressInUse(f"cannot resolve the host {host}: {error.strerror}") from error
    return str(addresses[0][4][0])


def _why(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} of {host} is in use"
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine"
        case _:
            return f"cannot listen on port {port} of {host}: {error.strerror}"
