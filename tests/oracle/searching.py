"""How the oracle's tests search: the same cases in each run, more of them in CI."""

import os

from hypothesis import HealthCheck, Phase, settings

CI = bool(os.environ.get("CI"))

TOGETHER = 8
"""So many clusters, or bills, are computed in one call, since most of its time does not depend on the rows."""

EXAMPLES = 130 if CI else 8
STORED = 8 if CI else 2

# A failing case is the same in each run; shrinking it takes minutes and is asked for.
_PHASES = (Phase.generate, Phase.shrink) if os.environ.get("ORACLE_SHRINK") else (Phase.generate,)


def profile(examples: int) -> settings:
    """Return settings for a number of examples: with a fixed seed, so that what is drawn is known."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=_PHASES,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
