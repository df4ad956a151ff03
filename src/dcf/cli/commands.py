"""The tree of commands."""

from __future__ import annotations

import click

from dcf.cli.lazy import Lazy, LazyGroup
from dcf.version import __version__

SETTINGS = {"help_option_names": ["-h", "--help"]}

function = LazyGroup(
    "function",
    context_settings=SETTINGS,
    help="Create, build, run and deploy functions.\n\n\b\nExample:\n  dcf-cli function init hello",
    lazy={
        "init": Lazy("dcf.cli.function_init:init", "Create a function's folder."),
        "build": Lazy("dcf.cli.function_build:build", "Build a function."),
        "run": Lazy("dcf.cli.function_run:run", "Run a function once on this machine."),
        "serve": Lazy("dcf.cli.function_serve:serve", "Serve a function on a local port."),
        "deploy": Lazy("dcf.cli.function_deploy:deploy", "Deploy a function."),
        "list": Lazy("dcf.cli.function_list:list_", "List the deployed functions.", ["ls"]),
        "info": Lazy("dcf.cli.function_info:info", "Show details of a deployed function."),
        "call": Lazy("dcf.cli.function_call:call", "Call a deployed function.", ["invoke"]),
        "log": Lazy("dcf.cli.function_log:log", "Print the logs of a function's replicas."),
        "revisions": Lazy("dcf.cli.function_revisions:revisions", "List a function's revisions."),
        "rollback": Lazy("dcf.cli.function_rollback:rollback", "Return to an earlier revision."),
        "promote": Lazy("dcf.cli.function_promote:promote", "Send all calls to the canary."),
        "abort": Lazy("dcf.cli.function_abort:abort", "End a canary."),
        "scale": Lazy("dcf.cli.function_scale:scale", "Set a function's number of replicas."),
        "delete": Lazy("dcf.cli.function_delete:delete", "Delete deployed functions."),
    },
)

gateway_key = LazyGroup(
    "key",
    context_settings=SETTINGS,
    help="Manage the keys of callers.\n\n\b\nExample:\n  dcf-cli gateway key create laptop",
    lazy={
        "create": Lazy("dcf.cli.gateway_key:create", "Create a key and print it."),
        "list": Lazy("dcf.cli.gateway_key:list_", "List the keys."),
        "revoke": Lazy("dcf.cli.gateway_key:revoke", "Revoke a key."),
    },
)

gateway = LazyGroup(
    "gateway",
    context_settings=SETTINGS,
    help="Run the gateway, one port for all functions.\n\n\b\nExample:\n  dcf-cli gateway start",
    lazy={
        "start": Lazy("dcf.cli.gateway_start:start", "Start the gateway."),
        "stop": Lazy("dcf.cli.gateway_stop:stop", "Stop the gateway on this machine."),
        "status": Lazy("dcf.cli.gateway_status:status", "Show the gateway's status."),
        "token": Lazy("dcf.cli.gateway_token:token", "Print the management token."),
        "key": Lazy("dcf.cli.commands:gateway_key", "Manage the keys of callers."),
        "unit": Lazy("dcf.cli.gateway_unit:unit", "Print a systemd unit."),
    },
)

runtime = LazyGroup(
    "runtime",
    context_settings=SETTINGS,
    help="Show the language templates.\n\n\b\nExample:\n  dcf-cli runtime list",
    lazy={"list": Lazy("dcf.cli.runtime_list:list_", "List the runtimes.")},
)

root = LazyGroup(
    "dcf-cli",
    context_settings=SETTINGS,
    help=(
        "From a Python class to a production endpoint.\n\n"
        '\b\nExample:\n  echo "Hello" | dcf-cli function run examples/01-hello-dcf'
    ),
    lazy={
        "function": Lazy(
            "dcf.cli.commands:function", "Create, build, run and deploy functions.", ["fn"]
        ),
        "gateway": Lazy("dcf.cli.commands:gateway", "Run the gateway, one port for all functions."),
        "runtime": Lazy("dcf.cli.commands:runtime", "Show the language templates."),
        "prune": Lazy("dcf.cli.prune_command:prune", "Delete cached files that no function uses."),
        "schema": Lazy("dcf.cli.schema_command:schema", "Print the JSON Schema of config.yaml."),
        "completion": Lazy("dcf.cli.completion:completion", "Print a shell's completion script."),
        "version": Lazy("dcf.cli.version_command:version", "Print the version."),
    },
)

click.version_option(__version__, message="%(prog)s %(version)s")(root)
