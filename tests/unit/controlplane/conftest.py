"""Servers that the tests of one file share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dcf.builder.store import Store
from unit.controlplane.http_kit import Plane, Served, serving


@pytest.fixture(scope="module")
def _servers(tmp_path_factory) -> Iterator[dict[str, Served]]:
    with serving(tmp_path_factory.mktemp("http")) as found:
        yield found


@pytest.fixture
def served(_servers) -> Served:
    """An open gateway's control plane, as new."""
    found: Served = _servers["open"]
    Plane.__init__(found.plane)
    return found


@pytest.fixture
def closed(_servers) -> Served:
    """The control plane of a gateway that listens beyond loopback."""
    found: Served = _servers["closed"]
    Plane.__init__(found.plane)
    return found


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")
