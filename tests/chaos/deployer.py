"""Deploys, tries, promotes, goes back, scales and deletes, and knows what must have come of it."""

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
"""Seconds in which a function must have settled: crashes in a row delay starts by up to a minute."""

POLL = 0.1
HASTE = 0.3
"""The part of deeds after which nobody waits for their effect."""
LONGEST_PAUSE = 3.0
"""Seconds between two deeds."""
UNSURE = (GatewayUnreachable, AnswerInvalid, CallError)
"""What a deed ends with whose answer is lost."""
KEPT = 10
"""Revisions that the gateway keeps of each function."""

T = TypeVar("T")


class Violated(Exception):
    """Something that must not be."""


@dataclass(slots=True)
class Deployment:
    """What is known of one function. The deployer's thread alone changes it.

    Attributes:
        shape: Which.
        current: Number of the current revision; None while it is not deployed.
        canary: Number of the canary; None without one.
        versions: What calls itself how, by number, since the last deletion.
        highest: The highest number that there ever was.
        pending: The version of a deploy of which nobody knows whether it came in; "" without one.
        sure: Whether ``current`` and ``canary`` were acknowledged.
        spans: Open spans of versions that may serve.
        absent: The open span of its absence.
        resting: The open span of its rest.
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
    """Does one thing after another to the functions, in a thread of its own.

    Args:
        client: With the management token.
        packages: What is deployed.
        history: Hears of it all.
        seed: Of what is drawn.

    Attributes:
        violations: What must not be.
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
        for one in self._all.values():
            one.absent = history.begin(Kind.ABSENT, one.shape.name)

    def begin(self) -> None:
        """Deploys everything once."""
        for one in self._all.values():
            self._deploy(one)
            self._settle(one)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends what it is at, and waits."""
        self._over.set()
        self._thread.join()

    def calm(self) -> dict[str, str]:
        """Waits until every function is as it is to be; deploys what is deleted.

        Returns:
            The version of each function that must answer now.
        """
        for one in self._all.values():
            self._settle(one)
            if one.current is None:
                self._deploy(one)
            self._release(one)
            if one.canary is not None:
                self._abort(one)
            self._settle(one)
        return {
            name: one.versions[one.current]
            for name, one in self._all.items()
            if one.current is not None
        }

    def _run(self) -> None:
        try:
            while not self._over.wait(self._drawn.uniform(0, LONGEST_PAUSE)):
                one = self._drawn.choice([one for one in self._all.values() if one.shape.changed])
                self._drawn.choice(self._deeds(one))(one)
                if not one.sure or self._drawn.random() > HASTE:
                    self._settle(one)
        except Violated as violated:
            self.violations.append(str(violated))
        except Exception as error:  # noqa: BLE001  a thread's errors are told by whoever started it
            self.violations.append(f"the deployer failed: {error!r}")

    def _deeds(self, one: Deployment) -> list[Callable[[Deployment], None]]:
        """What can be done to a function now; what is listed often is done often."""
        if one.current is None:
            return [self._deploy]
        deeds: list[Callable[[Deployment], None]] = [self._deploy] * 3
        deeds += [self._scale, self._release]
        if len(one.versions) > 1:
            deeds += [self._roll_back]
        if one.canary is None:
            deeds += [self._try]
        else:
            deeds += [self._promote, self._promote, self._abort]
        if not one.shape.lasting:
            deeds += [self._delete]
        return deeds

    # Deeds

    def _deploy(self, one: Deployment) -> None:
        self._make(one, None)

    def _try(self, one: Deployment) -> None:
        self._make(one, self._drawn.choice((10.0, 50.0, 90.0)))

    def _make(self, one: Deployment, canary: float | None) -> None:
        name = one.shape.name
        version, package = self._packages.next(one.shape)
        self._may_serve(one, version)
        one.pending = version
        said = f"deploy {version}" if canary is None else f"deploy {version} for {canary:g} %"
        status = self._attempt(
            one, said, lambda: self._client.deploy(package, canary=canary, timeout=PATIENCE)
        )
        if status is None:
            return
        number = status.revision if canary is None else status.canary
        if number is None or number <= one.highest:
            raise Violated(f"{name}: {said} became {number}, after {one.highest}")
        self._know(one, number)
        if canary is None:
            one.current, one.canary = number, None
        else:
            one.canary = number
        self._is_deployed(one)

    def _promote(self, one: Deployment) -> None:
        expected = one.canary
        if self._attempt(one, "promote", lambda: self._client.promote(one.shape.name)):
            one.current, one.canary = expected, None

    def _abort(self, one: Deployment) -> None:
        if self._attempt(one, "abort", lambda: self._client.abort(one.shape.name)):
            one.canary = None

    def _roll_back(self, one: Deployment) -> None:
        kept = sorted(one.versions)[-KEPT:]
        number = self._drawn.choice([number for number in kept if number != one.current] or kept)
        self._may_serve(one, one.versions[number])
        said = f"roll back to {one.versions[number]}"
        if self._attempt(one, said, lambda: self._client.rollback(one.shape.name, number)):
            one.current, one.canary = number, None

    def _scale(self, one: Deployment) -> None:
        replicas = self._drawn.choice((0, 1, 1, 2, 2, 2, 3, 3))
        if replicas == 0 and one.resting is None:
            one.resting = self._history.begin(Kind.RESTING, one.shape.name)
        said = f"scale to {replicas}"
        self._attempt(one, said, lambda: self._client.scale(one.shape.name, replicas))

    def _release(self, one: Deployment) -> None:
        self._attempt(one, "scale by itself", lambda: self._client.scale(one.shape.name, None))

    def _delete(self, one: Deployment) -> None:
        if one.absent is None:
            one.absent = self._history.begin(Kind.ABSENT, one.shape.name)
        if self._attempt(one, "delete", lambda: self._delete_it(one.shape.name)):
            self._forget(one)

    def _delete_it(self, name: str) -> bool:
        self._client.delete(name)
        return True

    def _attempt(self, one: Deployment, said: str, deed: Callable[[], T]) -> T | None:
        """Does something; None when nobody knows whether it is done."""
        name = one.shape.name
        begin = time.monotonic()
        self._history.note(f"{name}: {said} ...")
        try:
            result = deed()
        except DcfError as error:
            told = f"{name}: {said}: {type(error).__name__}: {error}"
            self._history.note(told)
            if not may_fail(error, self._history.facts(), name, begin, time.monotonic()):
                raise Violated(f"{told} without a cause") from error
            one.sure = False
            return None
        self._history.note(f"{name}: {said}: done")
        return result

    # What must be so

    def _settle(self, one: Deployment) -> None:
        """Waits until what is wanted is so, and compares it with what was asked for."""
        name = one.shape.name
        end = time.monotonic() + PATIENCE
        last = ""
        while time.monotonic() < end:
            try:
                status = self._client.function(name)
                numbers = [revision.number for revision in self._client.revisions(name)]
            except FunctionNotFound:
                self._is_gone(one)
                return
            except UNSURE as error:
                last = f"{type(error).__name__}: {error}"
            else:
                if _is_settled(status):
                    self._compare(one, status, numbers)
                    return
                last = f"{status.state}, {status.ready} of {status.replicas} ready"
            time.sleep(POLL)
        raise Violated(f"{name} has not settled within {PATIENCE:g} s: {last}")

    def _is_gone(self, one: Deployment) -> None:
        if one.sure and one.current is not None:
            raise Violated(f"{one.shape.name} is unknown, but was deployed")
        if one.absent is None:
            raise Violated(f"{one.shape.name} is unknown, but nobody has deleted it")
        self._forget(one)
        one.sure = True

    def _compare(self, one: Deployment, status: FunctionStatus, numbers: list[int]) -> None:
        name = one.shape.name
        for number in sorted(set(numbers) - set(one.versions)):
            if not one.pending or number <= one.highest:
                raise Violated(f"{name}: nobody has made revision {number}")
            self._know(one, number)
        if lost := set(sorted(one.versions)[-KEPT:]) - set(numbers):
            raise Violated(f"{name}: revisions {sorted(lost)} are lost; there are {numbers}")
        found = (status.revision, status.canary)
        if one.sure and found != (one.current, one.canary):
            asked = (one.current, one.canary)
            raise Violated(f"{name}: revision and canary are {found}, {asked} was acknowledged")
        one.current, one.canary = found
        one.pending, one.sure = "", True
        serving = {one.versions[number] for number in found if number is not None}
        for version in [version for version in one.spans if version not in serving]:
            self._history.end(one.spans.pop(version))
        for version in serving:
            self._may_serve(one, version)
        self._is_deployed(one)
        if one.resting is not None and not (status.by_hand and status.replicas == 0):
            self._history.end(one.resting)
            one.resting = None

    def _know(self, one: Deployment, number: int) -> None:
        one.versions[number] = one.pending
        one.highest = max(one.highest, number)
        one.pending = ""

    def _may_serve(self, one: Deployment, version: str) -> None:
        if version not in one.spans:
            one.spans[version] = self._history.begin(Kind.SERVING, one.shape.name, version)

    def _is_deployed(self, one: Deployment) -> None:
        if one.absent is not None:
            self._history.end(one.absent)
            one.absent = None

    def _forget(self, one: Deployment) -> None:
        one.current = one.canary = None
        one.versions = {}
        one.pending = ""
        time.sleep(AFTERMATH)
        for span in one.spans.values():
            self._history.end(span)
        one.spans = {}


def may_fail(error: DcfError, facts: Facts, function: str, begin: float, end: float) -> bool:
    """Whether a deed may have failed so, by what was done meanwhile.

    Args:
        error: What it failed with.
        facts: What was done.
        function: What it was about.
        begin: When it began, in seconds of the monotonic clock.
        end: When it had failed.
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
        one
        for one in status.replica_list
        if one.revision not in {status.revision, status.canary} and one.state == ReplicaState.READY
    ]
    return status.state in {FunctionState.READY, FunctionState.IDLE} and not others
