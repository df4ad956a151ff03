"""``dcf-cli function serve``."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Generator
from pathlib import Path

import click
from watchfiles import DefaultFilter, watch

from dcf.builder.builder import Built
from dcf.builder.ignore import LOCK_NAME
from dcf.cli import host_options, options
from dcf.cli.console import Console
from dcf.cli.context import CommandContext
from dcf.engines.local.local_replica import LocalReplica
from dcf.errors import AddressInUse, DcfError, ReplicaExited
from dcf.gateway.host_names import own_names
from dcf.project.locate import Located
from dcf.protocol.http import FUNCTION_PREFIX
from dcf.settings import WatcherSettings
from dcf.supervision.policy import RestartPolicy, Run, delay_after, remembered

TICK = 0.2
"""Seconds between two looks at the replicas."""

RESTARTS = RestartPolicy(limit=5)
"""For a replica that ends by itself. At most five: calls wait meanwhile, and whoever sits before
the terminal is better told."""

BACKLOG = 2048
"""Connections that may wait while no replica is ready."""


@click.command()
@options.name
@options.config
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port on 127.0.0.1; 0 takes a free one.",
)
@host_options.allow_host
@click.option("--reload", is_flag=True, help="Start again whenever a file changes.")
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
    workshop = CommandContext(console, os.environ)
    located = workshop.find(name, config)
    with contextlib.ExitStack() as stack:
        changes = stack.enter_context(contextlib.closing(_changes(located.folder, reload=reload)))
        next(changes)  # looks from here on, before the build reads the files: none is missed
        built = workshop.build(located, offline=offline)
        devices = stack.enter_context(workshop.gpus(located.spec, required=require_gpu))
        listener = stack.enter_context(contextlib.closing(_listen(port)))
        names = ",".join([*own_names(), *allow_host])
        settings = WatcherSettings(lifeline=True, start_timeout=start_timeout, hosts=names)
        server = _Serving(workshop, console, settings, dict(devices), listener)
        stack.callback(server.stop)
        server.replace_by(located, built)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        console.print(
            f"Serving {located.spec.name} at {address}{FUNCTION_PREFIX}{located.spec.name}"
        )
        for changed in changes:
            server.look_after()
            if changed:
                console.print(f"Changed: {', '.join(changed)}")
                server.try_to_reload(name, config, offline=offline)


class _Serving:
    """The replica that answers, and those before it that still finish their calls."""

    def __init__(
        self,
        workshop: CommandContext,
        console: Console,
        settings: WatcherSettings,
        devices: dict[str, str],
        listener: socket.socket,
    ) -> None:
        self._workshop = workshop
        self._console = console
        self._settings = settings
        self._devices = devices
        self._listener = listener
        self._current: tuple[LocalReplica, contextlib.ExitStack] | None = None
        self._draining: list[tuple[LocalReplica, contextlib.ExitStack, float]] = []
        self._served: tuple[Located, Built] | None = None
        self._started = 0.0
        self._runs: deque[Run] = deque(maxlen=remembered(RESTARTS))

    def replace_by(self, located: Located, built: Built) -> None:
        """Starts what was built; once it is ready, the replica before it drains.

        Raises:
            DcfError: When it cannot be started; the replica before it goes on.
        """
        with contextlib.ExitStack() as stack:
            staged = stack.enter_context(self._workshop.stage(located, built))
            listener = self._listener.fileno()
            replica = self._workshop.start(staged, self._settings, self._devices, listener)
            stack.callback(replica.stop, self._settings.grace)
            replica.wait_ready()
            kept = stack.pop_all()
        if self._current is not None:
            before, its_stack = self._current
            before.drain()
            until = time.monotonic() + self._settings.drain
            self._draining.append((before, its_stack, until))
        self._current = (replica, kept)
        self._started = time.monotonic()
        self._served = (located, built)

    def try_to_reload(self, name: str | None, config: Path | None, *, offline: bool) -> None:
        """Replaces the replica by what the folder holds now, if that works."""
        begin = time.monotonic()
        try:
            located = self._workshop.find(name, config)
            self.replace_by(located, self._workshop.build(located, offline=offline))
        except DcfError as error:
            self._console.error(error)
            self._console.print("The previous version keeps serving.")
        else:
            self._console.print(f"Reloaded in {time.monotonic() - begin:.1f} s")

    def look_after(self) -> None:
        """Tidies replicas that have drained, and replaces one that ended by itself.

        Raises:
            DcfError: When it cannot be started again, or ends again and again.
        """
        for entry in tuple(self._draining):
            replica, stack, until = entry
            if replica.poll() is not None or time.monotonic() >= until:
                self._draining.remove(entry)
                stack.close()
        if self._current is None or self._served is None:
            return
        replica, stack = self._current
        ended = replica.poll()
        if ended is not None:
            self._current = None
            stack.close()
            self._runs.append(Run(self._started, time.monotonic()))
            delay = delay_after(self._runs, RESTARTS)
            if delay is None:
                times = remembered(RESTARTS)
                raise ReplicaExited(f"the replica ended {times} times in a row, last by {ended}")
            self._console.print(f"The replica ended ({ended}); starting another")
            time.sleep(delay)
            self.replace_by(*self._served)

    def stop(self) -> None:
        """Ends all replicas."""
        stacks = [stack for _, stack, _ in self._draining]
        if self._current is not None:
            stacks.append(self._current[1])
        with contextlib.ExitStack() as together:
            for stack in stacks:
                together.push(stack)


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        message = f"port {port} of 127.0.0.1 cannot be had: {reason}"
        raise AddressInUse(message) from error


def _changes(folder: Path, *, reload: bool) -> Generator[list[str], None, None]:
    """Names of changed files, and an empty list at every tick without.

    Looks for them from the first item on.
    """
    if not reload:
        while True:
            yield []
            time.sleep(TICK)
    filter_ = DefaultFilter(ignore_entity_patterns=[*DefaultFilter.ignore_entity_patterns,
                                                    f"^{LOCK_NAME}$"])  # fmt: skip
    tick = int(TICK * 1000)
    for found in watch(
        folder,
        watch_filter=filter_,
        debounce=200,
        step=50,
        rust_timeout=tick,
        yield_on_timeout=True,
        raise_interrupt=True,
    ):
        yield sorted({os.path.relpath(path, folder) for _, path in found})
