"""The file with the address of a running gateway, by which commands find it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from dcf.errors import GatewayRunning
from dcf.files.atomic import open_private, replace_file
from dcf.files.storage import writing
from dcf.protocol.json_text import read_json
from dcf.settings import Locations
from dcf.supervision.identity import Identity, identify

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  names, nothing is bound
"""Addresses that listen on all interfaces, and the ones that clients on this machine use."""


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """The address of a gateway, and its first process.

    Attributes:
        host: The host of its options.
        port: Its port.
        tls: Whether its clients use TLS.
        process: The process of ``gateway start``.
    """

    host: str
    port: int
    tls: bool
    process: Identity

    @property
    def url(self) -> str:
        """Its URL for clients on this machine."""
        host = WILDCARDS.get(self.host, self.host)
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self.tls else 'http'}://{shown}:{self.port}"


def find(places: Locations) -> GatewayAddress | None:
    """Return the address of the gateway of a data directory; None if none is running."""
    try:
        members = read_json(_file(places).read_bytes())
        address = GatewayAddress(**{**members, "process": Identity(**members["process"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    kinds = (isinstance(address.host, str), isinstance(address.port, int))
    if not all((*kinds, isinstance(address.tls, bool), isinstance(address.process.pid, int))):
        return None
    return address if identify(address.process.pid) == address.process else None


@contextlib.contextmanager
def published(places: Locations, host: str, port: int, *, tls: bool) -> Iterator[GatewayAddress]:
    """Lock the data directory for this process, and publish the gateway's address in it.

    Raises:
        GatewayRunning: If another gateway uses the data directory.
        StorageError: If the file cannot be written.
    """
    process = identify(os.getpid())
    assert process is not None  # noqa: S101  it is this one
    address = GatewayAddress(host, port, tls, process)
    file = _file(places)
    with _sole(places):
        with writing(file):
            replace_file(file, json.dumps(asdict(address)))
        try:
            yield address
        finally:
            file.unlink(missing_ok=True)


def _file(places: Locations) -> Path:
    return places.gateway / "address.json"


@contextlib.contextmanager
def _sole(places: Locations) -> Iterator[None]:
    """Hold a lock. The system releases it when this process ends for any reason."""
    file = places.gateway / "lock"
    with writing(file):
        descriptor = open_private(file)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        other = find(places)
        where = f" at {other.url} (process {other.process.pid})" if other else ""
        raise GatewayRunning(f"a gateway{where} already uses {places.data}") from error
    else:
        yield
    finally:
        os.close(descriptor)
