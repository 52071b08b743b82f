"""How hard Hypothesis looks: the same few examples every time, or many new ones on request."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("quick", max_examples=60, derandomize=True, deadline=None, database=None)
settings.register_profile(
    "thorough", max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("PHONEMETER_HYPOTHESIS_PROFILE", "quick"))
