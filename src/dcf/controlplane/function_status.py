"""From what is recorded and seen of a function to what is told of it. No I/O."""

from __future__ import annotations

from collections.abc import Iterable

from dcf import errors
from dcf.catalog.rows import wanted_of
from dcf.controlplane.replicas.replica_registry import ReplicaRecord
from dcf.model.desired import Wanted
from dcf.model.replica import ReplicaExit
from dcf.model.revision import FunctionRecord
from dcf.model.status import Failure, FunctionState, FunctionStatus, ReplicaStatus
from dcf.reconciler.autoscale import target_of
from dcf.reconciler.function_state import Condition, condition


def of_function(
    record: FunctionRecord, replicas: Iterable[ReplicaRecord], *, detailed: bool = False
) -> FunctionStatus:
    """How a function is.

    Args:
        record: What is recorded of it.
        replicas: Its own.
        detailed: Whether to tell of each replica.
    """
    own = list(replicas)
    found = condition_of(record, own)
    last = found.last_crash if found else None
    return FunctionStatus(
        name=record.name,
        artifact=record.current.artifact.digest,
        revision=record.current.number,
        serving=found.serving if found else None,
        state=found.state if found else FunctionState.DEPLOYING,
        takes_calls=bool(found and found.takes_calls),
        invocations=record.invocations,
        replicas=record.scaling.replicas,
        ready=found.ready if found else 0,
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
    """The state of a function, and the figures behind it.

    Args:
        record: What is recorded of it.
        replicas: Its own.
        revision: Of this revision alone; None is the current one, with whoever stands in for it.
    """
    wanted = wanted_of(record)
    if revision is not None and revision != wanted.revision:
        wanted = Wanted(record.name, revision, wanted.canaries)
    return condition(wanted, [one.observed() for one in replicas])


def _of_replica(one: ReplicaRecord) -> ReplicaStatus:
    return ReplicaStatus(
        id=one.id,
        revision=one.key.revision,
        state=str(one.state),
        since=one.since,
        limits=one.limits,
        reason=one.exit.reason if one.exit else "",
    )


def start_error(exit_: ReplicaExit) -> errors.DcfError:
    """The error that the end of a replica stands for."""
    kind = getattr(errors, exit_.error, None) if exit_.error else None
    if isinstance(kind, type) and issubclass(kind, errors.StartError):
        return kind(exit_.reason, exit_.traceback)
    if isinstance(kind, type) and issubclass(kind, errors.BuildError | errors.StorageError):
        return kind(exit_.reason)
    if exit_.error:
        return errors.StartError(exit_.reason, exit_.traceback)
    return errors.ReplicaExited(f"the replica ended: {exit_.reason}", exit_.traceback)
