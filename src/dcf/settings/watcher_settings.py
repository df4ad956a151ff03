"""Settings of one watcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Self

from dcf.settings.parsing import (
    RESERVED_PREFIX,
    Bytes,
    Count,
    FilePath,
    Flag,
    Line,
    LogLevel,
    PositiveSeconds,
    Seconds,
    SecondsRule,
    TextRule,
    VariablesRule,
    read_settings,
    write_settings,
)

_CallTimeout = Annotated[float, SecondsRule(above=True)]
"""Without a maximum: config.yaml sets none either."""


@dataclass(frozen=True, slots=True)
class WatcherSettings:
    """One watcher: what it serves, where it listens, what it allows.

    An engine passes these to the watcher as environment variables: the field ``max_body`` is
    ``DCF_MAX_BODY``.

    Attributes:
        function: The function's name, which the handler sees in ``req.info``.
        root: The function's folder.
        origin: The author's own path of that folder, for tracebacks; "" means ``root``.
        handler_dir: Import root and working directory, relative to ``root``.
        handler_file: File in ``handler_dir``.
        handler_name: Class or function in that file.
        listen: ``unix:PATH``, ``tcp:HOST:PORT`` (port 0 takes a free one) or ``fd:N`` for a
            listening socket that the parent process passes on.
        concurrency: Maximum concurrent calls; 0 lets the kind of handler decide: 1 for a plain
            handler, because TensorFlow sessions, SQLite and most models must be used by one thread,
            and 1,000 for an async one, which waits more than it computes.
        queue: Maximum calls that wait for a free slot. 128: enough for a burst. A caller behind
            more than that is better rejected at once.
        timeout: Seconds from a call's arrival to its deadline. 300, the original's limit.
        idle_timeout: Seconds after which a stream is ended if no message arrives or leaves and the
            handler works on none. 300, as ``timeout``.
        grace: Seconds that a handler may run past its deadline before the process is ended. 5:
            enough for a handler that checks ``req.cancelled`` between two steps.
        start_timeout: Seconds that import and constructor of the handler may take. 300: enough to
            load a large model from a slow disk.
        drain: Seconds that calls in progress may take after SIGTERM. 30, the usual grace period of
            orchestrators (Kubernetes: ``terminationGracePeriodSeconds``).
        max_body: Maximum bytes of a request's body. 1 GiB: a long video, not the machine's memory.
        waiting_bodies: Maximum bytes of bodies in memory whose handlers have not begun. 256 MiB:
            further uploads wait at the client. A single body may be larger.
        body_rate: Minimum average rate of a body in bytes a second; 0 sets no limit. 1024: slower
            than any modem.
        body_grace: Seconds for which a body may pause before ``body_rate`` counts. 10: long enough
            for a network to recover.
        max_message: Maximum bytes of one message of a stream. 64 MiB: any picture. A message is
            buffered whole, so a client can take that much memory.
        hosts: Names that the ``Host`` of a request may have besides ``localhost`` and IP addresses,
            separated by commas. ``*``, the default, allows all: a gateway checks it itself.
        ping: Seconds between two pings on a WebSocket. The client must answer each ping before the
            next one. 20: less than the minute after which routers forget a quiet connection.
        preflight: Whether the handler answers CORS preflights. Otherwise the watcher rejects them.
        log_level: Minimum level of the watcher's own log lines.
        request_ids: Whether replies carry their call's id. A gateway's Envoy adds it anyway, and is
            faster with a reply that has none.
        log_failure: Whether a failed start is also logged, for a parent that keeps logs and shows
            the report to no one.
        call_table: File for the calls of this replica, in a folder that the function's replicas
            share (``dcf.protocol.call_table``). A gateway sets it, and retries calls that have not
            begun; with "" no call moves.
        replay: Maximum bytes of a body with which the gateway can retry a call.
        lifeline: Whether the watcher must end when its standard input ends, because the parent
            process is gone.
        memory_limit: Maximum bytes of data of the process (RLIMIT_DATA); 0 sets no limit.
        cgroups: Folders of the control groups to join, one per line.
        cpus: Numbers of the cores to run on, separated by commas; "" takes all.
        gpu_locks: Files to lock while the process runs, one per line: those of the GPUs that it has
            reserved.
        late_variables: The author's variables that make Python or the dynamic loader run code, such
            as PYTHONPATH and LD_PRELOAD, as a JSON object. The watcher sets them once the limits
            are in force.
    """

    function: Line = "function"
    root: FilePath = "."
    origin: FilePath = ""
    handler_dir: FilePath = "./src"
    handler_file: FilePath = "handler.py"
    handler_name: Line = "Handler"
    listen: Annotated[
        str,
        TextRule(
            r"unix:[\s\S]+|tcp:[^\ud800-\udfff]+:[0-9]{1,5}|fd:[0-9]{1,9}",
            "unix:PATH, tcp:HOST:PORT or fd:N",
        ),
    ] = "tcp:127.0.0.1:0"
    concurrency: Count = 0
    queue: Count = 128
    timeout: _CallTimeout = 300.0
    idle_timeout: _CallTimeout = 300.0
    grace: Seconds = 5.0
    start_timeout: PositiveSeconds = 300.0
    drain: Seconds = 30.0
    max_body: Bytes = 1024**3
    waiting_bodies: Bytes = 256 * 1024**2
    body_rate: Bytes = 1024
    body_grace: Seconds = 10.0
    max_message: Bytes = 64 * 1024**2
    hosts: Line = "*"
    ping: PositiveSeconds = 20.0
    preflight: Flag = False
    log_level: LogLevel = "INFO"
    request_ids: Flag = True
    log_failure: Flag = False
    call_table: FilePath = ""
    replay: Bytes = 1024**2
    lifeline: Flag = False
    memory_limit: Bytes = 0
    cgroups: FilePath = ""
    cpus: Annotated[
        str,
        TextRule("([0-9]{1,6}(,[0-9]{1,6})*)?", "numbers of cores with commas, such as 0,1"),
    ] = ""
    gpu_locks: FilePath = ""
    late_variables: Annotated[str, VariablesRule()] = ""

    @classmethod
    def from_mapping(cls, env: Mapping[str, str]) -> Self:
        """Read the variables that are set.

        Raises:
            ConfigError: If a value is not allowed.
        """
        return cls(**read_settings(cls, env, RESERVED_PREFIX))

    def to_mapping(self) -> dict[str, str]:
        """Return the variables that :meth:`from_mapping` reads back to an equal value."""
        return write_settings(self, RESERVED_PREFIX)
