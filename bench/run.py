"""``bench/run.py [--list] [NAME ...]``: speed, as ratios of medians within one run.

A missed bar is reported and is not an error: a busy machine misses bars. A measurement that fails
is an error, unless something outside the project is missing.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.figures import Figure


@dataclass(frozen=True, slots=True)
class Entry:
    """A measurement.

    Attributes:
        module: Its module in this folder.
        help: What it measures.
        usual: Whether it runs by default.
    """

    module: str
    help: str
    usual: bool = True


ENTRIES = {
    "cli-start": Entry("cli_start", "dcf-cli --help and import dcf, relative to bare Python"),
    "build-run": Entry("build_run", "function build and function run of examples/01-hello-dcf"),
    "watcher-echo": Entry("watcher_echo", "the watcher, relative to bare uvicorn and LitServe"),
    "watcher-stream": Entry("watcher_stream", "streams on a WebSocket, relative to a bare echo"),
    "ssd": Entry("ssd", "object detection through the watcher, relative to a loop"),
    "ssd-stream": Entry("ssd_stream", "object detection in a video through the gateway"),
    "gateway-calls": Entry(
        "gateway_calls", "a call through the gateway, relative to Envoy and peers"
    ),
    "gateway-stream": Entry("gateway_stream", "streams with and without the gateway"),
    "gateway-grpc": Entry("gateway_grpc", "Invoke over gRPC, relative to bare gRPC servers"),
    "gateway-cold": Entry("gateway_cold", "calls of functions without a replica"),
    "gateway-deploy": Entry("gateway_deploy", "function deploy, and what it sends"),
    "gateway-catalog": Entry("gateway_catalog", "a gateway with 1,000 functions"),
    "gateway-recovery": Entry("gateway_recovery", "start, kills and memory of a gateway"),
    "gateway-rollout": Entry("gateway_rollout", "rollouts under load"),
    "gateway-grpc-stream": Entry("gateway_grpc_stream", "a gRPC stream, relative to grpcio"),
    "direct-calls": Entry("direct_calls", "calls with and without ASGI", usual=False),
    "http-servers": Entry("http_servers", "HTTP servers for the watcher", usual=False),
}
HEADINGS = ("figure", "", "bar", "", "medians (range of single rounds)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the selected measurements and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure")
    parser.add_argument("--list", action="store_true", help="list the names and exit")
    options = parser.parse_args(arguments)
    if options.list:
        for name, entry in ENTRIES.items():
            print(f"{name:21}{entry.help}{'' if entry.usual else ' (only when named)'}")
        return 0
    if unknown := sorted(set(options.names) - set(ENTRIES)):
        parser.error(f"unknown measurement: {', '.join(unknown)}; --list shows all names")
    names = options.names or [name for name, entry in ENTRIES.items() if entry.usual]
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    figures, failed = _measure(names)
    _print(figures)
    return 1 if failed else 0


def _measure(names: Sequence[str]) -> tuple[list[Figure], bool]:
    from bench.figures import BenchFailed, SkippedBench, progress  # noqa: PLC0415  needs the path set above

    figures: list[Figure] = []
    failed = False
    for name in names:
        progress(f"{name}: {ENTRIES[name].help}")
        measure: Callable[[], Iterator[Figure]]
        measure = import_module(f"bench.{ENTRIES[name].module}").measure
        try:
            for figure in measure():
                figures.append(figure)
                progress(f"  {figure.name}: {figure.value:.3g} {figure.unit}")
        except SkippedBench as error:
            progress(f"  skipped: {error}")
        except BenchFailed as error:
            progress(f"  FAILED: {error}")
            failed = True
        except Exception:  # noqa: BLE001  the other measurements still run
            traceback.print_exc()
            failed = True
    return figures, failed


def _print(figures: Sequence[Figure]) -> None:
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.system()}\n")
    rows = [HEADINGS, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _row(figure: Figure) -> tuple[str, str, str, str, str]:
    bar = met = ""
    if figure.bar is not None:
        bar = f"{'>=' if figure.at_least else '<='} {figure.bar:g} {figure.unit}"
        met = "met" if figure.met else "MISSED"
    return figure.name, f"{figure.value:.3g} {figure.unit}", bar, met, figure.raw


if __name__ == "__main__":
    sys.exit(main())
