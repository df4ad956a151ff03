"""The functions that are called: one handler, of which each version says its name before it echoes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from dcf.builder.builder import Builder
from dcf.builder.package import Package, package
from dcf.builder.store import Store
from dcf.builder.uv import Uv
from dcf.model.scaling import ScalingSpec
from dcf.project.locate import locate
from e2e.gateway_process import GatewayProcess

HANDLER = Path(__file__).with_name("handler.py")

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
        changed: Whether it is deployed and scaled meanwhile.
        timeout: Seconds that it has for a call.
    """

    name: str
    least: int
    most: int
    lasting: bool = True
    changed: bool = True
    timeout: float = 15.0


STEADY = Shape("steady", 2, 3)
SINGLE = Shape("single", 1, 1)
FLEETING = Shape("fleeting", 1, 2, lasting=False)
RARE = Shape("rare", 0, 2)
ELASTIC = Shape("elastic", 1, 4)
ROUGH = Shape("rough", 1, 2, changed=False, timeout=5.0)
"""The one whose handlers end their processes."""
ALL = (STEADY, SINGLE, FLEETING, RARE, ELASTIC, ROUGH)
BUSY = (STEADY, SINGLE, FLEETING)
"""Those that are called without a pause. RARE is left alone until it has no replica."""


class Packages:
    """What is deployed: one handler built twice, and versions of these two by a variable.

    So a version is a matter of milliseconds, while files and replicas are truly others.

    Args:
        house: Where they are deployed.
        begun: The file where the handlers write down which calls have begun.
    """

    def __init__(self, house: GatewayProcess, begun: Path) -> None:
        self._begun = begun
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
            environment={"VERSION": version, "BEGUN": str(self._begun)},
            timeout=shape.timeout,
            scaling=ScalingSpec(shape.least, shape.most, idle=1.0),
        )
        return version, replace(built, spec=spec)


def _built(folder: Path, builder: Builder, store: Store) -> Package:
    (folder / "src").mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "requirements.txt").write_text("")
    (folder / "src" / "handler.py").write_text(f"{HANDLER.read_text()}\n# {folder.name}\n")
    return package(locate(None, None, folder), builder, store)


def body_of(call: str, order: str, payload: str) -> bytes:
    """Return the body of a call.

    Args:
        call: Its id.
        order: A word of the handler's, and maybe a number.
        payload: The bytes to echo.
    """
    word, _, number = order.partition(" ")
    return f"{call} {word} {number or 0}\n{payload}".encode()


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
