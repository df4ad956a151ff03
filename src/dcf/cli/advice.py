"""What to do about an error: the sentence under its message."""

from __future__ import annotations

from dcf import errors

_ADVICE: dict[type[errors.DcfError], str] = {
    errors.InvalidName: "Choose another name, such as my-function.",
    errors.FolderExists: "Choose another name, or move what is there.",
    errors.FunctionAmbiguous: "Name the function, or give the folder with a slash: ./NAME",
    errors.SecretNotFound: "Put the file there; its content is never shown.",
    errors.RequirementsInvalid: "Mend requirements.txt.",
    errors.PackageNotFound: "Check the spelling and the version in requirements.txt, and the index"
    " (pip's and uv's settings are both honoured).",
    errors.VersionConflict: "Loosen one of the two in requirements.txt.",
    errors.InterpreterNotFound: "Name another version under `python` in config.yaml, or install"
    " that one.",
    errors.IndexUnreachable: "Connect to the network once, or point pip or uv to an index that"
    " answers; what was built before runs without.",
    errors.InstallFailed: "-v shows the installer's own output.",
    errors.DiskFull: "Make room, then try again: `dcf-cli prune` frees what nothing uses.",
    errors.GpuUnavailable: "Free a GPU, or lower `limits.gpu` in config.yaml.",
    errors.HandlerNotFound: "`handler` in config.yaml says where the handler is.",
    errors.StartTimeout: "--start-timeout gives the constructor longer.",
    errors.DeadlineExceeded: "`timeout` in config.yaml gives a call longer.",
}


def advice(error: errors.DcfError) -> str:
    """The advice for ``error``; "" when its message says it all."""
    if isinstance(error, errors.FunctionNotFound) and error.near:
        return f"Is {' or '.join(error.near)} meant?"
    return next((_ADVICE[kind] for kind in type(error).__mro__ if kind in _ADVICE), "")
