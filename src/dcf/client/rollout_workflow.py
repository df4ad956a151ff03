"""The course of a rollback, a promotion or an abort: asked for, then waited for."""

from __future__ import annotations

from dcf.client.deploy_workflow import Workflow, failure_of, watch
from dcf.client.operation import Operation
from dcf.model.replica import ReplicaState
from dcf.model.status import FunctionState, FunctionStatus

POLL = 0.1
"""Seconds between two looks: another revision of a small function serves after some tenths."""


def served(operation: Operation[FunctionStatus], *, wait: bool, timeout: float) -> Workflow:
    """Has another revision serve.

    Args:
        operation: Asks for it; the answer names the revision.
        wait: Whether to wait until it takes all calls.
        timeout: Seconds to wait for that.

    Raises:
        StartError: When it does not start; with the author's traceback.
        StartTimeout: When it is not ready in time.
        DcfError: Whatever else went wrong, as itself.
    """
    asked: FunctionStatus = yield operation
    if not wait or _is_over(asked, asked):
        return asked
    return (yield from watch(asked.name, lambda now: _is_over(asked, now), timeout, POLL))


def _is_over(asked: FunctionStatus, now: FunctionStatus) -> bool:
    """Whether what was asked for is in force, or somebody has asked for something else since."""
    if now.revision != asked.revision or now.canary != asked.canary:
        return True
    if now.state in {FunctionState.NOT_READY, FunctionState.CRASH_LOOP}:
        # Of both times the gateway's clock tells.
        if now.failure is not None and now.failure.at >= asked.updated:
            raise failure_of(now.failure)
        return False
    if now.state is FunctionState.IDLE:
        return True
    # A ready replica of another revision is ended once no call is sent there.
    others = [
        one
        for one in now.replica_list
        if one.revision != now.revision and one.state == ReplicaState.READY
    ]
    return now.state is FunctionState.READY and not others
