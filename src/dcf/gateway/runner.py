"""Run a gateway's supervisor: start it, restart it if it dies, and stop it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

from dcf.errors import (
    GatewayError,
    GatewayRunning,
    ObserverTooSlow,
    SupervisorError,
    SupervisorUnreachable,
)
from dcf.gateway.address_file import GatewayAddress
from dcf.gateway.plan import Plan
from dcf.gateway.probe import healthy
from dcf.gateway.processes import CONTROL, supervisor_command, supervisor_socket
from dcf.supervision.__main__ import SupervisorExit
from dcf.supervision.exit_text import Exit
from dcf.supervision.liveness import Probe, answered, until_silent
from dcf.supervision.policy import RestartPolicy, Run, delay_after, remembered
from dcf.supervision.process_messages import List
from dcf.supervision.protocol import request_line
from dcf.supervision.supervisor_client import SupervisorClient

START_TIMEOUT = 30.0
"""Maximum seconds until the gateway answers. A cold disk must read Envoy's 100 MB first."""

GRACE = 30.0
"""Seconds for calls in progress when the gateway stops: the usual grace period of orchestrators."""

AT_ONCE = 5.0
"""Seconds for a supervisor to end after a second signal."""

STAGES = 4
"""Stages in which a gateway's processes stop: control plane, replicas, bridge, Envoy."""

CRASHES = 3
"""Runs of a process during the start after which the start fails with the process's log."""

POLL = 0.01
"""Seconds between two checks during the start."""

RESTARTS = RestartPolicy(first=0.05, ceiling=5.0)
"""Restarts of a supervisor that was killed."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that stop the gateway: gracefully at first, immediately when repeated."""


class GatewayRunner:
    """Runs a gateway until a signal."""

    def __init__(
        self,
        plan: Plan,
        address: GatewayAddress,
        notify: Callable[[str], None],
        ready: Callable[[], bool],
    ) -> None:
        """Create a runner.

        Args:
            plan: What to start. Its configuration has been written.
            address: Where the gateway will answer.
            notify: Called with each line for the user.
            ready: Called when the gateway answers for the first time; returns whether ``notify``
                should get the control plane's log from then on.
        """
        self._plan = plan
        self._address = address
        self._notify = notify
        self._on_ready = ready
        self._client = SupervisorClient(supervisor_socket(plan.places))
        self._supervisor: asyncio.subprocess.Process | None = None
        self._asked = asyncio.Event()
        self._asked_by: signal.Signals | None = None
        self._ready = False
        self._follows_log = False
        self._last_lines: deque[str] = deque(maxlen=5)
        self._began = time.time()

    async def run(self) -> int:
        """Start the gateway, and run it until a signal.

        Returns:
            The exit code: 0, or 128 plus the signal's number if the gateway was not ready before.

        Raises:
            GatewayError: If it cannot be started, or its supervisor ends repeatedly.
        """
        with self._handling_signals():
            runs: deque[Run] = deque(maxlen=remembered(RESTARTS))
            until = time.monotonic() + START_TIMEOUT
            while self._asked_by is None:
                began = time.monotonic()
                exit_ = await self._run_once()
                if self._asked_by is not None:
                    break
                runs.append(Run(began, time.monotonic()))
                delay = self._delay_after(runs, exit_, until)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._asked.wait(), delay)
        return 0 if self._ready or self._asked_by is None else 128 + self._asked_by

    def _delay_after(self, runs: deque[Run], exit_: Exit, until: float) -> float:
        """Return the seconds until the next supervisor is started.

        Raises:
            GatewayError: If no further one should be started.
        """
        if exit_.code == SupervisorExit.TAKEN and time.monotonic() < until:
            if len(runs) == 1:
                self._notify("The previous gateway is still stopping; waiting for it")
            return RESTARTS.first
        if exit_.code == SupervisorExit.TAKEN:
            data = self._plan.places.data
            raise GatewayRunning(f"processes of a previous gateway still use {data}")
        delay = delay_after(runs, RESTARTS)
        if not self._ready or delay is None:
            lines = "\n".join(self._last_lines)
            raise GatewayError(f"the gateway's supervisor ended: {exit_}\n{lines}".rstrip())
        self._notify(f"The supervisor ended ({exit_}); restarting it")
        return delay

    @contextlib.contextmanager
    def _handling_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._ask, number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    def _ask(self, number: signal.Signals) -> None:
        patience = AT_ONCE
        if self._asked_by is None:
            self._asked_by = number
            self._asked.set()
            self._notify("Stopping the gateway; repeat to stop it immediately")
            patience = STAGES * GRACE
        self._stop_supervisor()
        # A supervisor that cannot end is killed. Its processes end without it.
        loop = asyncio.get_running_loop()
        loop.call_later(patience, self._stop_supervisor, signal.SIGKILL)

    def _stop_supervisor(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Signal the supervisor. A second SIGTERM stops it immediately."""
        if self._supervisor is not None and self._supervisor.returncode is None:
            # Process.terminate may reap it before asyncio does, which would lose the exit code.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._supervisor.pid, number)

    async def _run_once(self) -> Exit:
        """Run one supervisor from its start to its end."""
        async with self._started() as supervisor:
            ended = asyncio.create_task(supervisor.wait())
            serving = asyncio.create_task(self._serve())
            watching = asyncio.create_task(self._stop_if_silent())
            try:
                await asyncio.wait({ended, serving}, return_when=asyncio.FIRST_COMPLETED)
                if serving.done():
                    serving.result()
                return Exit(await ended)
            finally:
                for task in (serving, ended, watching):
                    task.cancel()
                await asyncio.gather(serving, ended, watching, return_exceptions=True)

    async def _stop_if_silent(self) -> None:
        """Kill a supervisor that does not respond; a new one replaces it."""
        probe = Probe(str(self._client.path), request_line(List()).decode())
        reason = await until_silent(lambda: answered(probe), probe.rule)
        if self._asked_by is None:
            self._notify(f"The supervisor was killed: {reason}")
            self._stop_supervisor(signal.SIGKILL)

    @contextlib.asynccontextmanager
    async def _started(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start a supervisor. It has ended when the context is left."""
        supervisor = await asyncio.create_subprocess_exec(
            *supervisor_command(self._plan.places, GRACE),
            env=dict(self._plan.env),
            cwd=self._plan.places.gateway,
            # It stops gracefully at the end of this pipe, when this process is gone.
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C at the terminal must reach only this process.
            start_new_session=True,
        )
        self._supervisor = supervisor
        if self._asked_by is not None:
            self._stop_supervisor()
        assert supervisor.stderr is not None  # noqa: S101  asked for above
        reading = asyncio.create_task(self._read(supervisor.stderr))
        try:
            yield supervisor
        finally:
            self._stop_supervisor()
            try:
                async with asyncio.timeout(STAGES * GRACE):
                    await supervisor.wait()
            except TimeoutError:
                self._stop_supervisor(signal.SIGKILL)
            await supervisor.wait()
            await reading

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            text = line.decode(errors="replace").rstrip()
            self._last_lines.append(text)
            self._notify(text)

    async def _serve(self) -> None:
        """Start the processes, and forward the control plane's log.

        Raises:
            GatewayError: If the gateway does not answer in time, or cannot.
        """
        began = time.time()
        try:
            await self._start_processes()
            if self._ready:
                self._notify(f"{self._address.url} answers again")
            else:
                self._ready = True
                self._follows_log = self._on_ready()
            if self._follows_log:
                await self._follow(began)
        except SupervisorError as error:
            if self._asked_by is not None:
                return  # the supervisor is stopping, as requested
            if not self._ready:
                raise GatewayError(str(error)) from error
            self._notify(str(error))
            self._stop_supervisor()

    async def _start_processes(self) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._connect()
                for process in self._plan.processes:
                    await self._client.start(process)
                while not await healthy(self._address.url):
                    if not self._ready:
                        await self._raise_if_crashing()
                    await asyncio.sleep(POLL)
        except TimeoutError as error:
            if not self._ready:
                message = f"no answer at {self._address.url} within {START_TIMEOUT:g} s"
                raise GatewayError(message) from error

    async def _connect(self) -> None:
        while True:
            with contextlib.suppress(SupervisorUnreachable):
                await self._client.list()
                return
            await asyncio.sleep(POLL)

    async def _raise_if_crashing(self) -> None:
        for status in await self._client.list():
            if status.exit is None or status.runs < CRASHES:
                continue
            logs = self._client.logs(status.name, since=self._began, tail=10)
            async with contextlib.aclosing(logs) as lines:
                texts = [line.text async for line in lines]
            reason = f"{status.name} ended repeatedly: {status.exit.reason}"
            raise GatewayError("\n".join([reason, *texts]))

    async def _follow(self, since: float) -> None:
        """Forward the control plane's log until the control plane is stopped for good."""
        while True:
            logs = self._client.logs(CONTROL, since=since, follow=True)
            try:
                async with contextlib.aclosing(logs) as lines:
                    async for line in lines:
                        self._notify(line.text)
            except ObserverTooSlow:
                # For example, the terminal was paused. The missed lines are in the log.
                since = time.time()
            else:
                return


def keep(
    plan: Plan, address: GatewayAddress, notify: Callable[[str], None], ready: Callable[[], bool]
) -> int:
    """Run a :class:`GatewayRunner`; arguments, result and errors are those of that class."""

    async def main() -> int:
        return await GatewayRunner(plan, address, notify, ready).run()

    # Block the signals while the event loop is created or closed: an interruption would leave it
    # half done. The runner unblocks them once it handles them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        return asyncio.run(main())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
