"""The CLI's exit codes. A test compares the reference page of the command line with this table."""

from __future__ import annotations

from enum import IntEnum

from dcf import errors


class ExitCode(IntEnum):
    """An exit code."""

    OK = 0
    """Success."""
    INTERNAL = 1
    """A defect in DCF."""
    USAGE = 2
    """The command line is wrong."""
    PROJECT = 3
    """config.yaml, a name, a folder or a secret is wrong or missing."""
    BUILD = 4
    """The environment could not be built from the dependencies or files."""
    NETWORK = 5
    """A package index could not be reached."""
    STORAGE = 6
    """The disk is full or not writable."""
    GPU = 7
    """Not enough GPUs are free."""
    START = 8
    """The handler could not be started."""
    CALL = 9
    """The handler failed on this call."""
    TIMEOUT = 10
    """A call or a start timed out."""
    LOST = 11
    """The replica exited during the call, or accepts no calls."""
    GATEWAY = 12
    """The gateway does not answer, rejects the token, or could not be started."""
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
    """Return the exit code for ``error``: that of its nearest base class in the table."""
    return next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)
