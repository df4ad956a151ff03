"""Envoy's questions about calls that meet no replica, and the answers that their callers get."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from dcf.controlplane.activation.activator import ActivationRefused, Activator
from dcf.controlplane.http.paths import check_path
from dcf.controlplane.http.replies import as_problem
from dcf.dataplane.ext_authz_server import CheckRequest, CheckResult
from dcf.errors import BadRequest, DcfError, NotReady, Overloaded, ReplicaLost
from dcf.model.names import NAME_PATTERN
from dcf.protocol import call_table, http
from dcf.protocol.problem import without_traceback

logger = logging.getLogger("dcf.controlplane")

_USABLE_MS = re.compile(r"[0-9]{1,12}")

LONGEST = 86_400.0
"""Seconds that a call is held at the most, whatever its caller says: as long as Envoy waits."""


class ExtAuthz:
    """From questions to answers."""

    def __init__(
        self, holding: Activator, calls: Path, clock: Callable[[], float] = time.time
    ) -> None:
        """Asks nothing yet.

        Args:
            holding: Knows how long a call is to wait.
            calls: Folder of the call tables of all replicas.
            clock: Seconds since the epoch.
        """
        self._holding = holding
        self._calls = calls
        self._clock = clock

    async def judge(self, asked: CheckRequest) -> CheckResult:
        """Answers once the call may go on, or will never."""
        given = asked.headers.get(http.DEADLINE_MS, "")
        deadline = int(given) / 1000 if _USABLE_MS.fullmatch(given) else None
        path = asked.path.partition("?")[0]
        name = unquote(path.removeprefix(http.FUNCTION_PREFIX).partition("/")[0])
        limit = None if deadline is None else min(deadline, LONGEST)
        try:
            check_path(path)
            await self._check_not_begun(asked, name)
            await self._holding.hold(name, asked.since, limit)
        except ActivationRefused as refused:
            return self._refuse(asked, refused.error, str(refused.retry_after))
        except BadRequest as error:
            return self._refuse(asked, error, None)
        except Exception:
            request_id = asked.headers.get(http.REQUEST_ID, "")
            logger.exception("request %s: a defect of the gateway", request_id)
            message = f"a defect of the gateway; its log tells more of {request_id}"
            return self._refuse(asked, DcfError(message), None)
        waited = self._waited(asked)
        request = {http.HELD_MS: f"{waited:.0f}"}
        if deadline is not None:
            # What the replica counts from is its own time of arrival.
            request[http.DEADLINE_MS] = str(max(1, round(deadline * 1000 - waited)))
        return CheckResult(request=request, reply={http.SERVER_TIMING: f"hold;dur={waited:.1f}"})

    async def _check_not_begun(self, asked: CheckRequest, name: str) -> None:
        """Check that a retried call had not begun in a replica that ended.

        Raises:
            Refused: If it had begun, so that it must not wait for another replica.
        """
        request_id = asked.headers.get(http.REQUEST_ID, "").encode("latin-1", "replace")
        is_repeated = asked.headers.get(http.ATTEMPT, "1") != "1"
        if not is_repeated or not re.fullmatch(NAME_PATTERN, name):
            return
        earlier = await asyncio.to_thread(call_table.find, self._calls / name, request_id)
        if earlier is not None and earlier.begun:
            error = ReplicaLost("the replica ended after the handler had begun this call")
            raise ActivationRefused(error)

    def _refuse(self, asked: CheckRequest, error: DcfError, retry_after: str | None) -> CheckResult:
        if not http.may_see_tracebacks(asked.headers.get(http.REMOTE)):
            error = without_traceback(error)
        response = as_problem(error, asked.headers.get(http.REQUEST_ID, ""))
        reply = {
            "content-type": http.PROBLEM,
            http.SERVER_TIMING: f"hold;dur={self._waited(asked):.1f}",
        }
        if retry_after and http.RETRY_AFTER in response.headers:
            reply[http.RETRY_AFTER] = retry_after
        if isinstance(error, ReplicaLost | NotReady | Overloaded):
            reply[http.BEGUN] = "true" if isinstance(error, ReplicaLost) else "false"
        return CheckResult(
            refusal=(response.status_code, bytes(response.body).decode()), reply=reply
        )

    def _waited(self, asked: CheckRequest) -> float:
        """Milliseconds."""
        return max(0.0, self._clock() - asked.since) * 1000
