"""Deploys, rolls back, scales and deletes functions, tries canaries, and checks the results."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from chaos.functions import ALL, Packages, Shape
from chaos.judge import AFTERMATH, CRASHES_REMEMBERED
from chaos.spans import Facts, History, Kind
from dcf.client.client import Client
from dcf.errors import (
    AnswerInvalid,
    CallError,
    DcfError,
    FunctionNotFound,
    GatewayUnreachable,
    StartError,
)
from dcf.model.replica import ReplicaState
from dcf.model.status import FunctionState, FunctionStatus

PATIENCE = 90.0
"""Seconds for a function to settle: repeated crashes delay starts by up to a minute."""

POLL = 0.1
HASTE = 0.3
"""Share of actions after which the deployer does not wait for the effect."""
LONGEST_PAUSE = 3.0
"""Maximum seconds between two actions."""
UNSURE = (GatewayUnreachable, AnswerInvalid, CallError)
"""Errors of an action whose answer was lost."""
KEPT = 10
"""Revisions that the gateway keeps of each function."""

T = TypeVar("T")


class Violated(Exception):
    """A violation of what the gateway guarantees."""


@dataclass(slots=True)
class Deployment:
    """The state of a function as the deployer knows it. Only the deployer's thread changes it.

    Attributes:
        shape: The function.
        current: Number of the current revision; None while the function is not deployed.
        canary: Number of the canary; None without a canary.
        versions: The version of each revision, by number, since the last deletion.
        highest: The highest revision number so far.
        pending: The version of a deploy with an unknown result; "" without such a deploy.
        sure: Whether ``current`` and ``canary`` were acknowledged.
        spans: Open spans of the versions that may serve.
        absent: The open span in which the function may not exist.
        resting: The open span in which it may be scaled to 0.
    """

    shape: Shape
    current: int | None = None
    canary: int | None = None
    versions: dict[int, str] = field(default_factory=dict)
    highest: int = 0
    pending: str = ""
    sure: bool = True
    spans: dict[str, int] = field(default_factory=dict)
    absent: int | None = None
    resting: int | None = None


class Deployer:
    """Changes the functions one action after another, in a thread of its own.

    Args:
        client: Client with the management token.
        packages: The packages to deploy.
        history: Receives every action.
        seed: Seed of the random choices.

    Attributes:
        violations: The violations so far.
    """

    def __init__(self, client: Client, packages: Packages, history: History, seed: str) -> None:
        self.violations: list[str] = []
        self._client = client
        self._packages = packages
        self._history = history
        self._drawn = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._all = {shape.name: Deployment(shape) for shape in ALL}
        for deployment in self._all.values():
            deployment.absent = history.begin(Kind.ABSENT, deployment.shape.name)

    def begin(self) -> None:
        """Deploy every function once."""
        for deployment in self._all.values():
            self._deploy(deployment)
            self._settle(deployment)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current action, and wait."""
        self._over.set()
        self._thread.join()

    def calm(self) -> dict[str, str]:
        """Bring every function into its final state; deploy deleted functions.

        Returns:
            The version of each function that must answer now.
        """
        for deployment in self._all.values():
            self._settle(deployment)
            if deployment.current is None:
                self._deploy(deployment)
            self._release(deployment)
            if deployment.canary is not None:
                self._abort(deployment)
            self._settle(deployment)
        return {
            name: deployment.versions[deployment.current]
            for name, deployment in self._all.items()
            if deployment.current is not None
        }

    def _run(self) -> None:
        try:
            while not self._over.wait(self._drawn.uniform(0, LONGEST_PAUSE)):
                deployment = self._drawn.choice(
                    [deployment for deployment in self._all.values() if deployment.shape.changed]
                )
                self._drawn.choice(self._actions(deployment))(deployment)
                if not deployment.sure or self._drawn.random() > HASTE:
                    self._settle(deployment)
        except Violated as violated:
            self.violations.append(str(violated))
        except Exception as error:  # noqa: BLE001  the main thread reports it
            self.violations.append(f"the deployer failed: {error!r}")

    def _actions(self, deployment: Deployment) -> list[Callable[[Deployment], None]]:
        """Return the possible actions; an action that is listed several times is more likely."""
        if deployment.current is None:
            return [self._deploy]
        actions: list[Callable[[Deployment], None]] = [self._deploy] * 3
        actions += [self._scale, self._release]
        if len(deployment.versions) > 1:
            actions += [self._roll_back]
        if deployment.canary is None:
            actions += [self._try]
        else:
            actions += [self._promote, self._promote, self._abort]
        if not deployment.shape.lasting:
            actions += [self._delete]
        return actions

    # Actions

    def _deploy(self, deployment: Deployment) -> None:
        self._make(deployment, None)

    def _try(self, deployment: Deployment) -> None:
        self._make(deployment, self._drawn.choice((10.0, 50.0, 90.0)))

    def _make(self, deployment: Deployment, canary: float | None) -> None:
        name = deployment.shape.name
        version, package = self._packages.next(deployment.shape)
        self._may_serve(deployment, version)
        deployment.pending = version
        action = f"deploy {version}" if canary is None else f"deploy {version} for {canary:g} %"
        status = self._attempt(
            deployment,
            action,
            lambda: self._client.deploy(package, canary=canary, timeout=PATIENCE),
        )
        if status is None:
            return
        number = status.revision if canary is None else status.canary
        if number is None or number <= deployment.highest:
            raise Violated(f"{name}: {action} has number {number} after {deployment.highest}")
        self._know(deployment, number)
        if canary is None:
            deployment.current, deployment.canary = number, None
        else:
            deployment.canary = number
        self._is_deployed(deployment)

    def _promote(self, deployment: Deployment) -> None:
        expected = deployment.canary
        if self._attempt(
            deployment, "promote", lambda: self._client.promote(deployment.shape.name)
        ):
            deployment.current, deployment.canary = expected, None

    def _abort(self, deployment: Deployment) -> None:
        if self._attempt(deployment, "abort", lambda: self._client.abort(deployment.shape.name)):
            deployment.canary = None

    def _roll_back(self, deployment: Deployment) -> None:
        numbers = sorted(deployment.versions)[-KEPT:]
        number = self._drawn.choice(
            [number for number in numbers if number != deployment.current] or numbers
        )
        self._may_serve(deployment, deployment.versions[number])
        action = f"roll back to {deployment.versions[number]}"
        if self._attempt(
            deployment, action, lambda: self._client.rollback(deployment.shape.name, number)
        ):
            deployment.current, deployment.canary = number, None

    def _scale(self, deployment: Deployment) -> None:
        replicas = self._drawn.choice((0, 1, 1, 2, 2, 2, 3, 3))
        if replicas == 0 and deployment.resting is None:
            deployment.resting = self._history.begin(Kind.RESTING, deployment.shape.name)
        action = f"scale to {replicas}"
        self._attempt(
            deployment, action, lambda: self._client.scale(deployment.shape.name, replicas)
        )

    def _release(self, deployment: Deployment) -> None:
        self._attempt(
            deployment, "autoscale", lambda: self._client.scale(deployment.shape.name, None)
        )

    def _delete(self, deployment: Deployment) -> None:
        if deployment.absent is None:
            deployment.absent = self._history.begin(Kind.ABSENT, deployment.shape.name)
        if self._attempt(deployment, "delete", lambda: self._delete_it(deployment.shape.name)):
            self._forget(deployment)

    def _delete_it(self, name: str) -> bool:
        self._client.delete(name)
        return True

    def _attempt(self, deployment: Deployment, action: str, act: Callable[[], T]) -> T | None:
        """Run an action; return None if its result is unknown."""
        name = deployment.shape.name
        begin = time.monotonic()
        self._history.note(f"{name}: {action} ...")
        try:
            result = act()
        except DcfError as error:
            failure = f"{name}: {action}: {type(error).__name__}: {error}"
            self._history.note(failure)
            if not may_fail(error, self._history.facts(), name, begin, time.monotonic()):
                raise Violated(f"{failure} without a cause") from error
            deployment.sure = False
            return None
        self._history.note(f"{name}: {action}: done")
        return result

    # Checks

    def _settle(self, deployment: Deployment) -> None:
        """Wait until a function has settled, and compare it with what was acknowledged."""
        name = deployment.shape.name
        end = time.monotonic() + PATIENCE
        last = ""
        while time.monotonic() < end:
            try:
                status = self._client.function(name)
                numbers = [revision.number for revision in self._client.revisions(name)]
            except FunctionNotFound:
                self._is_gone(deployment)
                return
            except UNSURE as error:
                last = f"{type(error).__name__}: {error}"
            else:
                if _is_settled(status):
                    self._compare(deployment, status, numbers)
                    return
                last = f"{status.state}, {status.ready} of {status.replicas} ready"
            time.sleep(POLL)
        raise Violated(f"{name} did not settle within {PATIENCE:g} s: {last}")

    def _is_gone(self, deployment: Deployment) -> None:
        if deployment.sure and deployment.current is not None:
            raise Violated(f"{deployment.shape.name} is unknown, but was deployed")
        if deployment.absent is None:
            raise Violated(f"{deployment.shape.name} is unknown, but was not deleted")
        self._forget(deployment)
        deployment.sure = True

    def _compare(self, deployment: Deployment, status: FunctionStatus, numbers: list[int]) -> None:
        name = deployment.shape.name
        for number in sorted(set(numbers) - set(deployment.versions)):
            if not deployment.pending or number <= deployment.highest:
                raise Violated(f"{name}: revision {number} appeared without a deploy")
            self._know(deployment, number)
        if lost := set(sorted(deployment.versions)[-KEPT:]) - set(numbers):
            raise Violated(f"{name}: revisions {sorted(lost)} are lost; there are {numbers}")
        serving_numbers = (status.revision, status.canary)
        if deployment.sure and serving_numbers != (deployment.current, deployment.canary):
            acknowledged = (deployment.current, deployment.canary)
            raise Violated(
                f"{name}: revision and canary are {serving_numbers}, but {acknowledged} was acknowledged"
            )
        deployment.current, deployment.canary = serving_numbers
        deployment.pending, deployment.sure = "", True
        serving = {deployment.versions[number] for number in serving_numbers if number is not None}
        for version in [version for version in deployment.spans if version not in serving]:
            self._history.end(deployment.spans.pop(version))
        for version in serving:
            self._may_serve(deployment, version)
        self._is_deployed(deployment)
        if deployment.resting is not None and not (status.by_hand and status.replicas == 0):
            self._history.end(deployment.resting)
            deployment.resting = None

    def _know(self, deployment: Deployment, number: int) -> None:
        deployment.versions[number] = deployment.pending
        deployment.highest = max(deployment.highest, number)
        deployment.pending = ""

    def _may_serve(self, deployment: Deployment, version: str) -> None:
        if version not in deployment.spans:
            deployment.spans[version] = self._history.begin(
                Kind.SERVING, deployment.shape.name, version
            )

    def _is_deployed(self, deployment: Deployment) -> None:
        if deployment.absent is not None:
            self._history.end(deployment.absent)
            deployment.absent = None

    def _forget(self, deployment: Deployment) -> None:
        deployment.current = deployment.canary = None
        deployment.versions = {}
        deployment.pending = ""
        time.sleep(AFTERMATH)
        for span in deployment.spans.values():
            self._history.end(span)
        deployment.spans = {}


def may_fail(error: DcfError, facts: Facts, function: str, begin: float, end: float) -> bool:
    """Return whether other actions explain the failure of this action.

    Args:
        error: The error of the action.
        facts: What was done.
        function: The function.
        begin: Start of the action, in seconds of the monotonic clock.
        end: Time of the failure.
    """
    if isinstance(error, StartError):
        return facts.any(Kind.REPLICA, begin - CRASHES_REMEMBERED, end, function)
    if isinstance(error, UNSURE):
        since = begin - AFTERMATH
        away = (Kind.CONTROL, Kind.ENVOY, Kind.SUPERVISOR)
        return any(facts.any(kind, since, end) for kind in away)
    return False


def _is_settled(status: FunctionStatus) -> bool:
    others = [
        replica
        for replica in status.replica_list
        if replica.revision not in {status.revision, status.canary}
        and replica.state == ReplicaState.READY
    ]
    return status.state in {FunctionState.READY, FunctionState.IDLE} and not others
