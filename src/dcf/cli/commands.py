"""The tree of commands."""

from __future__ import annotations

import click

from dcf.cli.lazy import Lazy, LazyGroup
from dcf.version import __version__

SETTINGS = {"help_option_names": ["-h", "--help"]}

function = LazyGroup(
    "function",
    context_settings=SETTINGS,
    help="Make, build and run functions.\n\n\b\nExample:\n  dcf-cli function init hello",
    lazy={
        "init": Lazy("dcf.cli.function_init:init", "Make a function's folder."),
        "build": Lazy("dcf.cli.function_build:build", "Build a function."),
        "run": Lazy("dcf.cli.function_run:run", "Run a function once on this machine."),
        "serve": Lazy("dcf.cli.function_serve:serve", "Keep a function answering on a local port."),
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
        "function": Lazy("dcf.cli.commands:function", "Make, build and run functions.", ["fn"]),
        "runtime": Lazy("dcf.cli.commands:runtime", "Language templates."),
        "prune": Lazy("dcf.cli.prune:prune", "Free what no function uses any more."),
        "schema": Lazy("dcf.cli.schema:schema", "Print the JSON Schema of config.yaml."),
        "completion": Lazy("dcf.cli.completion:completion", "Print a shell's completion script."),
        "version": Lazy("dcf.cli.version:version", "Print the version."),
    },
)

click.version_option(__version__, message="%(prog)s %(version)s")(root)
