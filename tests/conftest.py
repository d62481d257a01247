"""Settings every test shares: how hard hypothesis tries, and in which environment.

`HYPOTHESIS_PROFILE` chooses `dev` (50 examples, the default), `ci` (300, the same ones each time;
the default where `CI=true`) or `night` (20,000). No profile has a deadline: the cores are shared,
and a slow example is no wrong one.
"""

import os

from hypothesis import HealthCheck, settings

_SLOW = [HealthCheck.too_slow]

settings.register_profile("dev", max_examples=50, deadline=None, suppress_health_check=_SLOW)
settings.register_profile(
    "ci", max_examples=300, deadline=None, suppress_health_check=_SLOW, derandomize=True
)
settings.register_profile(
    "night", max_examples=20_000, deadline=None, suppress_health_check=_SLOW, print_blob=True
)
_DEFAULT = "ci" if os.environ.get("CI") == "true" else "dev"
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", _DEFAULT))
