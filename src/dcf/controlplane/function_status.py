"""Derive the status of a function from its record and its replicas. No I/O."""

from __future__ import annotations

from collections.abc import Iterable

from dcf import errors
from dcf.catalog.rows import wanted_of
from dcf.controlplane.replicas.replica_registry import ReplicaRecord
from dcf.model.desired import Wanted
from dcf.model.replica import ReplicaExit
from dcf.model.revision import FunctionRecord
from dcf.model.status import Failure, FunctionState, FunctionStatus, ReplicaStatus
from dcf.reconciler import function_state
from dcf.reconciler.autoscale import target_of
from dcf.reconciler.function_state import Condition


def of_function(
    record: FunctionRecord, replicas: Iterable[ReplicaRecord], *, detailed: bool = False
) -> FunctionStatus:
    """Return the status of a function.

    Args:
        record: The catalog's record of it.
        replicas: Its replicas.
        detailed: Whether to include each replica.
    """
    own = list(replicas)
    condition = condition_of(record, own)
    last = condition.last_crash if condition else None
    return FunctionStatus(
        name=record.name,
        artifact=record.current.artifact.digest,
        revision=record.current.number,
        serving=condition.serving if condition else None,
        state=condition.state if condition else FunctionState.DEPLOYING,
        takes_calls=bool(condition and condition.takes_calls),
        invocations=record.invocations,
        replicas=record.scaling.replicas,
        ready=condition.ready if condition else 0,
        minimum=record.scaling.minimum,
        maximum=record.scaling.maximum,
        target=target_of(record),
        idle=record.scaling.idle,
        by_hand=record.scaling.by_hand,
        canary=record.canary.revision.number if record.canary else None,
        share=record.canary.share if record.canary else 0.0,
        desc=record.desc,
        maintainer=record.maintainer,
        image=record.current.spec.image,
        labels=record.labels,
        annotations=record.annotations,
        created=record.created,
        updated=record.updated,
        failure=Failure(last.at, last.reason, last.error, last.traceback) if last else None,
        replica_list=tuple(map(_of_replica, own)) if detailed else (),
    )


def condition_of(
    record: FunctionRecord, replicas: Iterable[ReplicaRecord], revision: int | None = None
) -> Condition | None:
    """Return the state of a function, and the numbers behind it.

    Args:
        record: The catalog's record of it.
        replicas: Its replicas.
        revision: Consider only this revision; None selects the current one, including replicas of
            the previous revision that serve until it is ready.
    """
    wanted = wanted_of(record)
    if revision is not None and revision != wanted.revision:
        wanted = Wanted(record.name, revision, wanted.canaries)
    return function_state.condition(wanted, [replica.observed() for replica in replicas])


def _of_replica(replica: ReplicaRecord) -> ReplicaStatus:
    return ReplicaStatus(
        id=replica.id,
        revision=replica.key.revision,
        state=str(replica.state),
        since=replica.since,
        limits=replica.limits,
        reason=replica.exit.reason if replica.exit else "",
    )


def start_error(exit_: ReplicaExit) -> errors.DcfError:
    """Return the error that a replica's exit represents."""
    kind = getattr(errors, exit_.error, None) if exit_.error else None
    if isinstance(kind, type) and issubclass(kind, errors.StartError):
        return kind(exit_.reason, exit_.traceback)
    if isinstance(kind, type) and issubclass(kind, errors.BuildError | errors.StorageError):
        return kind(exit_.reason)
    if exit_.error:
        return errors.StartError(exit_.reason, exit_.traceback)
    return errors.ReplicaExited(f"the replica exited: {exit_.reason}", exit_.traceback)
