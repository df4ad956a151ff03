"""The functions that chaos calls: one handler; each version puts its name before the echo."""

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
    """A function of the gateway.

    Attributes:
        name: Its name.
        least: ``scaling.min``.
        most: ``scaling.max``.
        lasting: Whether it is never deleted.
        changed: Whether it is deployed and scaled during the run.
        timeout: Seconds for each of its calls.
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
"""The function whose handlers end their processes."""
ALL = (STEADY, SINGLE, FLEETING, RARE, ELASTIC, ROUGH)
BUSY = (STEADY, SINGLE, FLEETING)
"""The functions that are called continuously. RARE is left alone until it has no replica."""


class Packages:
    """Packages to deploy: one handler built twice; a variable makes versions of these two builds.

    So a version takes milliseconds, while files and replicas really change.

    Args:
        gateway: The gateway to deploy to.
        begun: The file where the handlers record which calls have begun.
    """

    def __init__(self, gateway: GatewayProcess, begun: Path) -> None:
        self._begun = begun
        store = Store(gateway.places.store)
        builder = Builder(store, Uv(gateway.env))
        folders = [gateway.folder / f"variant-{variant}" for variant in range(2)]
        self._built = [_built(folder, builder, store) for folder in folders]
        self._made = 0

    def next(self, shape: Shape) -> tuple[str, Package]:
        """Return another version of a function: its name and its package."""
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
        order: An order for the handler, and optionally a number.
        payload: The bytes to echo.
    """
    word, _, number = order.partition(" ")
    return f"{call} {word} {number or 0}\n{payload}".encode()


def version_of(sent: bytes, got: bytes) -> str:
    """Return the version that gave a reply; "" if a byte of the reply is wrong.

    Args:
        sent: The call's body: an order, and the bytes to echo.
        got: The reply.
    """
    version, _, echoed = got.partition(b"\n")
    if not version or echoed != sent.partition(b"\n")[2]:
        return ""
    return version.decode("utf-8", "replace")
