"""The CLI's exit codes. The table in docs/reference/cli.md is tested against this one."""

from __future__ import annotations

from enum import IntEnum

from dcf import errors


class ExitCode(IntEnum):
    """What an exit code says."""

    OK = 0
    """Done."""
    INTERNAL = 1
    """A defect of this project."""
    USAGE = 2
    """The command line is wrong."""
    PROJECT = 3
    """config.yaml, a name, a folder or a secret is wrong or missing."""
    BUILD = 4
    """Dependencies or files do not make an environment."""
    NETWORK = 5
    """A package index is out of reach."""
    STORAGE = 6
    """The disk is full or cannot be written."""
    GPU = 7
    """Too few GPUs are free."""
    START = 8
    """The handler could not be started."""
    CALL = 9
    """The handler failed on this call."""
    TIMEOUT = 10
    """No reply, or no start, in time."""
    LOST = 11
    """The replica ended during the call, or takes none."""
    GATEWAY = 12
    """No gateway answers, it refuses the token, or it cannot be started."""
    INTERRUPTED = 130
    """Ctrl-C (128 + SIGINT)."""
    TERMINATED = 143
    """SIGTERM (128 + 15)."""


_CODES: dict[type[errors.DcfError], ExitCode] = {
    errors.DcfError: ExitCode.INTERNAL,
    errors.ProjectError: ExitCode.PROJECT,
    errors.BuildError: ExitCode.BUILD,
    errors.IndexUnreachable: ExitCode.NETWORK,
    errors.StorageError: ExitCode.STORAGE,
    errors.GpuUnavailable: ExitCode.GPU,
    errors.StartError: ExitCode.START,
    errors.StartTimeout: ExitCode.TIMEOUT,
    errors.ReplicaUnknown: ExitCode.LOST,
    errors.SupervisorError: ExitCode.GATEWAY,
    errors.DataplaneError: ExitCode.GATEWAY,
    errors.GatewayError: ExitCode.GATEWAY,
    errors.CallError: ExitCode.CALL,
    errors.DeadlineExceeded: ExitCode.TIMEOUT,
    errors.Overloaded: ExitCode.LOST,
    errors.NotReady: ExitCode.LOST,
    errors.ReplicaLost: ExitCode.LOST,
}


def exit_code(error: errors.DcfError) -> ExitCode:
    """The exit code for ``error``: that of its nearest class in the table."""
    return next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)
