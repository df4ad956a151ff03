"""A client of a gateway: calls functions, lists them, deploys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from dcf.client import deploy_workflow, operations, rollout_workflow
from dcf.client.address import Access
from dcf.client.deploy_workflow import Deployable, DeployOptions, nobody_listens
from dcf.client.payload import Data, Part, check_messages
from dcf.client.response import Response, lines_of
from dcf.client.transport import Transport
from dcf.client.waiting import LOOK, Tell, telling
from dcf.model.event import Event
from dcf.model.status import FunctionStatus, GatewayInfo, ReplicaLine, RevisionStatus
from dcf.protocol.progress import Progress

if TYPE_CHECKING:
    from dcf.client.sync_stream import OnError, Stream

TIMEOUT = 300.0
"""Seconds that a call may take where nothing is said: as long as a function's own limit."""


class Client:
    """One gateway, for any number of threads. Opens nothing before it is used.

    Every method raises GatewayUnreachable when nobody answers, AccessDenied when the token is
    missing or not good for it, AnswerInvalid when what answers is no gateway, DeadlineExceeded when
    nothing comes in time, and otherwise the error that the gateway tells, as its own class.

    ::

        with dcf.Client() as client:
            print(client.call("hello", b"Ada"))
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, *, timeout: float = TIMEOUT
    ) -> None:
        """A client without a connection.

        Args:
            url: ``http://HOST:PORT``, ``https://HOST:PORT``, ``HOST:PORT`` or ``unix:PATH``; None
                takes ``DCF_GATEWAY``, else the gateway of this machine.
            token: Token or key; None takes ``DCF_TOKEN``, else the one that a gateway on this
                machine has left for its user.
            timeout: Seconds that a call or request may take where it says nothing else;
                ``math.inf`` sets no limit.

        Raises:
            GatewayUnreachable: When the address is none.
        """
        self._transport = Transport(Access(url, token), timeout)
        self._timeout = timeout

    @property
    def url(self) -> str:
        """The gateway's address."""
        return self._transport.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections that are idle. The client can still be used."""
        self._transport.close()

    def call(
        self,
        name: str,
        data: Data = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        method: str = "POST",
        path: str = "",
        on_wait: Tell | None = None,
    ) -> bytes:
        """Calls a function and returns its whole reply.

        Args:
            name: The function's name.
            data: What its handler gets. dict and list become JSON; a binary file or an iterator of
                bytes is sent in parts.
            headers: Further headers.
            timeout: Seconds until the deadline, which the function is told.
            method: The HTTP method.
            path: Path and query behind the function's name.
            on_wait: Called from another thread, once, when there is no reply after a second
                because the function is only being started; with how it is.

        Raises:
            FunctionNotFound: When there is none; ``near`` has names that resemble it.
            HandlerRaised: When its handler raised; with the traceback from over there.
            CallError: When the call went wrong in another way, or the reply's status is an error's.
        """
        total = self._timeout if timeout is None else timeout
        operation = operations.call(
            name, data, method=method, path=path, headers=headers, total=total
        )
        with telling(lambda: self._look(name), on_wait):
            return self._transport.do(operation)

    def open(
        self,
        name: str,
        data: Data = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        method: str = "POST",
        path: str = "",
        on_wait: Tell | None = None,
    ) -> Response:
        """Calls a function and returns its reply while it is still coming.

        The answer must be read to its end or closed. Without ``timeout`` there is no deadline but
        the function's own, and the client's time is for each wait for a byte. A status from 400 on
        that the function chose itself is no error here.

        Args and errors as for :meth:`call`.
        """
        operation = operations.call(
            name,
            data,
            method=method,
            path=path,
            headers=headers,
            total=timeout,
            silence=self._timeout,
        )
        with telling(lambda: self._look(name), on_wait):
            return self._transport.open(operation)

    def stream(
        self,
        name: str,
        messages: Iterable[Part],
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        path: str = "",
        on_error: OnError | None = None,
        on_wait: Tell | None = None,
    ) -> Stream:
        """Streams messages to a function, and gives its replies while messages still go out.

        ::

            for boxes in client.stream("detect", frames()):
                print(boxes)

        Both ways are bounded: who does not read the replies soon does not send further messages.
        The iterable runs in a thread of its own. Without ``timeout`` there is no deadline but the
        function's own limits, and the client's time is for each wait for a byte.

        Args:
            name: The function's name.
            messages: What it gets: bytes, str, dict or list, which becomes JSON. What the iterable
                raises ends the stream and is raised to the reader.
            headers: Further headers.
            timeout: Seconds until the whole stream must be over, which the function is told.
            path: Path and query behind the function's name.
            on_error: Is told the error of one message, in the place of whose reply it came; without
                it, ``next`` raises it, and may be asked for the reply after it.
            on_wait: As for :meth:`call`.

        Raises:
            FunctionNotFound: When there is none; ``near`` has names that resemble it.
            HandlerRaised: From ``next``, when its handler raised; with the traceback from there.
            ReplicaLost: From ``next``, when the connection broke.
            CallError: When the stream went wrong in another way.
            TypeError: When ``messages`` are one message.
        """
        check_messages(messages)
        operation = operations.stream(
            name, path=path, headers=headers, total=timeout, silence=self._timeout
        )
        with telling(lambda: self._look(name), on_wait):
            return self._transport.stream(operation, messages, on_error)

    def _look(self, name: str) -> FunctionStatus:
        return self._transport.do(operations.function(name, total=LOOK))

    def functions(self) -> list[FunctionStatus]:
        """All functions, without their replicas."""
        return self._transport.do(operations.functions())

    def function(self, name: str) -> FunctionStatus:
        """One function, with its replicas.

        Raises:
            FunctionNotFound: When there is none; ``near`` has names that resemble it.
        """
        return self._transport.do(operations.function(name))

    def revisions(self, name: str) -> list[RevisionStatus]:
        """The function's revisions. Errors as for :meth:`function`."""
        return self._transport.do(operations.revisions(name))

    def events(self, name: str) -> list[Event]:
        """What happened to the function. Errors as for :meth:`function`."""
        return self._transport.do(operations.events(name))

    def scale(self, name: str, replicas: int | None) -> FunctionStatus:
        """Sets how many replicas are wanted, and returns at once.

        Args:
            name: The function's name.
            replicas: So many, until told otherwise; None has it scale by itself again.

        Raises:
            FunctionNotFound: When there is none; ``near`` has names that resemble it.
            SpecInvalid: When the number is negative or too large.
        """
        return self._transport.do(operations.scale(name, replicas))

    def rollback(
        self,
        name: str,
        revision: int | None = None,
        *,
        wait: bool = True,
        timeout: float = TIMEOUT,
    ) -> FunctionStatus:
        """Makes an earlier revision the current one again. A canary ends.

        Args:
            name: The function's name.
            revision: Its number; None takes the one before the current one.
            wait: Whether to wait until it takes all calls.
            timeout: Seconds to wait for that.

        Raises:
            FunctionNotFound: When there is no such function or revision.
            RolloutInvalid: When there is no revision before the current one.
            StartError: When its replicas do not start; with the author's traceback. What served
                before goes on.
            StartTimeout: When it is not ready in time; it goes on starting.
        """
        operation = operations.rollback(name, revision)
        return self._transport.follow(
            rollout_workflow.served(operation, wait=wait, timeout=timeout)
        )

    def promote(self, name: str, *, wait: bool = True, timeout: float = TIMEOUT) -> FunctionStatus:
        """Makes the canary the current revision. Arguments and errors as for :meth:`rollback`.

        Raises:
            RolloutInvalid: When there is no canary.
        """
        operation = operations.promote(name)
        return self._transport.follow(
            rollout_workflow.served(operation, wait=wait, timeout=timeout)
        )

    def abort(self, name: str, *, wait: bool = True, timeout: float = TIMEOUT) -> FunctionStatus:
        """Ends the canary; the current revision takes all calls again. As :meth:`promote`."""
        operation = operations.abort(name)
        return self._transport.follow(
            rollout_workflow.served(operation, wait=wait, timeout=timeout)
        )

    def delete(self, name: str) -> None:
        """Takes the function away. Errors as for :meth:`function`."""
        self._transport.do(operations.delete(name))

    def gateway_info(self) -> GatewayInfo:
        """What the gateway tells of itself."""
        return self._transport.do(operations.gateway_info())

    def keys(self) -> list[dict[str, Any]]:
        """The keys: ``name``, ``created``, ``revoked``."""
        return self._transport.do(operations.keys())

    def make_key(self, name: str) -> str:
        """Makes a key with which functions may be called; it is told this once.

        Raises:
            NameTaken: When there is a key of that name.
        """
        return self._transport.do(operations.make_key(name))

    def revoke_key(self, name: str) -> None:
        """Makes a key useless."""
        self._transport.do(operations.revoke_key(name))

    def logs(
        self,
        name: str,
        *,
        since: float = 0.0,
        tail: int | None = None,
        follow: bool = False,
        replica: str = "",
    ) -> Iterator[ReplicaLine]:
        """What the function's replicas printed, merged by time.

        Args:
            name: The function's name.
            since: Seconds since the epoch; older lines are left out.
            tail: Only so many of the newest lines; None gives all.
            follow: Whether to wait for further lines, until the iterator is closed.
            replica: Id of the one replica to read; "" reads all.

        Raises:
            FunctionNotFound: When there is none.
        """
        operation = operations.logs(name, since=since, tail=tail, follow=follow, replica=replica)
        with self._transport.open(operation) as answer:
            for line in lines_of(answer.chunks):
                yield operations.read_line(line)

    def deploy(
        self,
        build: Deployable,
        *,
        minimum: int | None = None,
        maximum: int | None = None,
        annotations: Mapping[str, str] | None = None,
        canary: float | None = None,
        wait: bool = True,
        timeout: float = TIMEOUT,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> FunctionStatus:
        """Uploads what the gateway lacks of a build and deploys it.

        An upload whose connection breaks goes on where it was.

        Args:
            build: What to deploy.
            minimum: Never fewer replicas; None leaves what is.
            maximum: Never more replicas; None leaves what is.
            annotations: Free key-value pairs; None leaves what is.
            canary: Percent of the calls that it is to get, beside the current revision; None
                makes it the current one.
            wait: Whether to wait until replicas are ready.
            timeout: Seconds to wait for that.
            on_progress: Called with each step, in this thread.

        Raises:
            BuildError: When its environment cannot be made over there.
            StartError: When its replicas do not start; with the author's traceback.
            SpecInvalid: When the gateway does not accept it.
            RolloutInvalid: When there is nothing beside which a canary could be tried.
        """
        options = DeployOptions(minimum, maximum, annotations, canary, wait, timeout)
        return self._transport.follow(
            deploy_workflow.deploy(build, options, on_progress or nobody_listens)
        )

    def list(self) -> list[FunctionStatus]:
        """As :meth:`functions`."""
        return self.functions()

    def info(self, name: str) -> FunctionStatus:
        """As :meth:`function`."""
        return self.function(name)
