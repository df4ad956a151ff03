"""The parent of a gateway's supervisor: starts it, starts it again when it is killed, ends it."""

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
"""Seconds until the gateway answers; a cold disk reads Envoy's 100 MB first."""

GRACE = 30.0
"""Seconds for calls under way when the gateway ends: the usual grace period of orchestrators."""

AT_ONCE = 5.0
"""Seconds for a supervisor to end when everything is to end at once."""

STAGES = 4
"""Stages in which a gateway's processes end: control plane, replicas, bridge, Envoy."""

CRASHES = 3
"""Runs that a process may need at the start; more, and the reason is told instead."""

POLL = 0.01
"""Seconds between two looks at what starts."""

RESTARTS = RestartPolicy(first=0.05, ceiling=5.0)
"""For a supervisor that was killed."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks for the end: in order at first, at once when it comes again."""


class GatewayRunner:
    """Keeps one gateway running until a signal comes."""

    def __init__(
        self,
        plan: Plan,
        address: GatewayAddress,
        tell: Callable[[str], None],
        ready: Callable[[], bool],
    ) -> None:
        """Starts nothing yet.

        Args:
            plan: What to start; its configuration is written.
            address: Where it will answer.
            tell: Hears what happens, a line at a time.
            ready: Called when the gateway answers for the first time; returns whether ``tell`` is
                to hear the control plane's log from then on.
        """
        self._plan = plan
        self._address = address
        self._tell = tell
        self._on_ready = ready
        self._client = SupervisorClient(supervisor_socket(plan.places))
        self._supervisor: asyncio.subprocess.Process | None = None
        self._asked = asyncio.Event()
        self._asked_by: signal.Signals | None = None
        self._ready = False
        self._follows = False
        self._last_lines: deque[str] = deque(maxlen=5)
        self._began = time.time()

    async def run(self) -> int:
        """Starts the gateway and keeps it until it is asked to end.

        Returns:
            The exit code: 0, or 128 and the signal's number when it had not been ready.

        Raises:
            GatewayError: When it cannot be started, or its supervisor ends again and again.
        """
        with self._hearing_signals():
            lives: deque[Run] = deque(maxlen=remembered(RESTARTS))
            until = time.monotonic() + START_TIMEOUT
            while self._asked_by is None:
                began = time.monotonic()
                exit_ = await self._life()
                if self._asked_by is not None:
                    break
                lives.append(Run(began, time.monotonic()))
                delay = self._delay_after(lives, exit_, until)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._asked.wait(), delay)
        return 0 if self._ready or self._asked_by is None else 128 + self._asked_by

    def _delay_after(self, lives: deque[Run], exit_: Exit, until: float) -> float:
        """Seconds until the next supervisor is started.

        Raises:
            GatewayError: When none is.
        """
        if exit_.code == SupervisorExit.TAKEN and time.monotonic() < until:
            if len(lives) == 1:
                self._tell("The gateway before still ends; waiting for it")
            return RESTARTS.first
        if exit_.code == SupervisorExit.TAKEN:
            data = self._plan.places.data
            raise GatewayRunning(f"the processes of a gateway before still have {data}")
        delay = delay_after(lives, RESTARTS)
        if not self._ready or delay is None:
            lines = "\n".join(self._last_lines)
            raise GatewayError(f"the gateway's supervisor ended: {exit_}\n{lines}".rstrip())
        self._tell(f"The supervisor ended ({exit_}); starting another")
        return delay

    @contextlib.contextmanager
    def _hearing_signals(self) -> Iterator[None]:
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
            self._tell("Ending the gateway; once more ends it at once")
            patience = STAGES * GRACE
        self._end_supervisor()
        # One that cannot end is killed; what it started ends without it.
        loop = asyncio.get_running_loop()
        loop.call_later(patience, self._end_supervisor, signal.SIGKILL)

    def _end_supervisor(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Asks for the end: in order at first, at once when asked again."""
        if self._supervisor is not None and self._supervisor.returncode is None:
            # Its own `terminate` may reap it before asyncio does, and the exit code is lost then.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._supervisor.pid, number)

    async def _life(self) -> Exit:
        """One supervisor, from its start to its end."""
        async with self._started() as supervisor:
            ended = asyncio.create_task(supervisor.wait())
            serving = asyncio.create_task(self._serve())
            watching = asyncio.create_task(self._end_if_silent())
            try:
                await asyncio.wait({ended, serving}, return_when=asyncio.FIRST_COMPLETED)
                if serving.done():
                    serving.result()
                return Exit(await ended)
            finally:
                for task in (serving, ended, watching):
                    task.cancel()
                await asyncio.gather(serving, ended, watching, return_exceptions=True)

    async def _end_if_silent(self) -> None:
        """Kill a supervisor that does not respond; a new one replaces it."""
        probe = Probe(str(self._client.path), request_line(List()).decode())
        reason = await until_silent(lambda: answered(probe), probe.rule)
        if self._asked_by is None:
            self._tell(f"The supervisor is ended: {reason}")
            self._end_supervisor(signal.SIGKILL)

    @contextlib.asynccontextmanager
    async def _started(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """A supervisor, which has ended when the context is left."""
        supervisor = await asyncio.create_subprocess_exec(
            *supervisor_command(self._plan.places, GRACE),
            env=dict(self._plan.env),
            cwd=self._plan.places.gateway,
            # Its lifeline: it ends in order when this process is gone.
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C at the terminal is for this process alone.
            start_new_session=True,
        )
        self._supervisor = supervisor
        if self._asked_by is not None:
            self._end_supervisor()
        assert supervisor.stderr is not None  # noqa: S101  asked for above
        hearing = asyncio.create_task(self._hear(supervisor.stderr))
        try:
            yield supervisor
        finally:
            self._end_supervisor()
            try:
                async with asyncio.timeout(STAGES * GRACE):
                    await supervisor.wait()
            except TimeoutError:
                self._end_supervisor(signal.SIGKILL)
            await supervisor.wait()
            await hearing

    async def _hear(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            text = line.decode(errors="replace").rstrip()
            self._last_lines.append(text)
            self._tell(text)

    async def _serve(self) -> None:
        """Has the processes started, and passes the control plane's log on.

        Raises:
            GatewayError: When the gateway does not answer in time, or cannot.
        """
        began = time.time()
        try:
            await self._start_processes()
            if self._ready:
                self._tell(f"{self._address.url} answers again")
            else:
                self._ready = True
                self._follows = self._on_ready()
            if self._follows:
                await self._follow(began)
        except SupervisorError as error:
            if self._asked_by is not None:
                return  # its supervisor ends, as it was asked to
            if not self._ready:
                raise GatewayError(str(error)) from error
            self._tell(str(error))
            self._end_supervisor()

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
                message = f"nothing answers at {self._address.url} within {START_TIMEOUT:g} s"
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
                said = [line.text async for line in lines]
            reason = f"{status.name} ended again and again: {status.exit.reason}"
            raise GatewayError("\n".join([reason, *said]))

    async def _follow(self, since: float) -> None:
        """Passes the control plane's log on until it is stopped for good."""
        while True:
            logs = self._client.logs(CONTROL, since=since, follow=True)
            try:
                async with contextlib.aclosing(logs) as lines:
                    async for line in lines:
                        self._tell(line.text)
            except ObserverTooSlow:
                # A terminal that was stopped, say: what it missed is in the log.
                since = time.time()
            else:
                return


def keep(
    plan: Plan, address: GatewayAddress, tell: Callable[[str], None], ready: Callable[[], bool]
) -> int:
    """Runs a :class:`GatewayRunner`; parameters, result and errors are its own."""

    async def main() -> int:
        return await GatewayRunner(plan, address, tell, ready).run()

    # A signal while the loop is made or taken apart would leave half a loop: it waits until the
    # host hears it, or until this is over.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        return asyncio.run(main())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
