"""How long hypothesis looks, and what it repeats.

``pytest tests/property --hypothesis-profile=search`` looks longer, at other examples in each run.
"""

from hypothesis import HealthCheck, settings

BUSY = [HealthCheck.too_slow]
"""A busy machine is no reason to fail."""

settings.register_profile(
    "bounded",
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=BUSY,
)
settings.register_profile(
    "search",
    max_examples=5000,
    deadline=None,
    derandomize=False,
    database=None,
    suppress_health_check=BUSY,
    print_blob=True,
)
settings.load_profile("bounded")
