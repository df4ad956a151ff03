"""``dcf-cli function serve``."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Generator
from pathlib import Path

import click
from watchfiles import DefaultFilter, watch

from dcf.builder.builder import Built
from dcf.builder.ignore import LOCK_NAME
from dcf.cli import host_options, options
from dcf.cli.console import Console
from dcf.cli.context import CommandContext
from dcf.cli.replica_start import replica_start
from dcf.cli.replicas import CommandReplica
from dcf.errors import AddressInUse, DcfError, ReplicaExited
from dcf.gateway.host_names import own_names
from dcf.project.locate import LocatedFunction
from dcf.protocol.http import FUNCTION_PREFIX
from dcf.settings import WatcherSettings
from dcf.supervision.policy import RestartPolicy, Run, delay_after, remembered

TICK = 0.2
"""Seconds between two checks of the replicas."""

RESTARTS = RestartPolicy(limit=5)
"""For a replica that ends by itself. At most five: calls wait meanwhile, and the user at the
terminal should know soon."""

BACKLOG = 2048
"""Maximum number of connections that wait while no replica is ready."""


@click.command()
@options.name
@options.config
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port on 127.0.0.1; 0 chooses a free port.",
)
@host_options.allow_host
@click.option("--reload", is_flag=True, help="Restart whenever a file changes.")
@options.require_gpu
@options.start_timeout
@options.offline
@options.verbose
@options.gateway
def serve(
    *,
    name: str | None,
    config: Path | None,
    port: int,
    allow_host: list[str],
    reload: bool,
    require_gpu: bool,
    start_timeout: float,
    offline: bool,
    verbose: bool,
    gateway: str | None,  # noqa: ARG001  the original's flag
) -> None:
    """Serve a function on a local port, until Ctrl-C.

    With --reload, a saved change takes effect within a second. If a change fails to load, the
    traceback is printed and the previous version keeps serving.

    \b
    Example:
      dcf-cli function serve hello-dcf --port 8080 --reload
      curl -d Hello http://127.0.0.1:8080/function/hello-dcf
      dcf-cli function serve hello-dcf --allow-host dcf.example.com
    """
    console = Console(verbose=verbose)
    context = CommandContext(console, os.environ)
    located = context.find(name, config)
    with contextlib.ExitStack() as stack:
        changes = stack.enter_context(contextlib.closing(_changes(located.folder, reload=reload)))
        next(changes)  # start watching before the build reads the files, so none is missed
        built = context.build(located, offline=offline)
        listener = stack.enter_context(contextlib.closing(_listen(port)))
        names = ",".join([*own_names(), *allow_host])
        settings = WatcherSettings(start_timeout=start_timeout, hosts=names)
        start = stack.enter_context(
            replica_start(context, settings, require_gpu=require_gpu, listener=listener)
        )
        server = _Server(console, start, settings)
        server.replace_by(located, built)
        stack.callback(server.stop)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        console.print(
            f"Serving {located.spec.name} at {address}{FUNCTION_PREFIX}{located.spec.name}"
        )
        for changed in changes:
            server.check()
            if changed:
                console.print(f"Changed: {', '.join(changed)}")
                begin = time.monotonic()
                try:
                    located = context.find(name, config)
                    server.replace_by(located, context.build(located, offline=offline))
                except DcfError as error:
                    console.error(error)
                    console.print("The previous version keeps serving.")
                else:
                    console.print(f"Reloaded in {time.monotonic() - begin:.1f} s")


class _Server:
    """The current replica, and how it is replaced."""

    def __init__(
        self,
        console: Console,
        start: Callable[[LocatedFunction, Built], CommandReplica],
        settings: WatcherSettings,
    ) -> None:
        self._console = console
        self._start = start
        self._settings = settings
        self._current: CommandReplica | None = None
        self._served: tuple[LocatedFunction, Built] | None = None
        self._started = 0.0
        self._runs: deque[Run] = deque(maxlen=remembered(RESTARTS))

    def replace_by(self, located: LocatedFunction, built: Built) -> None:
        """Start a replica; once it is ready, drain the previous one.

        Raises:
            DcfError: If it cannot be started. The previous replica keeps serving.
        """
        replica = self._start(located, built)
        try:
            replica.wait_ready()
        except BaseException:
            replica.stop(self._settings.grace)
            raise
        if self._current is not None:
            self._current.drain(self._settings.drain)
        self._current = replica
        self._started = time.monotonic()
        self._served = (located, built)

    def check(self) -> None:
        """Replace the replica if it has ended by itself.

        Raises:
            DcfError: If it cannot be started again, or ends repeatedly.
        """
        exit_ = self._current.poll() if self._current else None
        if exit_ is None or self._current is None or self._served is None:
            return
        self._current.stop(0)
        self._current = None
        self._runs.append(Run(self._started, time.monotonic()))
        delay = delay_after(self._runs, RESTARTS)
        if delay is None:
            times = remembered(RESTARTS)
            raise ReplicaExited(f"the replica ended {times} times in a row, last by {exit_.reason}")
        self._console.print(f"The replica ended ({exit_.reason}); starting another")
        time.sleep(delay)
        self.replace_by(*self._served)

    def stop(self) -> None:
        """End the current replica."""
        if self._current is not None:
            self._current.stop(self._settings.grace)


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        message = f"port {port} of 127.0.0.1 cannot be used: {reason}"
        raise AddressInUse(message) from error


def _changes(folder: Path, *, reload: bool) -> Generator[list[str], None, None]:
    """Yield the names of changed files; an empty list at every tick without a change.

    Changes are noticed from the first item on.
    """
    if not reload:
        while True:
            yield []
            time.sleep(TICK)
    filter_ = DefaultFilter(ignore_entity_patterns=[*DefaultFilter.ignore_entity_patterns,
                                                    f"^{LOCK_NAME}$"])  # fmt: skip
    tick = int(TICK * 1000)
    for changes in watch(
        folder,
        watch_filter=filter_,
        debounce=200,
        step=50,
        rust_timeout=tick,
        yield_on_timeout=True,
        raise_interrupt=True,
    ):
        yield sorted({os.path.relpath(path, folder) for _, path in changes})
