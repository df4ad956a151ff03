"""Settings of a gateway's processes: Envoy, control plane and bridge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Self

from dcf.settings.parsing import (
    RESERVED_PREFIX,
    Bytes,
    ChoiceRule,
    Count,
    FilePath,
    Flag,
    Line,
    LogLevel,
    Port,
    PositiveSeconds,
    Seconds,
    SecondsRule,
    WholeNumberRule,
    read_settings,
    write_settings,
)

_MOST = 2**31 - 1
"""Maximum of Envoy's 32-bit numbers, flow-control windows included (RFC 9113, 6.9.1)."""
_LEAST_WINDOW = 65_535
"""Minimum of an HTTP/2 window in Envoy, the protocol's own default (RFC 9113, 6.9.2)."""
_WINDOWS = 4
"""Envoy gives a connection four times the window of a stream (``dcf.dataplane.listener``)."""

_EnvoySeconds = Annotated[float, SecondsRule(most=864_000.0)]
"""Ten days: longer ones would be written with an exponent, which Envoy does not read."""


@dataclass(frozen=True, slots=True)
class DataplaneSettings:
    """The gateway's public port and what Envoy allows there.

    The field ``log_level`` is the environment variable ``DCF_ENVOY_LOG_LEVEL``.

    Attributes:
        host: Address to listen on. Loopback by default: opening the gateway to the network must be
            a decision.
        port: Port to listen on. 32222, the original's.
        certificate: PEM file of the certificate chain; "" disables TLS.
        key: PEM file of the certificate's private key.
        threads: Envoy's worker threads; 0 takes half of the cores, at most four, because the
            replicas need the others and each thread has its own connections to each replica.
        connections: Maximum concurrent client connections. 10,000: at worst about 100 KB each, 1 GB
            in all.
        buffer: Bytes buffered for a connection, or an HTTP/2 stream, in each direction before the
            sender must wait. 256 KiB: as fast as 1 MiB, at a quarter of the memory.
        memory: Bytes that Envoy may allocate; 0 takes a quarter of the machine's memory, at least
            256 MiB, at most 1 GiB. Near the limit Envoy resets the streams that hold most and
            rejects calls and connections, which is better than being killed with all calls.
        streams: Maximum concurrent streams of an HTTP/2 connection. Each has ``buffer`` twice, and
            up to 16 MiB of a gRPC message. 100: what browsers and gRPC clients expect.
        message_timeout: Seconds until the message of a gRPC Invoke call must have arrived; Envoy
            buffers it whole. 120: 16 MiB, the largest message, at 1.1 Mbit/s.
        unread: Seconds that a client may leave sent data unread. 300: as long as a stream may be
            idle in a replica.
        headers: Maximum size of a request's headers in KiB; larger ones get a 431. 64: enough for
            many cookies, not for a body.
        headers_timeout: Seconds until a request's headers must have arrived. 10: a working client
            sends them at once.
        idle_connection: Seconds that a client's connection stays open without a call. 300.
        idle_stream: Seconds without a byte either way after which Envoy ends a request that waits
            for a replica, or that is not a call. A day: longer than any deadline, so that the
            process that answers, and enforces the deadlines, always acts first.
        management: Seconds for the reply to a management request other than a deploy, an upload or
            a log. 60: listing a thousand functions takes 0.1 s, and a client must notice that its
            gateway hangs.
        open: Whether calls need no key, as on loopback. Otherwise Envoy rejects everything without
            a key except the health check.
        cors: Origins that browsers may call from, separated by commas; ``*`` allows all, "" none.
        allowed_hosts: Names that the ``Host`` of a request may have besides ``localhost`` and IP
            addresses, separated by commas; ``*``, the default, allows all. ``gateway start`` always
            sets it. Checked only if calls need no key: a web page could then call under its own
            name (DNS rebinding).
        access_log: Whether Envoy logs each call as a line of JSON on standard output.
        log_level: Minimum level of Envoy's own log lines on standard error.
    """

    host: Line = "127.0.0.1"
    port: Port = 32222
    certificate: FilePath = ""
    key: FilePath = ""
    threads: Annotated[int, WholeNumberRule(0, 1024)] = 0
    connections: Annotated[int, WholeNumberRule(1, _MOST)] = 10_000
    buffer: Annotated[int, WholeNumberRule(_LEAST_WINDOW, _MOST // _WINDOWS, "bytes")] = 256 * 1024
    memory: Bytes = 0
    streams: Annotated[int, WholeNumberRule(1, _MOST)] = 100
    message_timeout: _EnvoySeconds = 120.0
    unread: _EnvoySeconds = 300.0
    headers: Annotated[int, WholeNumberRule(1, 8184, "KiB")] = 64
    headers_timeout: _EnvoySeconds = 10.0
    idle_connection: _EnvoySeconds = 300.0
    idle_stream: _EnvoySeconds = 86_400.0
    management: _EnvoySeconds = 60.0
    open: Flag = True
    cors: Line = ""
    allowed_hosts: Line = "*"
    access_log: Flag = True
    log_level: Annotated[
        str,
        ChoiceRule(
            ("trace", "debug", "info", "warning", "error", "critical", "off"), {"warn": "warning"}
        ),
    ] = "warning"

    @classmethod
    def from_mapping(cls, env: Mapping[str, str]) -> Self:
        """Read the ``DCF_ENVOY_`` variables that are set.

        Raises:
            ConfigError: If a value is not allowed.
        """
        return cls(**read_settings(cls, env, RESERVED_PREFIX + "ENVOY_"))


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """The gateway's control plane.

    The field ``builds`` is the environment variable ``DCF_CONTROL_BUILDS``.

    Attributes:
        host: Address that the gateway listens on.
        port: Port that the gateway listens on.
        tls: Whether the gateway's clients use TLS.
        open: Whether calls and lists need no key, as on loopback.
        cors: Origins that browsers may call from, separated by commas; ``*`` allows all, "" none.
        start_timeout: Seconds that a replica's constructor may take.
        upload_limit: Maximum bytes of all files of a function. 50 GiB: a large model.
        upload_files: Maximum number of files of a function. 100,000: more is a data set.
        request_limit: Maximum bytes of a request that is neither a blob nor a call. 32 MiB: the
            list of 100,000 files.
        builds: Maximum concurrent builds; 0 sets no limit. 2: builds wait for networks and disks
            more than they compute.
        revisions: How many of the newest revisions of each function the store keeps.
        held: Maximum calls of one function that wait for a replica to start. 1024: a burst on an
            idle function. A first replica could not catch up with more.
        held_in_all: Maximum calls of all functions that wait for a replica. 4096: each takes three
            connections in Envoy.
        health_interval: Seconds between two health checks of a ready replica, and for its answer.
            After two checks without an answer, calls go to the other replicas.
        health_silence: Seconds without an answer after which a replica whose process is stopped
            (SIGSTOP) is killed. 30: a machine that swaps may pause for some seconds. Any other
            replica is killed after its function's timeout plus grace, because a handler may hold
            the interpreter's lock for that long. If timeout plus grace is less, it applies to both.
        log_level: Minimum level of the control plane's own log lines.
    """

    host: Line = "127.0.0.1"
    port: Port = 32222
    tls: Flag = False
    open: Flag = True
    cors: Line = ""
    start_timeout: PositiveSeconds = 300.0
    upload_limit: Bytes = 50 * 1024**3
    upload_files: Count = 100_000
    request_limit: Bytes = 32 * 1024**2
    builds: Count = 2
    revisions: Count = 10
    held: Count = 1024
    held_in_all: Count = 4096
    health_interval: PositiveSeconds = 2.0
    health_silence: PositiveSeconds = 30.0
    log_level: LogLevel = "INFO"

    @classmethod
    def from_mapping(cls, env: Mapping[str, str]) -> Self:
        """Read the ``DCF_CONTROL_`` variables that are set.

        Raises:
            ConfigError: If a value is not allowed.
        """
        return cls(**read_settings(cls, env, RESERVED_PREFIX + "CONTROL_"))

    def to_mapping(self) -> dict[str, str]:
        """Return the variables that :meth:`from_mapping` reads back to an equal value."""
        return write_settings(self, RESERVED_PREFIX + "CONTROL_")


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """The gateway's process for gRPC streams.

    The field ``drain`` is the environment variable ``DCF_BRIDGE_DRAIN``.

    Attributes:
        listen: Path of the Unix socket that the bridge listens on.
        gateway: Path of the gateway's Unix socket for calls without a key.
        max_message: Maximum bytes of a message, either way. 16 MiB, as in an Invoke call.
        idle: Seconds for a stream to name its first function, and for its client to read the end of
            a finished stream. 300: as long as a stream may be idle in a replica, which ends all
            other idle streams.
        drain: Seconds that streams in progress may take after SIGTERM. 25: less than the supervisor
            waits, so that the last streams still get a status.
        log_level: Minimum level of the bridge's own log lines.
    """

    listen: FilePath = "bridge.sock"
    gateway: FilePath = "calls.sock"
    max_message: Bytes = 16 * 1024**2
    idle: PositiveSeconds = 300.0
    drain: Seconds = 25.0
    log_level: LogLevel = "INFO"

    @classmethod
    def from_mapping(cls, env: Mapping[str, str]) -> Self:
        """Read the ``DCF_BRIDGE_`` variables that are set.

        Raises:
            ConfigError: If a value is not allowed.
        """
        return cls(**read_settings(cls, env, RESERVED_PREFIX + "BRIDGE_"))

    def to_mapping(self) -> dict[str, str]:
        """Return the variables that :meth:`from_mapping` reads back to an equal value."""
        return write_settings(self, RESERVED_PREFIX + "BRIDGE_")
