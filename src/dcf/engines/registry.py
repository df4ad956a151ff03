"""The engines by name: the only module that imports a concrete one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

from dcf.builder.store import Store
from dcf.engines.base import Engine
from dcf.engines.local.cgroups import Cgroups
from dcf.engines.local.engine import LocalEngine
from dcf.engines.local.limit_enforcer import group_prefix
from dcf.engines.local.replica_files import EnvironmentSource, ReplicaFiles
from dcf.engines.local.session import local_session
from dcf.settings import Locations
from dcf.supervision.supervisor_client import SupervisorClient


def gateway_engine(
    store: Store,
    environments: EnvironmentSource,
    places: Locations,
    env: Mapping[str, str],
    *,
    supervisor: Path,
    extra: Mapping[str, str],
) -> Engine:
    """Return a gateway's engine. Its replicas outlive this process.

    Args:
        store: Holds the artifacts.
        environments: Provides their environments.
        places: Where folders and sockets go.
        env: This process's environment.
        supervisor: The socket of the gateway's supervisor.
        extra: The framework's variables for every replica.
    """
    files = ReplicaFiles(
        store,
        environments,
        replicas=places.replicas,
        sockets=places.gateway_runtime,
        secrets=places.secrets,
        calls=places.calls,
    )
    return LocalEngine(SupervisorClient(supervisor), files, env, extra=extra)


@contextlib.asynccontextmanager
async def command_engine(
    store: Store, environments: EnvironmentSource, places: Locations, env: Mapping[str, str]
) -> AsyncGenerator[Engine, None]:
    """Open the engine of ``run`` or ``serve``. Its replicas end with the context.

    Arguments and errors as for ``dcf.engines.local.session.local_session``.
    """
    async with local_session(store, environments, places, env) as engine:
        yield engine


def clear_gateway(supervisor: Path) -> None:
    """Remove what the engine of an ended gateway has left outside its folders.

    Args:
        supervisor: The socket of the gateway's supervisor, which has ended.
    """
    # Processes that a replica moved into sessions of their own end with its control group.
    Cgroups.find().sweep(group_prefix(supervisor), ())
