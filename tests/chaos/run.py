"""One run of chaos, from the gateway's start to what is left of it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chaos.begun import Begun
from chaos.call_kinds import Http
from chaos.chaos_gateway import ChaosGateway
from chaos.deployer import Deployer, Violated
from chaos.functions import Packages, body_of, version_of
from chaos.inspector import Inspector
from chaos.judge import Ending
from chaos.killer import Killer
from chaos.load import Load
from chaos.parts import Part
from chaos.spans import History, Kind

LOOK = 1.0
"""Seconds between two looks."""
CALM = 3.0
"""Seconds of load after the last deed, in which nothing may fail that begins then."""
SOON = 10.0
"""Seconds within which a function must answer then, however busy the machine is."""
END = 10.0
"""Seconds after which an ended gateway must have left nothing."""
KILLED = (
    Kind.REPLICA, Kind.CONTROL, Kind.BRIDGE, Kind.ENVOY, Kind.SUPERVISOR, Kind.FIRST,
)  # fmt: skip


@dataclass(slots=True)
class Result:
    """What a run came to.

    Attributes:
        seed: Of all that was drawn.
        folder: The gateway's data and logs; gone when nothing was violated.
        violations: What must not be.
        calls: How many calls came to what, by way, finding and cause.
        deeds: What was done, a line each.
        most: The most bytes that the control plane and Envoy had.
        kills: How long each of what was killed was away, in seconds.
        slowest: Of a good call, seconds by way.
    """

    seed: int
    folder: Path
    violations: list[str] = field(default_factory=list)
    calls: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    deeds: list[str] = field(default_factory=list)
    most: dict[str, int] = field(default_factory=dict)
    kills: dict[Kind, list[float]] = field(default_factory=dict)
    slowest: dict[str, float] = field(default_factory=dict)


def run(seed: int, seconds: float, without: Collection[Part] = ()) -> Result:
    """Starts a gateway, and does to it for so long what a seed says.

    Args:
        seed: Of all that is drawn.
        seconds: For which things are killed and deployed; start, calm and end are beside.
        without: Parts to leave out.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"dcf-chaos-{seed}-"))
    result = Result(seed, folder)
    # Short, as a socket's path must be.
    with tempfile.TemporaryDirectory(prefix="dcf-", dir="/tmp") as runtime:
        world = ChaosGateway(folder, Path(runtime))
        world.house.start()
        try:
            _disturb(world, result, seconds, without)
            if code := world.house.stop():
                result.violations.append(f"the gateway ended with {code}")
        except BaseException:
            with contextlib.suppress(Exception):
                world.house.kill_everything()
            raise
        finally:
            world.house.client.close()
        result.violations += _left(world)
        result.violations += [f"catalog: {fault}" for fault in world.catalog_faults()]
    if not result.violations:
        shutil.rmtree(folder)
    return result


def _disturb(
    world: ChaosGateway, result: Result, seconds: float, without: Collection[Part]
) -> None:
    history, begun = History(), Begun(world.folder / "begun")
    client, seed = world.house.client, result.seed
    load = Load(world.house.port, client, f"{seed} load", history, without)
    packages = Packages(world.house, begun.path)
    deployer = Deployer(client, packages, history, f"{seed} deployer")
    killer = Killer(world, history, f"{seed} killer", without)
    inspector = Inspector(world, load, history, begun, without)
    everyone = (inspector, deployer, killer)

    def clean() -> bool:
        return not any(one.violations for one in everyone)

    deployer.begin()
    with contextlib.ExitStack() as running:
        for part in (load, deployer, killer):
            part.start()
            running.callback(part.stop)
        end = time.monotonic() + seconds
        while time.monotonic() < end and clean():
            time.sleep(LOOK)
            inspector.look()
        killer.stop()
        deployer.stop()
        load.calm()
        if clean():
            calm = min(CALM, seconds / 2)
            result.violations += _calm(world, deployer, inspector, history, calm)
    inspector.look()
    result.calls = inspector.judge_all()
    for one in everyone:
        result.violations += one.violations
    result.deeds = history.lines()
    result.most = dict(inspector.most)
    facts = history.facts()
    result.kills = {kind: facts.lengths(kind) for kind in KILLED}
    for call in load.calls():
        if call.ending is Ending.REPLY:
            took = call.end - call.begin
            result.slowest[call.way] = max(result.slowest.get(call.way, 0.0), took)


def _calm(
    world: ChaosGateway, deployer: Deployer, inspector: Inspector, history: History, calm: float
) -> Iterator[str]:
    """What is not as it must be after everything was let alone."""
    history.note("calm")
    try:
        versions = deployer.calm()
    except Violated as violated:
        yield str(violated)
        return
    inspector.expect_calm()
    for name, version in versions.items():
        begin = time.monotonic()
        sent = body_of("calm", "echo", "hello")
        came = Http(world.house.port, "calm", keep=False).send(name, sent)
        took = time.monotonic() - begin
        answered = version_of(sent, came.body)
        if came.ending is not Ending.REPLY or answered != version or took > SOON:
            told = f"{came.ending} {answered} {came.detail} after {took:.1f} s"
            yield f"{name} does not answer with {version} after all is over: {told}"
    end = time.monotonic() + calm
    while time.monotonic() < end:
        time.sleep(calm / 10)
        inspector.look()


def _left(world: ChaosGateway) -> list[str]:
    end = time.monotonic() + END
    while (left := world.left()) and time.monotonic() < end:
        time.sleep(0.1)
    return [f"left behind: {one}" for one in left]
