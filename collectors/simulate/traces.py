"""Facts about real clusters that the workload follows, as constants.

Source: AcmeTrace cluster summary (Kalos, Philly: sizes and end states; CC-BY-4.0 and MIT releases by InternLM);
ClusterCockpit demo archive of the Alex cluster (A40 jobs: durations, sizes, share of idle jobs); Alibaba openb 2023
pods (durations, shares of a GPU). The numbers were read off those data sets once.
"""

import math
from dataclasses import dataclass
from typing import Final

_NORMAL_P90: Final = 1.2815515655446004


@dataclass(frozen=True)
class Durations:
    """A log-normal law by its median and its 90th percentile, in seconds."""

    median: float
    p90: float

    @property
    def sigma(self) -> float:
        """Return the standard deviation of the logarithm."""
        return math.log(self.p90 / self.median) / _NORMAL_P90


# Alex: 216 jobs on A40, median 8,540 s, 90th percentile 67,034 s.
TRAINING: Final = Durations(8_540, 67_034)

# Alibaba openb: from scheduling to deletion, median 741 s, 90th percentile 8,962 s.
BATCH: Final = Durations(741, 8_962)

# Alex: 198 of 216 jobs hold one GPU, 2 two, 5 four, 11 eight; Kalos: 26.8 GPUs on average with a median of 1, so a few
# jobs of several nodes hold most of the time.
TRAINING_SIZES: Final[tuple[tuple[int, float], ...]] = (
    (1, 0.55),
    (2, 0.08),
    (4, 0.12),
    (8, 0.15),
    (16, 0.08),
    (24, 0.02),
)
BATCH_SIZES: Final[tuple[tuple[int, float], ...]] = ((1, 0.92), (2, 0.04), (4, 0.03), (8, 0.01))

# Alex: 30.6 % of jobs average below 5 % utilisation.
IDLE_JOB_SHARE: Final = 0.306

# Philly: 60.4 % complete, 9.0 % are cancelled, 30.5 % fail.
COMPLETED_SHARE: Final = 0.604
CANCELLED_SHARE: Final = 0.090
