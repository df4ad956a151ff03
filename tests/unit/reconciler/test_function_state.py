"""The state of a function for its users."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dcf.model.desired import Wanted
from dcf.model.replica import ReplicaExit
from dcf.model.status import FunctionState
from dcf.reconciler.function_state import condition
from unit.reconciler.kit import seen

LOOP = "2.0.1:!x1 2.0.2:!x2 2.0.3:!x3"


@pytest.mark.parametrize(
    ("replicas", "line", "state", "ready", "serving"),
    [
        (1, "", "deploying", 0, None),
        (1, "2.0.1:s", "deploying", 0, None),
        (1, "1.0.1:r 2.0.1:s", "deploying", 0, 1),
        (1, "2.0.1:r", "ready", 1, 2),
        (1, "1.0.1:r 2.0.1:r", "ready", 1, 2),
        (1, "2.0.1:r 2.1.1:r", "ready", 1, 2),
        (2, "2.0.1:r 2.1.1:s", "degraded", 1, 2),
        (2, "2.0.1:r 2.1.1:x5", "degraded", 1, 2),
        (1, "2.0.1:!x1", "not-ready", 0, None),
        (1, "2.0.1:x50 2.0.2:s", "not-ready", 0, None),
        (1, "1.0.1:r 2.0.1:!x1", "not-ready", 0, 1),
        (1, LOOP, "crash-loop", 0, None),
        (1, LOOP + " 2.0.4:s", "crash-loop", 0, None),
        (1, "1.0.1:r " + LOOP, "crash-loop", 0, 1),
        (1, LOOP + " 2.0.4:r", "ready", 1, 2),
        (0, "", "idle", 0, None),
        (0, "2.0.1:r", "idle", 0, None),
    ],
)
def test_the_state_of_a_function(replicas, line, state, ready, serving):
    found = condition(Wanted("f", 2, replicas), seen(line))
    assert found is not None
    assert (found.state, found.ready, found.serving) == (state, ready, serving)
    assert found.takes_calls == (serving is not None)


def test_a_deleted_function_is_deleting_until_its_replicas_exit():
    assert condition(None, seen("1.0.1:X3")) is None
    found = condition(None, seen("1.0.1:d"))
    assert found is not None
    assert found.state is FunctionState.DELETING
    assert not found.takes_calls


def test_the_last_crash_of_the_current_revision_is_reported():
    found = condition(Wanted("f", 2, 1), seen("1.0.1:x9 2.0.1:!x3 2.0.2:!x4 2.0.3:X5"))
    assert found is not None
    assert found.last_crash is not None
    assert found.last_crash.at == 4.0


def test_a_failed_start_is_reported_before_its_process_has_exited():
    (failed,) = seen("2.0.1:f")
    why = ReplicaExit(None, 5.0, "no model", "HandlerInitFailed", "Traceback ...")
    found = condition(Wanted("f", 2, 1), [replace(failed, exit=why)])
    assert found is not None
    assert (found.state, found.last_crash) == (FunctionState.NOT_READY, why)
