"""What a gateway is started with, checked before anything runs."""

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
    ControlSettings,
    DataplaneSettings,
    Locations,
)
from dcf.supervision.process_messages import ProcessSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """A gateway that can be started.

    Attributes:
        places: Where it keeps things.
        control: How its control plane is to behave.
        dataplane: How Envoy is to behave; ``host`` is a number there.
        bridge: How the bridge is to behave.
        program: Envoy's.
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
        """What the options and the environment come to.

        Raises:
            EnvoyMissing: When Envoy is not installed.
            AddressInUse: When the host's name says no address.
            ConfigError: When a variable does not fit.
        """
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
        """What the supervisor is asked to start."""
        return (
            control_process(self.places, self.control, self.env),
            bridge_process(self.places, self.bridge, self.env),
            envoy_process(self.places, self.dataplane, self.program, self.env),
        )

    def make_folders(self) -> None:
        """Makes the gateway's own folders.

        Raises:
            StorageError: When they cannot be made.
            GatewayError: When the paths of its sockets would be too long.
        """
        longest = supervisor_socket(self.places)
        if len(os.fsencode(longest)) > SOCKET_PATH_LIMIT:
            raise GatewayError(
                f"the path of a socket, {longest}, has more than {SOCKET_PATH_LIMIT} bytes; name"
                " a shorter folder in DCF_RUNTIME_DIR"
            )
        keep_private(self.places)
        with writing(self.places.gateway):
            supervisor_state(self.places).mkdir(parents=True, exist_ok=True, mode=0o700)
        with writing(self.places.gateway_runtime):
            make_private(self.places.runtime)
            make_private(self.places.gateway_runtime)

    def check_port(self) -> None:
        """Asks for the port and gives it back.

        Raises:
            AddressInUse: When it cannot be had.
        """
        host, port = self.dataplane.host, self.dataplane.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # What a gateway before left in TIME_WAIT keeps nobody waiting.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise AddressInUse(_why(self.control.host, port, error)) from error

    def write_config(self) -> None:
        """Writes Envoy's configuration; with a certificate, Envoy looks whether it is good.

        Raises:
            EnvoyFailed: What is wrong with certificate or key.
            StorageError: When it cannot be written.
        """
        config = envoy_config(self.places)
        with writing(config):
            sockets = bootstrap.Sockets.under(self.places.gateway_runtime)
            bootstrap.write(config, self.dataplane, sockets)
        if self.dataplane.certificate:
            envoy.validate(self.program, config)


def _number(host: str, port: int) -> str:
    """The numeric address of a host; Envoy looks up none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise AddressInUse(f"{host} is no address: {error.strerror}") from error
    return str(found[0][4][0])


def _why(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} of {host} is in use"
        case errno.EADDRNOTAVAIL:
            return f"{host} is no address of this machine"
        case _:
            return f"port {port} of {host} cannot be had: {error.strerror}"
