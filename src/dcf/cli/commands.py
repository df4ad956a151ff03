"""The tree of commands."""

from __future__ import annotations

import click

from dcf.cli.lazy import Lazy, LazyGroup
from dcf.version import __version__

SETTINGS = {"help_option_names": ["-h", "--help"]}

function = LazyGroup(
    "function",
    context_settings=SETTINGS,
    help="Make, build, run and deploy functions.\n\n\b\nExample:\n  dcf-cli function init hello",
    lazy={
        "init": Lazy("dcf.cli.function_init:init", "Make a function's folder."),
        "build": Lazy("dcf.cli.function_build:build", "Build a function."),
        "run": Lazy("dcf.cli.function_run:run", "Run a function once on this machine."),
        "serve": Lazy("dcf.cli.function_serve:serve", "Serve a function on a local port."),
        "deploy": Lazy("dcf.cli.function_deploy:deploy", "Deploy a function."),
        "list": Lazy("dcf.cli.function_list:list_", "List the deployed functions.", ["ls"]),
        "info": Lazy("dcf.cli.function_info:info", "Tell all about a deployed function."),
        "call": Lazy("dcf.cli.function_call:call", "Call a deployed function.", ["invoke"]),
        "log": Lazy("dcf.cli.function_log:log", "Print what a function's replicas have printed."),
        "revisions": Lazy("dcf.cli.function_revisions:revisions", "List a function's revisions."),
        "rollback": Lazy(
            "dcf.cli.function_rollback:rollback", "Have an earlier revision serve again."
        ),
        "promote": Lazy("dcf.cli.function_promote:promote", "Have a canary take all calls."),
        "abort": Lazy("dcf.cli.function_abort:abort", "End a canary."),
        "scale": Lazy(
            "dcf.cli.function_scale:scale", "Set how many replicas a deployed function has."
        ),
        "delete": Lazy("dcf.cli.function_delete:delete", "Delete deployed functions."),
    },
)

gateway_key = LazyGroup(
    "key",
    context_settings=SETTINGS,
    help="Keys for callers.\n\n\b\nExample:\n  dcf-cli gateway key create laptop",
    lazy={
        "create": Lazy("dcf.cli.gateway_key:create", "Make a key and print it, this once."),
        "list": Lazy("dcf.cli.gateway_key:list_", "List the keys."),
        "revoke": Lazy("dcf.cli.gateway_key:revoke", "Revoke a key."),
    },
)

gateway = LazyGroup(
    "gateway",
    context_settings=SETTINGS,
    help="One port for all functions.\n\n\b\nExample:\n  dcf-cli gateway start",
    lazy={
        "start": Lazy("dcf.cli.gateway_start:start", "Start the gateway."),
        "stop": Lazy("dcf.cli.gateway_stop:stop", "Stop the gateway of this machine."),
        "status": Lazy("dcf.cli.gateway_status:status", "Show how the gateway is."),
        "token": Lazy("dcf.cli.gateway_token:token", "Print the management token."),
        "key": Lazy("dcf.cli.commands:gateway_key", "Keys for callers."),
        "unit": Lazy("dcf.cli.gateway_unit:unit", "Print a systemd unit."),
    },
)

runtime = LazyGroup(
    "runtime",
    context_settings=SETTINGS,
    help="Language templates.\n\n\b\nExample:\n  dcf-cli runtime list",
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
            "dcf.cli.commands:function", "Make, build, run and deploy functions.", ["fn"]
        ),
        "gateway": Lazy("dcf.cli.commands:gateway", "One port for all functions."),
        "runtime": Lazy("dcf.cli.commands:runtime", "Language templates."),
        "prune": Lazy("dcf.cli.prune_command:prune", "Free what no function uses any more."),
        "schema": Lazy("dcf.cli.schema_command:schema", "Print the JSON Schema of config.yaml."),
        "completion": Lazy("dcf.cli.completion:completion", "Print a shell's completion script."),
        "version": Lazy("dcf.cli.version_command:version", "Print the version."),
    },
)

click.version_option(__version__, message="%(prog)s %(version)s")(root)
