"""Runs chaos once, from the start of the gateway to the check of what it leaves behind."""

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

POLL = 1.0
"""Seconds between two polls."""
CALM = 3.0
"""Seconds of load after the last action. No call that begins in this time may fail."""
SOON = 10.0
"""Seconds within which a function must answer then, however busy the machine is."""
END = 10.0
"""Seconds after which an ended gateway must have left nothing behind."""
KILLED = (
    Kind.REPLICA, Kind.CONTROL, Kind.BRIDGE, Kind.ENVOY, Kind.SUPERVISOR, Kind.FIRST,
)  # fmt: skip


@dataclass(slots=True)
class Result:
    """The result of a run.

    Attributes:
        seed: Seed of all random choices.
        folder: The gateway's data and logs; deleted if there was no violation.
        violations: The violations.
        calls: The number of calls by kind, finding and cause.
        actions: The actions, a line each.
        most: The maximum bytes of each part of the gateway.
        kills: How long each killed part was away, in seconds.
        slowest: Duration of the slowest good call in seconds, by kind.
    """

    seed: int
    folder: Path
    violations: list[str] = field(default_factory=list)
    calls: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    actions: list[str] = field(default_factory=list)
    most: dict[str, int] = field(default_factory=dict)
    kills: dict[Kind, list[float]] = field(default_factory=dict)
    slowest: dict[str, float] = field(default_factory=dict)


def run(seed: int, seconds: float, without: Collection[Part] = ()) -> Result:
    """Start a gateway, and run what a seed determines.

    Args:
        seed: Seed of all random choices.
        seconds: Duration of kills and deploys; start, calm and end take additional time.
        without: Parts to leave out.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"dcf-chaos-{seed}-"))
    result = Result(seed, folder)
    # The path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="dcf-", dir="/tmp") as runtime:
        gateway = ChaosGateway(folder, Path(runtime))
        gateway.gateway_process.start()
        try:
            _disturb(gateway, result, seconds, without)
            if code := gateway.gateway_process.stop():
                result.violations.append(f"the gateway ended with {code}")
        except BaseException:
            with contextlib.suppress(Exception):
                gateway.gateway_process.kill_everything()
            raise
        finally:
            gateway.gateway_process.client.close()
        result.violations += _left(gateway)
        result.violations += [f"catalog: {fault}" for fault in gateway.catalog_faults()]
    if not result.violations:
        shutil.rmtree(folder)
    return result


def _disturb(
    gateway: ChaosGateway, result: Result, seconds: float, without: Collection[Part]
) -> None:
    history, begun = History(), Begun(gateway.folder / "begun")
    client, seed = gateway.gateway_process.client, result.seed
    load = Load(gateway.gateway_process.port, client, f"{seed} load", history, without)
    packages = Packages(gateway.gateway_process, begun.path)
    deployer = Deployer(client, packages, history, f"{seed} deployer")
    killer = Killer(gateway, history, f"{seed} killer", without)
    inspector = Inspector(gateway, load, history, begun, without)
    actors = (inspector, deployer, killer)

    def clean() -> bool:
        return not any(actor.violations for actor in actors)

    deployer.begin()
    with contextlib.ExitStack() as running:
        for part in (load, deployer, killer):
            part.start()
            running.callback(part.stop)
        end = time.monotonic() + seconds
        while time.monotonic() < end and clean():
            time.sleep(POLL)
            inspector.poll()
        killer.stop()
        deployer.stop()
        load.calm()
        if clean():
            calm = min(CALM, seconds / 2)
            result.violations += _calm(gateway, deployer, inspector, history, calm)
    inspector.poll()
    result.calls = inspector.judge_all()
    for actor in actors:
        result.violations += actor.violations
    result.actions = history.lines()
    result.most = dict(inspector.most)
    facts = history.facts()
    result.kills = {kind: facts.lengths(kind) for kind in KILLED}
    for call in load.calls():
        if call.ending is Ending.REPLY:
            took = call.end - call.begin
            result.slowest[call.way] = max(result.slowest.get(call.way, 0.0), took)


def _calm(
    gateway: ChaosGateway, deployer: Deployer, inspector: Inspector, history: History, calm: float
) -> Iterator[str]:
    """Yield what is wrong after everything was left alone."""
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
        came = Http(gateway.gateway_process.port, "calm", keep=False).send(name, sent)
        took = time.monotonic() - begin
        answered = version_of(sent, came.body)
        if came.ending is not Ending.REPLY or answered != version or took > SOON:
            outcome = f"{came.ending} {answered} {came.detail} after {took:.1f} s"
            yield f"{name} does not answer with {version} at the end: {outcome}"
    end = time.monotonic() + calm
    while time.monotonic() < end:
        time.sleep(calm / 10)
        inspector.poll()


def _left(gateway: ChaosGateway) -> list[str]:
    end = time.monotonic() + END
    while (left := gateway.left()) and time.monotonic() < end:
        time.sleep(0.1)
    return [f"left behind: {leftover}" for leftover in left]
