"""When a process counts as hung."""

import asyncio
import contextlib
import socket
import time

import pytest

from dcf.supervision.liveness import LivenessRule, Probe, answered, answering, until_silent

pytestmark = pytest.mark.slow

RULE = LivenessRule(interval=0.05, silence=0.25, start=0.5)


class Asked:
    """Gives the answers of a test in their order, and then repeats the last one."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.count = 0

    async def __call__(self) -> None:
        self.count += 1
        word = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if word == "silent":
            await asyncio.Event().wait()
        if word == "refused":
            raise ConnectionRefusedError


def judged(ask: Asked, rule: LivenessRule = RULE, clock=time.monotonic) -> str:
    async def main() -> str:
        async with asyncio.timeout(10):
            return await until_silent(ask, rule, clock)

    return asyncio.run(main())


def test_unanswered_probes_end_a_run():
    ask = Asked("yes", "yes", "silent")
    assert judged(ask) == "it did not answer for 0.25 s"
    assert ask.count == 2 + 5


def test_refused_connections_count_as_unanswered():
    ask = Asked("yes", "refused")
    assert "did not answer" in judged(ask)
    assert ask.count == 1 + 5


def test_an_answer_resets_the_count():
    ask = Asked("yes", *["silent"] * 4, "yes", *["silent"] * 4, "yes", "silent")
    judged(ask)
    assert ask.count == 11 + 5


def test_a_run_has_a_longer_limit_before_its_first_answer():
    ask = Asked("refused")
    assert judged(ask) == "it has not begun to answer for 0.5 s"
    assert ask.count == 10


def test_a_prober_that_was_stopped_itself_reports_no_hung_process():
    """Each probe takes an hour by the clock: the machine was suspended, or the prober stopped."""
    now = [0.0]

    def clock() -> float:
        now[0] += 3600
        return now[0]

    async def main() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.5):
                raise AssertionError(await until_silent(Asked("yes", "silent"), RULE, clock))

    asyncio.run(main())


def test_a_process_answers_while_its_context_is_open(short_dir):
    async def main() -> None:
        path = short_dir / "s.alive"
        worked = 0

        async def check() -> None:
            nonlocal worked
            worked += 1

        async with answering(path, check):
            await answered(Probe(str(path)))
        assert worked == 1
        assert not path.exists()
        with pytest.raises(OSError, match=r"."):
            await answered(Probe(str(path)))

    asyncio.run(main())


def test_a_stopped_process_accepts_connections_but_does_not_answer(short_dir):
    path = short_dir / "s.sock"
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen(1)

        async def main() -> str:
            return await until_silent(lambda: answered(Probe(str(path))), RULE)

        assert "not begun to answer" in asyncio.run(main())
