"""Effort of the property tests: ``HYPOTHESIS_PROFILE=thorough`` tries more, and new ones on every run."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
# The same examples on every run, so that a failure comes from a change of the code.
settings.register_profile("quick", max_examples=50, stateful_step_count=30, derandomize=True, **_COMMON)
settings.register_profile("thorough", max_examples=1000, stateful_step_count=60, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
