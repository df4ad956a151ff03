"""The public names of 0.1: code that was written for it imports and calls them."""

import inspect
from importlib import import_module

import pytest

import dcf
from dcf import errors

NAMES = [
    "AsyncClient", "BadRequest", "Client", "Reply", "Request", "__version__", "call", "call_async",
    "errors", "secret", "stream", "stream_async",
]  # fmt: skip

ERRORS = [
    "AccessDenied",
    "AddressInUse",
    "AnswerInvalid",
    "BadRequest",
    "BlobsMissing",
    "BodyTooLarge",
    "BodyTooSlow",
    "BuildError",
    "BuildTimeout",
    "BundleInvalid",
    "CallError",
    "CatalogUnusable",
    "ConfigError",
    "ConfinementFailed",
    "DataplaneError",
    "DcfError",
    "DeadlineExceeded",
    "DiskFull",
    "EnvoyFailed",
    "EnvoyMissing",
    "FolderExists",
    "FunctionAmbiguous",
    "FunctionNotFound",
    "GatewayError",
    "GatewayRunning",
    "GatewayUnreachable",
    "GpuUnavailable",
    "HandlerImportFailed",
    "HandlerInitFailed",
    "HandlerNotFound",
    "HandlerRaised",
    "HostNotAllowed",
    "IndexUnreachable",
    "InstallFailed",
    "InterpreterNotFound",
    "InvalidName",
    "MethodNotAllowed",
    "NameTaken",
    "NotReady",
    "ObserverTooSlow",
    "Overloaded",
    "PackageNotFound",
    "PathUnknown",
    "PreflightRefused",
    "ProcessNotStarted",
    "ProcessUnknown",
    "ProjectError",
    "ReplicaExited",
    "ReplicaLost",
    "ReplicaUnknown",
    "RequestInvalid",
    "RequirementsInvalid",
    "RolloutInvalid",
    "RoutesLate",
    "RoutesRejected",
    "SecretNotFound",
    "SpecInvalid",
    "StartError",
    "StartTimeout",
    "StorageError",
    "SupervisorError",
    "SupervisorRunning",
    "SupervisorUnreachable",
    "UnsupportedReply",
    "UploadInvalid",
    "VersionConflict",
]

METHODS = {
    "abort": "name *wait *timeout",
    "call": "name data *headers *timeout *method *path *on_wait",
    "close": "",
    "delete": "name",
    "deploy": "build *minimum *maximum *annotations *canary *wait *timeout *on_progress",
    "events": "name",
    "function": "name",
    "functions": "",
    "gateway_info": "",
    "info": "name",
    "keys": "",
    "list": "",
    "logs": "name *since *tail *follow *replica",
    "make_key": "name",
    "open": "name data *headers *timeout *method *path *on_wait",
    "promote": "name *wait *timeout",
    "revisions": "name",
    "revoke_key": "name",
    "rollback": "name revision *wait *timeout",
    "scale": "name replicas",
    "stream": "name messages *headers *timeout *path *on_error *on_wait",
}
"""The parameters of each method; ``*`` marks those that are passed by name."""

MOVED = {
    "dcf.client.gateway": ["TIMEOUT", "Client"],
    "dcf.client.async_gateway": ["AsyncClient"],
    "dcf.client.stream": ["OnError", "Stream"],
    "dcf.testing.engines": ["Bench", "EngineContract"],
}
"""Modules of 0.1, and what other code imports from them."""


def parameters(method) -> str:
    _self, *given = inspect.signature(method).parameters.values()
    return " ".join(f"*{one.name}" if one.kind is one.KEYWORD_ONLY else one.name for one in given)


def test_what_import_star_gives():
    assert dcf.__all__ == NAMES
    assert all(hasattr(dcf, name) for name in NAMES)
    assert callable(dcf.build)


def test_every_error_has_its_name():
    assert [name for name in ERRORS if not issubclass(getattr(errors, name), errors.DcfError)] == []


@pytest.mark.parametrize("client", [dcf.Client, dcf.AsyncClient])
def test_both_clients_have_the_methods_and_their_parameters(client):
    methods = {
        name: parameters(member)
        for name, member in inspect.getmembers(client, callable)
        if not name.startswith("_")
    }
    assert methods == METHODS
    assert parameters(client.__init__) == "url token *timeout"
    assert isinstance(client.url, property)


@pytest.mark.parametrize("method", METHODS)
def test_both_clients_have_the_same_defaults(method):
    plain, awaited = (
        [one.default for one in inspect.signature(getattr(client, method)).parameters.values()]
        for client in (dcf.Client, dcf.AsyncClient)
    )
    assert plain == awaited


@pytest.mark.parametrize("module", MOVED)
def test_a_module_of_0_1_can_still_be_imported(module):
    assert [name for name in MOVED[module] if not hasattr(import_module(module), name)] == []


def test_the_old_modules_have_the_classes_themselves():
    assert import_module("dcf.client.gateway").Client is dcf.Client
    assert import_module("dcf.client.async_gateway").AsyncClient is dcf.AsyncClient
