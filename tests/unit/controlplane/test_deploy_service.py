"""A deploy ends when its replicas accept calls, or with the reason why they do not."""

import asyncio
from dataclasses import replace

import pytest

from dcf.builder.build_progress import SILENT
from dcf.builder.retained import RetainedArtifacts
from dcf.builder.store import Store
from dcf.controlplane.deploy.deploy_request import DeployRequest
from dcf.controlplane.deploy.deploy_service import DeployService
from dcf.engines.fake import FakeEngine
from dcf.errors import (
    BuildError,
    GpuUnavailable,
    HandlerInitFailed,
    Overloaded,
    RolloutInvalid,
    SecretNotFound,
    StartTimeout,
)
from dcf.model.artifact import Artifact, digest_of
from dcf.model.function import FunctionSpec, Resources
from dcf.model.scaling import ScalingSpec
from dcf.protocol.progress import Progress, ProgressKind
from dcf.settings import ControlSettings
from unit.controlplane.kit import ARTIFACT, FakeGateway, running
from unit.controlplane.test_loop import scenario

OTHER = Artifact(ARTIFACT.lock, ARTIFACT.bundle)


class Preparing(FakeEngine):
    """Reports a step of a build that does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None

    async def prepare(self, artifact, function, listener=SILENT):
        listener.started("environment", "installing")
        if self.error is not None:
            raise self.error
        listener.finished("environment", "installing", 0.1)


class Site(FakeGateway):
    def __init__(self, store: Store, engine: Preparing | None = None) -> None:
        self.preparing = engine or Preparing()
        super().__init__(engine=self.preparing)
        self.deploys = DeployService(
            catalog=self.catalog,
            loop=self.loop,
            routing=self.routing,
            retained=RetainedArtifacts(store),
            engine=self.engine,
            settings=ControlSettings(),
        )

    async def run(
        self, spec: FunctionSpec, artifact: Artifact = ARTIFACT, **more
    ) -> list[Progress]:
        given = {"minimum": 1, "maximum": 1, "annotations": None, "wait": True, "timeout": 10.0}
        wanted = DeployRequest(spec, artifact, **{**given, **more})
        return [step async for step in self.deploys.deploy(wanted)]

    async def ticking(self, work):
        task = asyncio.ensure_future(work)
        await self.until(task.done)
        return task.result()


@scenario
async def test_a_deploy_reports_its_steps_and_ends_when_calls_are_routed(store):
    async with running(Site(store)) as site:
        steps = await site.ticking(site.run(FunctionSpec("a")))
        assert [step.kind for step in steps] == [
            ProgressKind.STARTED,
            ProgressKind.FINISHED,
            ProgressKind.REVISION,
            ProgressKind.READY,
        ]
        assert steps[-1].function is not None
        assert steps[-1].function.ready == 1
        assert site.envoy.routes["a"]
        again = await site.ticking(site.run(FunctionSpec("a")))
        assert not again[2].is_new
        assert again[2].number == 1


@scenario
async def test_a_failed_build_or_a_missing_secret_changes_nothing(store):
    async with running(Site(store)) as site:
        site.preparing.error = BuildError("no such package")
        with pytest.raises(BuildError):
            await site.run(FunctionSpec("a"))
        site.preparing.missing_secrets = {"token"}
        with pytest.raises(SecretNotFound):
            await site.run(FunctionSpec("a", secrets=("token",)))
        assert site.catalog.functions() == []


@scenario
async def test_more_replicas_than_gpus_are_rejected(store):
    async def two_gpus() -> Resources:
        return Resources(gpu=2)

    async with running(Site(store)) as site:
        site.engine.capacity = two_gpus
        wants_one = FunctionSpec("a", limits=Resources(gpu=1), scaling=ScalingSpec(1, 3))
        with pytest.raises(GpuUnavailable, match=r"expected 3 free GPU\(s\), got 2 of 2"):
            await site.run(wants_one, minimum=None, maximum=None)
        with pytest.raises(GpuUnavailable):
            await site.run(replace(wants_one, limits=Resources(), requests=Resources(gpu=3)))
        assert site.catalog.functions() == []
        steps = await site.ticking(site.run(wants_one, minimum=None, maximum=2))
        assert steps[-1].kind is ProgressKind.READY


@scenario
async def test_a_handler_that_cannot_start_ends_the_deploy_with_its_traceback(store):
    async with running(Site(store)) as site:
        await site.ticking(site.run(FunctionSpec("a")))
        site.engine.fail_starts("a", "HandlerInitFailed", "Traceback: here")
        with pytest.raises(HandlerInitFailed) as failed:
            await site.ticking(site.run(FunctionSpec("a"), OTHER))
        assert failed.value.traceback == "Traceback: here"
        assert len(site.envoy.routes["a"]) == 1, "the revision before goes on"
        assert site.catalog.function("a").current.number == 2


@scenario
async def test_the_same_deploy_again_retries_at_once(store):
    async with running(Site(store)) as site:
        site.engine.fail_starts("a", "HandlerInitFailed")
        with pytest.raises(HandlerInitFailed):
            await site.ticking(site.run(FunctionSpec("a")))
        site.engine._failing.clear()
        steps = await site.ticking(site.run(FunctionSpec("a")))
        assert steps[-1].kind is ProgressKind.READY


@scenario
async def test_a_revision_that_is_not_ready_in_time_is_an_error(store):
    async with running(Site(store)) as site:
        with pytest.raises(StartTimeout, match=r"within 0\.05 s; revision 1 is deployed"):
            await site.run(FunctionSpec("a"), timeout=0.05)


@scenario
async def test_a_deploy_that_is_overtaken_says_so(store):
    async with running(Site(store)) as site:
        first = asyncio.ensure_future(site.run(FunctionSpec("a")))
        await site.until(site.catalog.functions, tick=False)
        second = asyncio.ensure_future(site.run(FunctionSpec("a"), OTHER))
        await site.until(lambda: len(site.catalog.revisions("a")) == 2, tick=False)
        await site.until(second.done)
        steps = await first
        assert "replaced by revision 2" in steps[-2].detail
        assert steps[-1].kind is ProgressKind.ACCEPTED
        assert second.result()[-1].kind is ProgressKind.READY


@scenario
async def test_a_deploy_without_replicas_does_not_wait(store):
    async with running(Site(store)) as site:
        await site.ticking(site.run(FunctionSpec("a")))
        site.catalog.scale("a", 0)
        steps = await site.run(FunctionSpec("a"), OTHER, minimum=None, maximum=None)
        assert steps[-1].kind is ProgressKind.READY
        steps = await site.run(FunctionSpec("b"), wait=False)
        assert steps[-1].kind is ProgressKind.ACCEPTED


class Gated(Preparing):
    """Prepares until a lock's gate is open; locks without a gate need no build."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: dict[str, asyncio.Event] = {}

    async def prepare(self, artifact, function, listener=SILENT):
        if (gate := self.gates.get(artifact.lock)) is not None:
            listener.started("environment", "installing")
            await gate.wait()


def of(number: int, lock: str = "a") -> Artifact:
    return Artifact(digest_of(str(number).encode()), digest_of(lock.encode()))


class GatedSite(Site):
    def __init__(self, store: Store) -> None:
        self.gated = Gated()
        super().__init__(store, self.gated)
        self.steps: list[Progress] = []

    def gate(self, artifact: Artifact) -> asyncio.Event:
        return self.gated.gates.setdefault(artifact.lock, asyncio.Event())

    def start(self, artifact: Artifact) -> asyncio.Task:
        async def run() -> list[Progress]:
            steps = []
            wanted = DeployRequest(
                FunctionSpec("a"),
                artifact,
                minimum=0,
                maximum=1,
                annotations=None,
                wait=False,
                timeout=10.0,
            )
            async for step in self.deploys.deploy(wanted):
                steps.append(step)
                self.steps.append(step)
            return steps

        return asyncio.ensure_future(run())

    def number(self, steps: list[Progress]) -> int:
        (revision,) = (step for step in steps if step.kind is ProgressKind.REVISION)
        return revision.number


@scenario
async def test_a_deploy_that_needs_no_build_passes_a_hung_one_which_then_fails(store):
    async with running(GatedSite(store)) as site:
        gate = site.gate(of(1, "hangs"))
        hung = site.start(of(1, "hangs"))
        await site.until(lambda: site.steps != [])
        steps = await site.ticking(site.start(of(2)))
        assert site.number(steps) == 1
        gate.set()
        with pytest.raises(RolloutInvalid, match="revision 1 of a was deployed while this build"):
            await site.ticking(hung)
        assert site.catalog.function("a").current.artifact == of(2)


@scenario
async def test_deploys_that_wait_for_the_same_build_enter_in_order(store):
    async with running(GatedSite(store)) as site:
        gate = site.gate(of(1))
        first = site.start(of(1))
        await site.until(lambda: len(site.steps) == 1)
        del site.gated.gates[of(1).lock]
        second = site.start(of(2))
        waits = "Waiting for an earlier deploy of a"
        await site.until(lambda: site.steps[-1].detail == waits)
        gate.set()
        assert site.number(await site.ticking(first)) == 1
        assert site.number(await site.ticking(second)) == 2


@scenario
async def test_a_deploy_whose_client_disconnects_lets_the_next_one_enter(store):
    async with running(GatedSite(store)) as site:
        site.gate(of(1))
        first = site.start(of(1))
        await site.until(lambda: len(site.steps) == 1)
        del site.gated.gates[of(1).lock]
        second = site.start(of(2))
        await site.until(lambda: len(site.steps) == 2)
        first.cancel()
        assert site.number(await site.ticking(second)) == 1
        assert site.deploys._turns.count == 0


@scenario
async def test_the_number_of_waiting_deploys_is_limited(store, monkeypatch):
    monkeypatch.setattr("dcf.controlplane.deploy.deploy_service.MOST", 1)
    async with running(GatedSite(store)) as site:
        gate = site.gate(of(1))
        first = site.start(of(1))
        await site.until(lambda: len(site.steps) == 1)
        with pytest.raises(Overloaded) as refused:
            await site.start(of(2))
        assert refused.value.retry_after == 10
        gate.set()
        await site.ticking(first)
