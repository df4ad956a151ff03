"""Decides about calls that find no ready replica. Envoy holds them and asks with ext_authz."""

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
"""Maximum seconds that a call is held, even if its deadline is later. Envoy waits as long."""


class ExtAuthz:
    """Answers Envoy's check requests."""

    def __init__(
        self, activator: Activator, calls: Path, clock: Callable[[], float] = time.time
    ) -> None:
        """Create the check handler.

        Args:
            activator: Decides how long a call waits.
            calls: Folder of the call tables of all replicas.
            clock: Returns seconds since the epoch.
        """
        self._activator = activator
        self._calls = calls
        self._clock = clock

    async def judge(self, check: CheckRequest) -> CheckResult:
        """Return once the call can be forwarded, or must be refused."""
        given = check.headers.get(http.DEADLINE_MS, "")
        deadline = int(given) / 1000 if _USABLE_MS.fullmatch(given) else None
        path = check.path.partition("?")[0]
        name = unquote(path.removeprefix(http.FUNCTION_PREFIX).partition("/")[0])
        limit = None if deadline is None else min(deadline, LONGEST)
        try:
            check_path(path)
            await self._check_not_begun(check, name)
            await self._activator.hold(name, check.since, limit)
        except ActivationRefused as refused:
            return self._refuse(check, refused.error, str(refused.retry_after))
        except BadRequest as error:
            return self._refuse(check, error, None)
        except Exception:
            request_id = check.headers.get(http.REQUEST_ID, "")
            logger.exception("request %s: internal error", request_id)
            message = f"internal error; see the gateway's log of request {request_id}"
            return self._refuse(check, DcfError(message), None)
        waited = self._waited(check)
        request = {http.HELD_MS: f"{waited:.0f}"}
        if deadline is not None:
            # The replica counts from the arrival there.
            request[http.DEADLINE_MS] = str(max(1, round(deadline * 1000 - waited)))
        return CheckResult(request=request, reply={http.SERVER_TIMING: f"hold;dur={waited:.1f}"})

    async def _check_not_begun(self, check: CheckRequest, name: str) -> None:
        """Check that a retried call had not begun in a replica that exited.

        Raises:
            ActivationRefused: If it had begun, so that it must not begin again.
        """
        request_id = check.headers.get(http.REQUEST_ID, "").encode("latin-1", "replace")
        is_repeated = check.headers.get(http.ATTEMPT, "1") != "1"
        if not is_repeated or not re.fullmatch(NAME_PATTERN, name):
            return
        earlier = await asyncio.to_thread(call_table.find, self._calls / name, request_id)
        if earlier is not None and earlier.begun:
            error = ReplicaLost("the replica ended after the handler had begun this call")
            raise ActivationRefused(error)

    def _refuse(self, check: CheckRequest, error: DcfError, retry_after: str | None) -> CheckResult:
        if not http.may_see_tracebacks(check.headers.get(http.REMOTE)):
            error = without_traceback(error)
        response = as_problem(error, check.headers.get(http.REQUEST_ID, ""))
        reply = {
            "content-type": http.PROBLEM,
            http.SERVER_TIMING: f"hold;dur={self._waited(check):.1f}",
        }
        if retry_after and http.RETRY_AFTER in response.headers:
            reply[http.RETRY_AFTER] = retry_after
        if isinstance(error, ReplicaLost | NotReady | Overloaded):
            reply[http.BEGUN] = "true" if isinstance(error, ReplicaLost) else "false"
        return CheckResult(
            refusal=(response.status_code, bytes(response.body).decode()), reply=reply
        )

    def _waited(self, check: CheckRequest) -> float:
        """Return the milliseconds since the call arrived."""
        return max(0.0, self._clock() - check.since) * 1000
