"""The functions that are called: one handler, of which each version says its name before it echoes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from dcf.builder.builder import Builder
from dcf.builder.store import Store
from dcf.builder.uv import Uv
from dcf.model.scaling import ScalingWish
from dcf.project.locate import locate
from dcf.publish.package import Package, package
from e2e.house import House

HANDLER = """
import os, time

# {variant}

VERSION = os.environ["VERSION"].encode()


class Handler:
    def __call__(self, req):
        order, _, rest = req.input.partition(b"\\n")
        word, _, number = order.decode().partition(" ")
        if word == "sleep":
            time.sleep(float(number))
        reply = VERSION + b"\\n" + rest
        if word == "chunks":
            return self.chunks(reply, int(number))
        return reply

    def chunks(self, reply, number):
        size = len(reply) // number + 1
        for begin in range(0, len(reply), size):
            time.sleep(0.02)
            yield reply[begin : begin + size]
"""

CONFIG = """\
functions:
  function:
    runtime: python
    timeout: 15
    limits: {memory: 1Gi}
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """A function of the world's.

    Attributes:
        name: Its name.
        least: ``scaling.min``.
        most: ``scaling.max``.
        lasting: Whether it is never deleted.
    """

    name: str
    least: int
    most: int
    lasting: bool = True


STEADY = Shape("steady", 2, 3)
SINGLE = Shape("single", 1, 1)
FLEETING = Shape("fleeting", 1, 2, lasting=False)
RARE = Shape("rare", 0, 2)
ALL = (STEADY, SINGLE, FLEETING, RARE)
BUSY = (STEADY, SINGLE, FLEETING)
"""Those that are called without a pause; the other one is left alone until it has no replica."""


class Packages:
    """What is deployed: one handler built twice, and versions of these two by a variable.

    So a version is a matter of milliseconds, while files and replicas are truly others.
    """

    def __init__(self, house: House) -> None:
        store = Store(house.places.store)
        builder = Builder(store, Uv(house.env))
        folders = [house.folder / f"variant-{variant}" for variant in range(2)]
        self._built = [_built(folder, builder, store) for folder in folders]
        self._made = 0

    def next(self, shape: Shape) -> tuple[str, Package]:
        """Another version of a function: what it calls itself, and what to deploy."""
        self._made += 1
        version = f"{shape.name}-{self._made}"
        built = self._built[self._made % 2]
        spec = replace(
            built.spec,
            name=shape.name,
            environment={"VERSION": version},
            scaling=ScalingWish(shape.least, shape.most, idle=1.0),
        )
        return version, replace(built, spec=spec)


def _built(folder: Path, builder: Builder, store: Store) -> Package:
    (folder / "src").mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "requirements.txt").write_text("")
    (folder / "src" / "handler.py").write_text(HANDLER.format(variant=folder.name))
    return package(locate(None, None, folder), builder, store)


def version_of(sent: bytes, got: bytes) -> str:
    """Which version gave a reply; "" when it is not byte for byte what it must be.

    Args:
        sent: The call's body: an order, and what is to be echoed.
        got: The reply.
    """
    version, _, echoed = got.partition(b"\n")
    if not version or echoed != sent.partition(b"\n")[2]:
        return ""
    return version.decode("utf-8", "replace")
