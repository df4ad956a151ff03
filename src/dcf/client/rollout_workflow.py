"""Rollbacks, promotions and aborts: send the request, then wait until it has taken effect."""

from __future__ import annotations

from dcf.client.deploy_workflow import failure_of, poll
from dcf.client.operation import Operation
from dcf.client.transport import Transport
from dcf.model.replica import ReplicaState
from dcf.model.status import FunctionState, FunctionStatus

POLL_INTERVAL = 0.1
"""Seconds between polls: another revision of a small function serves after some tenths."""


async def roll_out(
    transport: Transport, operation: Operation[FunctionStatus], *, wait: bool, timeout: float
) -> FunctionStatus:
    """Make another revision serve.

    Args:
        transport: The gateway.
        operation: The request. The function in its reply names the revision.
        wait: Whether to wait until the revision serves all calls.
        timeout: Maximum seconds to wait.

    Raises:
        StartError: When the revision does not start; with the author's traceback.
        StartTimeout: When it is not ready in time.
        DcfError: When something else fails.
    """
    accepted = await transport.send(operation)
    if not wait or _is_over(accepted, accepted):
        return accepted
    return await poll(
        transport,
        accepted.name,
        lambda now: _is_over(accepted, now),
        timeout=timeout,
        interval=POLL_INTERVAL,
    )


def _is_over(accepted: FunctionStatus, now: FunctionStatus) -> bool:
    """Return whether the request has taken effect, or a later request has replaced it."""
    if now.revision != accepted.revision or now.canary != accepted.canary:
        return True
    if now.state in {FunctionState.NOT_READY, FunctionState.CRASH_LOOP}:
        # Both times come from the gateway's clock.
        if now.failure is not None and now.failure.at >= accepted.updated:
            raise failure_of(now.failure)
        return False
    if now.state is FunctionState.IDLE:
        return True
    # A ready replica of another revision is stopped once no calls are routed to it.
    others = [
        replica
        for replica in now.replica_list
        if replica.revision != now.revision and replica.state == ReplicaState.READY
    ]
    return now.state is FunctionState.READY and not others
