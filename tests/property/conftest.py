"""Hypothesis profiles: the number of examples, and which of them repeat.

``pytest tests/property --hypothesis-profile=search`` tries more examples, and others in each run.
"""

from hypothesis import HealthCheck, settings

BUSY = [HealthCheck.too_slow]
"""Do not fail because the machine is busy."""

settings.register_profile(
    "bounded",
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=BUSY,
)
settings.register_profile(
    "search",
    max_examples=1000,
    deadline=None,
    derandomize=False,
    database=None,
    suppress_health_check=BUSY,
    print_blob=True,
)
settings.load_profile("bounded")
