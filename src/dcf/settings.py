"""Every setting that is not the author's: where things lie, and how a watcher behaves.

Each class is built from a mapping that the caller passes, so that no test touches the process's
environment. Defaults are promises: ``tests/unit/test_settings.py`` pins them.
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, TypeVar, get_type_hints

from dcf.errors import ConfigError, Problem

SOCKET_PATH_LIMIT = 100
"""Bytes. ``sun_path`` holds 108 on Linux and 104 on macOS, its ending zero included; the rest is
margin."""

Number = TypeVar("Number", int, float)

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]", "0.0.0.0", "::", "[::]", ""})  # noqa: S104  names, nothing is bound
"""Hosts that mean, for a client on the same machine, this machine."""

RESERVED_PREFIX = "DCF_"
"""Environment variables that start so are the framework's, not the author's."""


@dataclass(frozen=True, slots=True)
class Locations:
    """Where the project keeps things on this machine. Every other path is derived from these.

    Attributes:
        data: What must last: blobs, environments, locks, the gateway's catalog.
        runtime: Sockets and reservations; short, private, gone after a reboot.
        secrets: The user's folder of secret files, one file per secret.
        state: What a user's commands share with each other: gateways' tokens.
    """

    data: Path
    runtime: Path
    secrets: Path
    state: Path

    @classmethod
    def from_mapping(cls, env: Mapping[str, str], platform: str = sys.platform) -> Self:
        """Finds the platform's places.

        ``DCF_DATA_DIR``, ``DCF_RUNTIME_DIR``, ``DCF_SECRETS_DIR`` and ``DCF_STATE_DIR`` come first,
        then the XDG Base Directory variables on Linux and ``~/Library`` on macOS.

        Args:
            env: The environment.
            platform: As in ``sys.platform``.
        """
        home = Path(env["HOME"]) if env.get("HOME") else Path.home()
        if platform == "darwin":
            data = config = state = home / "Library" / "Application Support"
        else:
            state = Path(env.get("XDG_STATE_HOME") or home / ".local" / "state")
            data = Path(env.get("XDG_DATA_HOME") or home / ".local" / "share")
            config = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
        run = Path(env.get("XDG_RUNTIME_DIR") or env.get("TMPDIR") or "/tmp")  # noqa: S108  made private on use
        private = "dcf" if env.get("XDG_RUNTIME_DIR") else f"dcf-{os.getuid()}"
        return cls(
            data=Path(env.get("DCF_DATA_DIR") or data / "dcf").absolute(),
            runtime=Path(env.get("DCF_RUNTIME_DIR") or run / private).absolute(),
            secrets=Path(env.get("DCF_SECRETS_DIR") or config / "dcf" / "secrets").absolute(),
            state=Path(env.get("DCF_STATE_DIR") or state / "dcf").absolute(),
        )

    @property
    def store(self) -> Path:
        """The builder's store."""
        return self.data / "store"

    @property
    def workspaces(self) -> Path:
        """The folders of running replicas; beside the store, so that large files can be links."""
        return self.data / "workspaces"

    @property
    def gpu_locks(self) -> Path:
        """The lock files of GPUs that somebody has to himself."""
        return self.runtime / "gpus"

    @property
    def replicas(self) -> Path:
        """The folders of a gateway's replicas, which outlive its control plane.

        Beside the store as well.
        """
        return self.data / "replicas"

    @property
    def gateway(self) -> Path:
        """What a gateway keeps beside the store: its catalog, its secret, its processes' logs."""
        return self.data / "gateway"

    @property
    def gateway_runtime(self) -> Path:
        """A gateway's sockets: one folder for each data directory, with a short name."""
        name = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:12]
        return self.runtime / f"gateway-{name}"

    @property
    def calls(self) -> Path:
        """The folder of the call tables, in memory, so that writes to them never wait."""
        return self.gateway_runtime / "calls"

    def token(self, host: str, port: int) -> Path:
        """The file with the management token of the gateway at an address.

        Args:
            host: As its clients on this machine say it; all names of loopback are one.
            port: Its port.
        """
        name = "127.0.0.1" if host in LOOPBACK else host.strip("[]")
        return self.state / "tokens" / f"{name}:{port}"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The builder's store.

    Attributes:
        limit: Bytes that environments and blobs may take before the least recently used ones that
            nothing runs are dropped. 20 GiB: a handful of environments with a deep-learning
            framework each, without filling a laptop unasked.
    """

    limit: int = 20 * 1024**3

    @classmethod
    def from_mapping(cls, env: Mapping[str, str]) -> Self:
        """Reads ``DCF_STORE_LIMIT``, in bytes.

        Raises:
            ConfigError: When it is no positive whole number.
        """
        text = env.get("DCF_STORE_LIMIT")
        return cls(limit=_number("DCF_STORE_LIMIT", text, int)) if text else cls()


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """One build, on this machine or on a gateway.

    Attributes:
        timeout: Seconds that the installer may work for one build, including packages that it
            builds and interpreters that it fetches, but not waiting for another build. 1800: enough
            to compile a C++ package on a slow machine. 0 sets no limit.
    """

    timeout: float = 1800.0

    @classmethod
    def from_mapping(cls, env: Mapping[str, str]) -> Self:
        """Read ``DCF_BUILD_TIMEOUT``, in seconds.

        Raises:
            ConfigError: If it is not a number, or is negative.
        """
        return cls(**_read(cls, env, RESERVED_PREFIX + "BUILD_"))


@dataclass(frozen=True, slots=True)
class WatcherSettings:
    """One watcher: what it serves, where it listens, what it allows.

    A watcher is started with these as environment variables: the field ``max_body`` is
    ``DCF_MAX_BODY``.

    Attributes:
        function: The function's name, which the handler sees in ``req.info``.
        root: The function's folder.
        origin: Where its author keeps that folder, to be named in tracebacks; "" names ``root``.
        handler_dir: Import root and working directory, relative to ``root``.
        handler_file: File in ``handler_dir``.
        handler_name: Class or function in that file.
        listen: ``unix:PATH``, ``tcp:HOST:PORT`` (port 0 takes a free one) or ``fd:N`` for a
            listening socket handed down by the parent.
        concurrency: Calls at a time; 0 lets the handler's kind decide: 1 for a plain handler,
            because TensorFlow sessions, SQLite and most models want one thread, and 1,000 for an
            async one, which waits more than it computes.
        queue: Calls that may wait for a slot. 128: a burst is held, while a caller behind more than
            that is better told so at once.
        timeout: Seconds from a call's arrival to its deadline. 300, the original's limit.
        idle_timeout: Seconds in which no message of a stream comes or goes, and none is worked on,
            after which the stream is ended. 300, as ``timeout``.
        grace: Seconds that a handler may go on after its deadline before the process is ended. 5:
            time for a handler that looks at ``req.cancelled`` between two steps.
        start_timeout: Seconds that import and constructor of the handler may take. 300: a large
            model comes from a slow disk.
        drain: Seconds that calls in flight may take after SIGTERM. 30, the usual grace period of
            orchestrators (Kubernetes: ``terminationGracePeriodSeconds``).
        max_body: Bytes of a request's body. 1 GiB: a long video, not the machine's memory.
        waiting_bodies: Bytes of bodies that may be in memory before their handlers begin. 256 MiB:
            further uploads wait at the client. A single body may be larger.
        body_rate: Minimum average rate of a body in bytes a second; 0 sets no limit. 1024: slower
            than any modem.
        body_grace: Seconds for which a body may pause before ``body_rate`` counts. 10: long enough
            for a network to recover.
        max_message: Bytes of one message of a stream. 64 MiB: any picture; a message is held
            whole, so that much memory is what one client can take.
        hosts: Names that the ``Host`` of a request may have besides ``localhost`` and IP addresses,
            separated by commas. ``*``, the default, allows all: a gateway checks it itself.
        ping: Seconds between two pings on a WebSocket, and in which its client must have answered
            the one before. 20: less than the minute after which routers forget a quiet connection.
        preflight: Whether the handler answers CORS preflights. Otherwise the watcher refuses them.
        log_level: Least level of the watcher's own lines in the log.
        request_ids: Whether replies carry their call's id. A gateway's Envoy writes it in any case,
            and has less work with a reply that does not.
        log_failure: Whether a start that failed is told in the log as well, for a parent that keeps
            logs and shows nobody the report.
        call_table: File for the calls of this replica, in a folder that the function's replicas
            share (``dcf.protocol.call_table``). A gateway sets it, and retries calls that have not
            begun; with "" no call moves.
        replay: Largest body, in bytes, with which the gateway can retry a call.
        lifeline: Whether the end of standard input means that the parent is gone and the watcher
            must end as well.
        memory_limit: Bytes of data that the process may have (RLIMIT_DATA); 0 sets no limit.
        cgroups: Folders of the control groups to join, one a line.
        cpus: Numbers of the cores to run on, with commas between them; "" takes all.
        gpu_locks: Files to lock for as long as the process lives, one a line: those of the GPUs
            that it has to itself.
        late_variables: The author's variables that lead Python or the dynamic loader to code, such
            as PYTHONPATH and LD_PRELOAD, as a JSON object. The watcher sets them after the limits
            hold.
    """

    function: str = "function"
    root: str = "."
    origin: str = ""
    handler_dir: str = "./src"
    handler_file: str = "handler.py"
    handler_name: str = "Handler"
    listen: str = "tcp:127.0.0.1:0"
    concurrency: int = 0
    queue: int = 128
    timeout: float = 300.0
    idle_timeout: float = 300.0
    grace: float = 5.0
    start_timeout: float = 300.0
    drain: float = 30.0
    max_body: int = 1024**3
    waiting_bodies: int = 256 * 1024**2
    body_rate: int = 1024
    body_grace: float = 10.0
    max_message: int = 64 * 1024**2
    hosts: str = "*"
    ping: float = 20.0
    preflight: bool = False
    log_level: str = "INFO"
    request_ids: bool = True
    log_failure: bool = False
    call_table: str = ""
    replay: int = 1024**2
    lifeline: bool = False
    memory_limit: int = 0
    cgroups: str = ""
    cpus: str = ""
    gpu_locks: str = ""
    late_variables: str = ""

    @classmethod
    def from_mapping(cls, env: Mapping[str, str]) -> Self:
        """Reads the ``DCF_`` variables that are set.

        Raises:
            ConfigError: When a value does not fit its field.
        """
        return cls(**_read(cls, env, RESERVED_PREFIX))

    def to_mapping(self) -> dict[str, str]:
        """What :meth:`from_mapping` reads back to an equal value."""
        return _mapping(self, RESERVED_PREFIX)


@dataclass(frozen=True, slots=True)
class DataplaneSettings:
    """The gateway's public port and what Envoy allows there.

    The field ``log_level`` is the environment variable ``ENVOY_LOG_LEVEL`` behind the prefix.

    Attributes:
        host: Address to listen on. Loopback: reaching further is a decision.
        port: Port to listen on; the original's.
        certificate: PEM file of the certificate chain; "" speaks without TLS.
        key: PEM file of its private key.
        threads: Envoy's worker threads; 0 takes half of the cores, at most four, because the
            replicas need the others and each thread keeps connections of its own to each of them.
        connections: Clients connected at a time. 10,000: some 100 KB each at the worst, 1 GB.
        buffer: Bytes buffered for a connection, or an HTTP/2 stream, in each direction before the
            other side must wait. 256 KiB: as fast as 1 MiB, at a quarter of the memory.
        memory: Bytes that Envoy may allocate; 0 takes a quarter of the machine's memory, at least
            256 MiB, at most 1 GiB. Near the limit Envoy resets the streams that hold most and
            refuses calls and connections, which is better than being killed with all calls.
        streams: Concurrent streams of an HTTP/2 connection. Each has ``buffer`` twice, and up to
            16 MiB of a gRPC message. 100: what browsers and gRPC clients expect.
        message_timeout: Seconds until the message of a gRPC call of Invoke must have arrived; Envoy
            buffers it whole. 120: 16 MiB, the largest message, at 1.1 Mbit/s.
        unread: Seconds that a client may leave sent data unread. 300: as long as a stream may be
            idle in a replica.
        headers: KiB of a request's headers; more is answered with 431. 64: a cookie jar, no body.
        headers_timeout: Seconds until a request's headers are there. 10: no honest client dawdles.
        idle_connection: Seconds that a client's connection stays open without a call. 300.
        idle_stream: Seconds without a byte either way after which a request is ended that waits
            for a replica, or is none of a function. A day: longer than any deadline, so that who
            answers, and keeps the deadlines, always comes first.
        management: Seconds for the answer to a management request other than a deploy, an upload or
            a log. 60: listing a thousand functions takes 0.1 s, and a client should learn that its
            gateway hangs.
        open: Whether calls need no key: on loopback. Otherwise Envoy lets nothing but the health
            check through without one.
        cors: Origins that browsers may call from, with commas between them; ``*`` is all, "" none.
        allowed_hosts: Names that the ``Host`` of a request may have besides ``localhost`` and IP
            addresses, separated by commas; ``*``, the default, allows all. ``gateway start`` always
            sets it. Checked only if calls need no key: a web page could then call by its own name
            (DNS rebinding).
        access_log: Whether each call is a line of JSON on standard output.
        log_level: Least level of Envoy's own lines on standard error.
    """

    host: str = "127.0.0.1"
    port: int = 32222
    certificate: str = ""
    key: str = ""
    threads: int = 0
    connections: int = 10_000
    buffer: int = 256 * 1024
    memory: int = 0
    streams: int = 100
    message_timeout: float = 120.0
    unread: float = 300.0
    headers: int = 64
    headers_timeout: float = 10.0
    idle_connection: float = 300.0
    idle_stream: float = 86_400.0
    management: float = 60.0
    open: bool = True
    cors: str = ""
    allowed_hosts: str = "*"
    access_log: bool = True
    log_level: str = "warning"

    @classmethod
    def from_mapping(cls, env: Mapping[str, str]) -> Self:
        """Reads the variables that are set.

        Raises:
            ConfigError: When a value does not fit its field.
        """
        return cls(**_read(cls, env, RESERVED_PREFIX + "ENVOY_"))


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """The gateway's control plane.

    The field ``builds`` is the environment variable ``CONTROL_BUILDS`` behind the prefix.

    Attributes:
        host: Address that the gateway listens on.
        port: Its port.
        tls: Whether its clients speak TLS.
        open: Whether calls and lists need no key: on loopback.
        cors: Origins that browsers may call from, with commas between them; ``*`` is all, "" none.
        start_timeout: Seconds that a replica's constructor may take.
        upload_limit: Bytes that one function's files may have in all. 50 GiB: a large model.
        upload_files: Files that one function may have. 100,000: more is a data set.
        request_limit: Bytes of a request that is no blob and no call. 32 MiB: the list of 100,000
            files.
        builds: Builds at a time. 2: they wait for networks and disks more than they compute.
        revisions: Of each function, how many of the newest revisions the store keeps.
        held: Calls of one function that may wait for a replica to start. 1024: a burst on a
            function that is at rest; more than that no first replica catches up with.
        held_in_all: Calls that may wait in all. 4096: in Envoy each is three connections.
        health_interval: Seconds between two questions to a ready replica whether it answers, and
            for its answer; after two without one, calls go to the others.
        health_silence: Seconds without an answer after which a replica whose process is stopped
            (SIGSTOP) is ended. 30: a machine that swaps may pause for some seconds. Any other
            replica is ended after its function's timeout plus grace, because a handler may hold the
            interpreter's lock for that long. If timeout plus grace is less, it applies to both.
        log_level: Least level of its own lines in the log.
    """

    host: str = "127.0.0.1"
    port: int = 32222
    tls: bool = False
    open: bool = True
    cors: str = ""
    start_timeout: float = 300.0
    upload_limit: int = 50 * 1024**3
    upload_files: int = 100_000
    request_limit: int = 32 * 1024**2
    builds: int = 2
    revisions: int = 10
    held: int = 1024
    held_in_all: int = 4096
    health_interval: float = 2.0
    health_silence: float = 30.0
    log_level: str = "INFO"

    @classmethod
    def from_mapping(cls, env: Mapping[str, str]) -> Self:
        """Reads the variables that are set.

        Raises:
            ConfigError: When a value does not fit its field.
        """
        return cls(**_read(cls, env, RESERVED_PREFIX + "CONTROL_"))

    def to_mapping(self) -> dict[str, str]:
        """What :meth:`from_mapping` reads back to an equal value."""
        return _mapping(self, RESERVED_PREFIX + "CONTROL_")


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """The gateway's process for gRPC's streams.

    The field ``drain`` is the environment variable ``BRIDGE_DRAIN`` behind the prefix.

    Attributes:
        listen: Path of the Unix socket that it listens on.
        gateway: Path of the one where functions are called without a key.
        max_message: Bytes that a message may have, either way. 16 MiB, as in a call of Invoke.
        idle: Seconds for a stream to name its first function, and for its client to read the end of
            a finished stream. 300: as long as a stream may be idle in a replica, which ends all
            other idle streams.
        drain: Seconds that streams under way may take after SIGTERM. 25: less than the supervisor
            waits, so that the last of them still get a status.
        log_level: Least level of its own lines in the log.
    """

    listen: str = "bridge.sock"
    gateway: str = "calls.sock"
    max_message: int = 16 * 1024**2
    idle: float = 300.0
    drain: float = 25.0
    log_level: str = "INFO"

    @classmethod
    def from_mapping(cls, env: Mapping[str, str]) -> Self:
        """Reads the variables that are set.

        Raises:
            ConfigError: When a value does not fit its field.
        """
        return cls(**_read(cls, env, RESERVED_PREFIX + "BRIDGE_"))

    def to_mapping(self) -> dict[str, str]:
        """What :meth:`from_mapping` reads back to an equal value."""
        return _mapping(self, RESERVED_PREFIX + "BRIDGE_")


def _mapping(settings: Any, prefix: str) -> dict[str, str]:
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return {
        prefix + name.upper(): str(int(value) if isinstance(value, bool) else value)
        for name, value in values.items()
    }


def _read(settings: type, env: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """The fields of ``settings`` that ``env`` has, each as its field's type."""
    kinds = get_type_hints(settings)
    found: dict[str, Any] = {}
    for field in fields(settings):
        variable = prefix + field.name.upper()
        text = env.get(variable)
        if text is None:
            continue
        kind = kinds[field.name]
        if kind is bool:
            found[field.name] = text == "1"
        elif kind is str:
            found[field.name] = text
        else:
            found[field.name] = _number(variable, text, kind)
    return found


def _number(variable: str, text: str, kind: type[Number]) -> Number:
    try:
        value = kind(text)
    except ValueError:
        value = kind(-1)
    if not 0 <= value < math.inf:
        message = f"expected a finite number that is not negative, got {text!r:.80}"
        raise ConfigError(Path(variable), [Problem(0, 0, message)])
    return value
