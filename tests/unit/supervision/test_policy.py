"""When a process that has ended is restarted, and the table of states."""

import pytest

from dcf.supervision.policy import RestartPolicy, Run, delay_after, remembered
from dcf.supervision.states import ENDED, TRANSITIONS, ProcessState, follows

POLICY = RestartPolicy(first=1.0, factor=2.0, ceiling=5.0, settled=10.0, limit=4)
SHORT = Run(0.0, 9.99)
LONG = Run(0.0, 10.0)


@pytest.mark.parametrize(
    ("runs", "delay"),
    [
        ([], 0.0),
        ([LONG], 0.0),
        ([SHORT], 1.0),
        ([SHORT] * 2, 2.0),
        ([SHORT] * 3, 4.0),
        ([SHORT] * 4, 5.0),
        ([SHORT] * 5, None),
        ([SHORT] * 50, None),
        ([SHORT, SHORT, LONG], 0.0),
        ([SHORT, SHORT, LONG, SHORT], 1.0),
        ([LONG] * 9 + [SHORT] * 2, 2.0),
    ],
)
def test_delays(runs, delay):
    assert delay_after(runs, POLICY) == delay
    assert delay_after(runs[-remembered(POLICY) :], POLICY) == delay


def test_without_a_limit_the_delay_stays_at_the_ceiling():
    endless = RestartPolicy(limit=None)
    runs = [Run(0.0, 0.0)] * 100_000
    assert delay_after(runs, endless) == 30.0
    assert delay_after(runs[-remembered(endless) :], endless) == 30.0


def test_the_default_tries_for_half_a_minute():
    default = RestartPolicy()
    delays = [delay_after([SHORT] * count, default) for count in range(1, 10)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, None]


def test_every_state_can_be_reached_and_left_towards_stopped():
    assert set(TRANSITIONS) == set(ProcessState)
    reached = {ProcessState.WAITING}
    while more := {after for state in reached for after in TRANSITIONS[state]} - reached:
        reached |= more
    assert reached == set(ProcessState)
    assert not TRANSITIONS[ProcessState.STOPPED]
    for state in ENDED - {ProcessState.STOPPED}:
        assert TRANSITIONS[state] == {ProcessState.STOPPED}
    assert not follows(ProcessState.STOPPING, ProcessState.RUNNING)
