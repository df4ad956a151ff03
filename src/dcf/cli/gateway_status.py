"""``dcf-cli gateway status``."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from dcf.builder.build_progress import count_text, size_text
from dcf.cli import gateway_client, gateway_options
from dcf.cli.table import print_table
from dcf.cli.times import age_text
from dcf.client import address
from dcf.errors import GatewayUnreachable, SupervisorUnreachable
from dcf.gateway.probe import healthy
from dcf.gateway.processes import supervisor_socket
from dcf.gateway.start_options import places_of
from dcf.model.status import GatewayInfo
from dcf.settings import Locations
from dcf.supervision.process_messages import ProcessStatus
from dcf.supervision.supervisor_client import SupervisorClient


@dataclass(frozen=True, slots=True)
class _Process:
    """A process of the gateway; ``since`` in seconds since 1970, ``memory`` in bytes."""

    name: str
    state: str
    pid: int
    restarts: int
    since: float
    memory: int | None


@click.command()
@gateway_options.gateway
@gateway_options.data_dir
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def status(*, gateway: str | None, data_dir: Path | None, as_json: bool) -> None:
    """Show the gateway's status, and its processes if it runs on this machine.

    \b
    Example:
      dcf-cli gateway status
    """
    processes: tuple[_Process, ...] = ()
    if gateway and data_dir is None:
        url = address.parse(gateway).url
    else:
        places = places_of(data_dir)
        url = gateway_client.address_of(places).url
        processes = asyncio.run(_processes(places, url))
    with gateway_client.client_of(gateway, data_dir) as client:
        info = client.gateway_info()
    if as_json:
        listed = [asdict(process) for process in processes]
        click.echo(json.dumps({"address": url, **asdict(info), "processes": listed}, indent=2))
        return
    _show(url, info, processes)


def _show(url: str, info: GatewayInfo, processes: Sequence[_Process]) -> None:
    now = time.time()
    access = "open to this machine" if info.open else "with keys"
    click.echo(f"Gateway at {url}, {access}")
    click.echo(f"Version {info.version}, up {age_text(now - info.started)}")
    functions = count_text(info.functions, "function")
    replicas = count_text(info.replicas, "replica")
    click.echo(f"{functions}, {replicas} ready ({info.engine})")
    rows = [
        (
            process.name,
            process.state,
            process.pid or "",
            process.restarts,
            age_text(now - process.since) if process.pid else "",
            "" if process.memory is None else size_text(process.memory),
        )
        for process in processes
    ]
    if rows:
        click.echo("")
        titles = ("Process", "State", "PID", "Restarts", "Up", "Memory")
        print_table(titles, rows, as_json=False)


async def _processes(places: Locations, url: str) -> tuple[_Process, ...]:
    """Return the gateway's processes.

    Raises:
        GatewayUnreachable: If the gateway does not answer. The message lists its processes.
    """
    try:
        listed = await SupervisorClient(supervisor_socket(places)).list()
    except SupervisorUnreachable as error:
        raise GatewayUnreachable(
            f"the supervisor of the gateway at {url} does not answer"
        ) from error
    if not await healthy(url):
        states = [
            f"{process.name}: {process.state}"
            + (f", last exit: {process.exit.reason}" if process.exit else "")
            for process in listed
        ]
        raise GatewayUnreachable("\n".join([f"the gateway at {url} does not answer", *states]))
    return tuple(_process(status) for status in listed)


def _process(status: ProcessStatus) -> _Process:
    memory = _resident(status.pid) if status.pid else None
    restarts = max(0, status.runs - 1)
    return _Process(status.name, status.state, status.pid, restarts, status.since, memory)


def _resident(pid: int) -> int | None:
    """Return a process's resident memory in bytes, or None if the system does not report it."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
